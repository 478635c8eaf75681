"""`mrcli adapters activate|rollback|export|import|diff|average|log`: the life of an adapter."""

from pathlib import Path
from typing import Annotated

import typer

from mrcli.cli import adapters_show, render
from mrcli.cli.adapters import ModelOption, RegistryOption, adapters
from mrcli.cli.options import (
    METHOD_PANEL,
    OUTPUT_PANEL,
    JsonOption,
    NoColorOption,
    OverwriteOption,
    path_of,
)

__all__ = ["adapters"]

FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Folder of a bundle, or the folder that mrcli adapt wrote.",
        parser=path_of,
        show_default=False,
    ),
]
ActiveArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of an active adapter, such as Center9/Vida.", show_default=False
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME|DIR",
        help="Name of an active adapter, or the folder of a bundle.",
        show_default=False,
    ),
]
OneArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME|DIR", help="Name of an adapter, or its folder.", show_default=False
    ),
]
SeveralArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME|DIR",
        help="Names of adapters, or their folders, two at least.",
        show_default=False,
    ),
]
FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="File that mrcli adapters export wrote.",
        parser=path_of,
        show_default=False,
    ),
]
FileOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="File to write, a zip archive.",
        parser=path_of,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
FolderOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder to write the bundle to.",
        parser=path_of,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force-unaccepted",
        help="Activate an adapter that was measured and not accepted; the log says so.",
        rich_help_panel=METHOD_PANEL,
    ),
]
NameOption = Annotated[
    str,
    typer.Option(
        metavar="CENTER/SCANNER|universal",
        help="Name of the average: of one site, or universal for sites that are not known.",
        rich_help_panel=METHOD_PANEL,
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify", help="Check the chain of the log and every byte of the bundles that it names."
    ),
]


@adapters.command()
def activate(
    folder: FolderArgument,
    *,
    force_unaccepted: ForceOption = False,
    model: ModelOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Let recon use a bundle for its site, protocol or unknown sites, by --adapter auto.

    It is checked and copied into the registry, and the audit log has a line more. A bundle that
    was measured and not accepted is refused with exit code 9.

    Example: mrcli adapters activate adapted
    """
    from mrcli.tasks.adapters_registry import activate_adapter

    del no_color  # it acted when the options were read
    result = activate_adapter(folder, model=model, registry=registry, is_forced=force_unaccepted)
    render.present("adapters activate", result, adapters_show.show_change, as_json=as_json)


@adapters.command()
def rollback(
    name: ActiveArgument,
    *,
    model: ModelOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Take back the last activation of an adapter: the one before is active again, or none.

    Example: mrcli adapters rollback Center9/Vida
    """
    from mrcli.tasks.adapters_registry import roll_back_adapter

    del no_color  # it acted when the options were read
    result = roll_back_adapter(name, model=model, registry=registry)
    render.present("adapters rollback", result, adapters_show.show_change, as_json=as_json)


@adapters.command("export")
def export(
    name: SourceArgument,
    *,
    output: FileOption,
    model: ModelOption = None,
    registry: RegistryOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Write a bundle and its evidence to one file, the same bytes every time.

    Example: mrcli adapters export Center9/Vida -o vida.zip
    """
    from mrcli.tasks.adapters_registry import export_adapter

    del no_color  # it acted when the options were read
    result = export_adapter(name, output, model=model, registry=registry, overwrite=overwrite)
    render.present("adapters export", result, adapters_show.show_moved, as_json=as_json)


@adapters.command("import")
def import_(
    file: FileArgument,
    *,
    output: FolderOption,
    model: ModelOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Take a bundle out of a file from elsewhere; exit code 7 unless every byte is right.

    Nothing is activated. Evidence comes from whoever made the file: it is checked for damage only.

    Example: mrcli adapters import vida.zip -o vida
    """
    from mrcli.tasks.adapters_registry import import_adapter

    del no_color  # it acted when the options were read
    result = import_adapter(file, output, model=model)
    render.present("adapters import", result, adapters_show.show_moved, as_json=as_json)


@adapters.command()
def diff(
    one: OneArgument,
    other: OneArgument,
    *,
    model: ModelOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Compare two adapters: what they are, and how far apart at each slot is what they do.

    0 is the same, 1 where one does nothing, 2 the opposite.

    Example: mrcli adapters diff universal Center9/Vida
    """
    from mrcli.tasks.adapters_compare import diff_adapters

    del no_color  # it acted when the options were read
    result = diff_adapters(one, other, model=model, registry=registry)
    render.present("adapters diff", result, adapters_show.show_diff, as_json=as_json)


@adapters.command()
def average(
    names: SeveralArgument,
    *,
    output: FolderOption,
    name: NameOption = "universal",
    model: ModelOption = None,
    registry: RegistryOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Average adapters of one backbone and form: what they do, weighted by numbers of scans.

    Where not every adapter states its number of scans, all count the same.

    Example: mrcli adapters average Center9/Vida Center9/Sola -o mean
    """
    from mrcli.tasks.adapters_compare import average_adapters

    del no_color  # it acted when the options were read
    if len(names) < 2:
        raise typer.BadParameter("name two adapters at least")
    result = average_adapters(
        names, output, name=name, model=model, registry=registry, overwrite=overwrite
    )
    render.present("adapters average", result, adapters_show.show_average, as_json=as_json)


@adapters.command()
def log(
    *,
    verify: VerifyOption = False,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
    no_color: NoColorOption = False,
) -> None:
    """Print the audit log of the registry; exit code 7 where it is broken.

    Example: mrcli adapters log --verify
    """
    from mrcli.tasks.adapters_registry import read_audit_log

    del no_color  # it acted when the options were read
    result = read_audit_log(registry, is_verified=verify)
    render.present("adapters log", result, adapters_show.show_log, as_json=as_json)
