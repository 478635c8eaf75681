"""`mrcli recon`."""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mrcli.cli import render
from mrcli.cli.options import (
    INPUT_PANEL,
    METHOD_PANEL,
    OUTPUT_PANEL,
    SITE_PANEL,
    AxesOption,
    ConfigOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    MaskOption,
    ModelOption,
    NoColorOption,
    OverwriteOption,
    PathsArgument,
    QuietOption,
    ReaderOption,
    SeedOption,
    VerboseOption,
    path_of,
)

if TYPE_CHECKING:
    from mrcli.tasks.recon_result import ReconResult

IMAGE_FORMATS = ("nifti", "h5")
_SUFFIXES = (".nii.gz", ".h5", ".json")
_STATUS_COLORS = {"done": "green", "skipped": "cyan", "planned": "cyan", "failed": "red"}


class Method(StrEnum):
    """How k-space becomes an image."""

    AUTO = "auto"
    NETWORK = "network"
    SENSE = "sense"
    CS = "cs"
    ZERO_FILLED = "zero-filled"


class Precision(StrEnum):
    """In which numbers the convolutions of the network compute."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


def check_formats(formats: str) -> str:
    """Require a list of known image formats with commas between."""
    unknown = [name for name in formats.split(",") if name not in IMAGE_FORMATS]
    if unknown:
        known = ", ".join(IMAGE_FORMATS)
        raise typer.BadParameter(f"{unknown[0]!r} is not an image format: {known}")
    return formats


def parse_shard(shard: str) -> tuple[int, int]:
    """Return K and N of ``K/N``; raises `typer.BadParameter`."""
    index, _, count = shard.partition("/")
    is_share = index.isdecimal() and count.isdecimal()
    if not is_share or not 1 <= int(index) <= int(count):
        raise typer.BadParameter(f"{shard!r} is not a share K/N with K from 1 to N")
    return int(index), int(count)


def check_shard(shard: str | None) -> str | None:
    """Require a share of the work, if one is given."""
    if shard is not None:
        parse_shard(shard)
    return shard


OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for the images; the input tree is mirrored below it.",
        parser=path_of,
        envvar="MRCLI_OUTPUT",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
MethodOption = Annotated[
    Method,
    typer.Option(
        help="How to reconstruct; auto takes the network where a model fits the data, else sense, "
        "and records why.",
        envvar="MRCLI_METHOD",
        rich_help_panel=METHOD_PANEL,
    ),
]
AdapterOption = Annotated[
    str,
    typer.Option(
        metavar="auto|none|universal|NAME|DIR",
        help="Adapter of the network; auto takes those of the scan's protocol and site.",
        envvar="MRCLI_ADAPTER",
        rich_help_panel=METHOD_PANEL,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="Numbers that the network computes with; auto takes bf16 where the device has it.",
        envvar="MRCLI_PRECISION",
        rich_help_panel=METHOD_PANEL,
    ),
]
FormatsOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FORMAT,...",
        help=f"Image formats to write: {', '.join(IMAGE_FORMATS)}.",
        callback=check_formats,
        envvar="MRCLI_TO",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
CenterOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Hospital, where the files do not say it.",
        envvar="MRCLI_CENTER",
        rich_help_panel=SITE_PANEL,
    ),
]
ScannerOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Scanner, where the files do not say it.",
        envvar="MRCLI_SCANNER",
        rich_help_panel=SITE_PANEL,
    ),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Acquisition protocol, where the files do not say it.",
        envvar="MRCLI_PROTOCOL",
        rich_help_panel=SITE_PANEL,
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="K/N",
        help="Do share K of N of the scans, for job arrays.",
        callback=check_shard,
        envvar="MRCLI_SHARD",
        rich_help_panel=INPUT_PANEL,
    ),
]


def recon(
    paths: PathsArgument,
    *,
    output: OutputOption,
    method: MethodOption = Method.AUTO,
    model: ModelOption = None,
    adapter: AdapterOption = "auto",
    precision: PrecisionOption = Precision.AUTO,
    mask: MaskOption = None,
    reader: ReaderOption = None,
    axes: AxesOption = None,
    to: FormatsOption = "nifti",
    center: CenterOption = None,
    scanner: ScannerOption = None,
    protocol: ProtocolOption = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    shard: ShardOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    is_verbose: VerboseOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Reconstruct a file, a study or a whole folder tree.

    Finished scans are listed in OUT/manifest.jsonl and skipped the next time. A scan that fails
    does not stop the others: the exit code is then 8.

    Example: mrcli recon study -o images --method sense
    """
    from mrcli.tasks.recon import recon_paths
    from mrcli.tasks.recon_result import ReconSettings

    del config, no_color  # both have acted when the options were read
    settings = ReconSettings(
        method=method.value,
        model=model,
        adapter=adapter,
        precision=precision.value,
        mask_path=mask,
        reader=reader,
        axes=axes,
        writers=tuple(to.split(",")),
        center=center,
        scanner=scanner,
        protocol=protocol,
        overwrite=overwrite,
        dry_run=dry_run,
        shard=None if shard is None else parse_shard(shard),
        device=device,
        seed=seed,
    )
    with render.progress(is_quiet=is_quiet) as on_progress:
        result = recon_paths(paths, output, settings, on_progress)
    show = show_choices if is_verbose else show_scans
    render.present("recon", result, partial(show, out_dir=output), as_json=as_json)


def show_scans(result: "ReconResult", console: Console, *, out_dir: Path) -> None:
    """Print a line per scan; where its images lie only if their names are not its own."""
    scans: Any = result.document()["scans"]
    folder = render.common_folder([scan["path"] for scan in scans])
    has_other_names = not all(map(_is_mirrored, scans))
    if folder is not None and len(scans) > 1:
        console.print(f"{len(scans)} scans below {render.cell(str(folder))}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("scan", overflow="fold")
    for name in ("status", "method", "residual", "seconds"):
        table.add_column(name, no_wrap=True)
    if has_other_names:
        table.add_column("output", overflow="fold")
    for scan in scans:
        name = render.name_below(folder if len(scans) > 1 else None, scan["path"])
        row = (render.cell(name), *_row(scan), _outputs(scan))
        table.add_row(*row[: len(table.columns)])
    console.print(table)
    if any(scan["output"] for scan in scans):
        console.print(f"images below {render.cell(str(out_dir))}", soft_wrap=True)


def show_choices(result: "ReconResult", console: Console, *, out_dir: Path) -> None:
    """Print the table, and per scan why this method was chosen and what was found."""
    show_scans(result, console, out_dir=out_dir)
    scans: Any = result.document()["scans"]
    for scan in scans:
        console.print(f"{render.cell(scan['path'])}: {render.cell(scan['reason'] or '')}")
        if scan["model"] is not None:
            console.print(f"  {render.cell(_network_words(scan))}")
        for finding in scan["findings"]:
            console.print(f"  {finding['severity']}: {render.cell(finding['message'])}")


def _network_words(scan: Mapping[str, Any]) -> str:
    return f"model {scan['model']['name']}, adapter {scan['adapter']['name']}, {scan['precision']}"


def _is_mirrored(scan: Mapping[str, Any]) -> bool:
    """Say whether the files of a scan are called like the scan, but for their suffix."""
    stem = PurePosixPath(scan["path"]).with_suffix("").as_posix()
    return all(name.removeprefix(stem) in _SUFFIXES for name in scan["output"])


def _outputs(scan: Mapping[str, Any]) -> str:
    return render.cell(", ".join(map(str, scan["output"])))


def _row(scan: Mapping[str, Any]) -> tuple[str, ...]:
    color = _STATUS_COLORS.get(scan["status"], "default")
    residual, seconds = scan["consistency_residual"], scan["seconds"]
    return (
        f"[{color}]{render.cell(scan['status'])}[/{color}]",
        render.cell(scan["method"] or ""),
        "" if residual is None else f"{residual:.3g}",
        "" if seconds is None else f"{seconds:.1f}",
    )
