"""Options that verbs share; each is written once, so that it means the same everywhere."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import typer
from typer.core import TyperGroup

from mrcli.config import ConfigError, Setting, find_config, read_config
from mrcli.errors import InputError

INPUT_PANEL = "Input"
OUTPUT_PANEL = "Output"
METHOD_PANEL = "Method"
SITE_PANEL = "Site"
MACHINE_PANEL = "Machine"
SHARED_PANEL = "Shared options"

# a file that changes the form of the output, or names another file, would surprise scripts
_NOT_IN_A_FILE = {"json", "config", "help", "version"}
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@runtime_checkable
class Parameterised(Protocol):
    """A command as seen here; Typer does not export the class that it stands for."""

    @property
    def params(self) -> Sequence[Any]:
        """Return its arguments and options."""


@runtime_checkable
class DescribesKind(Protocol):
    """What Typer knows of the annotation of an option."""

    @property
    def annotation(self) -> object:
        """Return the annotation, without ``None``."""


@runtime_checkable
class ProcessesValues(Protocol):
    """An option as seen here: what it takes, and how it takes it."""

    @property
    def type_descriptor(self) -> DescribesKind:
        """Describe the kind of value."""

    def process_value(self, context: typer.Context, value: object) -> object:
        """Return the value as the command gets it; raises `typer.BadParameter`."""


def path_of(text: str) -> Path:
    """Return the path; an empty text, as of a variable that is not set, is no path."""
    if not str(text):
        raise typer.BadParameter("an empty text is not a path")
    return Path(text)


def expand_standard_input(context: typer.Context, paths: list[Path]) -> list[Path]:
    """Replace ``-`` by the paths that standard input lists, one per line."""
    if context.resilient_parsing:  # shell completion reads no input
        return paths
    if paths.count(Path("-")) > 1:
        raise typer.BadParameter("standard input (-) can be read once only")
    listed = [_listed_paths() if path == Path("-") else [path] for path in paths]
    return [path for group in listed for path in group]


def _listed_paths() -> list[Path]:
    paths = [Path(line) for line in sys.stdin.read().splitlines() if line.strip()]
    if not paths:
        raise InputError(
            "standard input lists no path", hint="write one path per line, or name the paths"
        )
    return paths


def load_config(context: typer.Context, given: Path | None) -> Path | None:
    """Make what the configuration file says the defaults of this verb; return the file."""
    path = find_config(given, Path())
    if context.resilient_parsing or path is None:
        return path
    verb, group = context.info_name or "", context.parent and context.parent.command
    commands = group.commands if isinstance(group, TyperGroup) else {verb: context.command}
    options = {known: options_by_key(command) for known, command in commands.items()}
    kinds = {known: {key: kind_of(o) for key, o in own.items()} for known, own in options.items()}
    # a file serves all verbs, so all its sections are checked, not only that of this verb
    section = read_config(path, kinds)[verb]
    for key, setting in section.items():
        require_value(context, options[verb][key], setting)
    context.default_map = {options[verb][key].name: one.value for key, one in section.items()}
    return path


def options_by_key(command: Parameterised) -> dict[str, Any]:
    """Return, for each key that a file may hold, the option that it sets."""
    options = [o for o in command.params if o.param_type_name == "option"]
    by_key = {max(option.opts, key=len).lstrip("-"): option for option in options}
    return {key: option for key, option in by_key.items() if key not in _NOT_IN_A_FILE}


def kind_of(option: ProcessesValues) -> type:
    """Return what a file states for an option: true or false, a number, or a text."""
    annotation = option.type_descriptor.annotation
    return next((kind for kind in (bool, int, float) if annotation is kind), str)


def require_value(context: typer.Context, option: ProcessesValues, setting: Setting) -> None:
    """Raise `ConfigError` naming the place in the file unless the option takes the value."""
    try:
        option.process_value(context, setting.value)
    except typer.BadParameter as error:
        reason = error.message.rstrip(".").removeprefix("Value error, ")
        raise ConfigError(
            f"{setting.place}: {reason[:1].lower()}{reason[1:]}", hint="change the value"
        ) from error


def check_device(device: str) -> str:
    """Return the name of a device; whether it is there is known when it is used."""
    if not _DEVICE.fullmatch(device):
        raise typer.BadParameter(f"{device!r} is not a device: auto, cpu, cuda or cuda:N")
    return device


def without_color(is_wanted: bool) -> bool:
    """Turn colour off for this process and those it starts."""
    if is_wanted:
        os.environ["NO_COLOR"] = "1"
    return is_wanted


PathsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH",
        help="Files or folders (searched recursively, hidden files skipped), or - for a list "
        "on standard input.",
        callback=expand_standard_input,
        parser=path_of,
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print exactly one JSON document, also on failure.",
        rich_help_panel=SHARED_PANEL,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "-q",
        "--quiet",
        help="Show results and errors only.",
        envvar="MRCLI_QUIET",
        rich_help_panel=SHARED_PANEL,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Say more about each step.",
        envvar="MRCLI_VERBOSE",
        rich_help_panel=SHARED_PANEL,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to compute.",
        callback=check_device,
        envvar="MRCLI_DEVICE",
        rich_help_panel=MACHINE_PANEL,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        max=2**63 - 1,
        help="Seed of everything that is drawn by chance.",
        envvar="MRCLI_SEED",
        rich_help_panel=MACHINE_PANEL,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings of this site; ./mrcli.toml is read where none is named.",
        is_eager=True,
        callback=load_config,
        parser=path_of,
        envvar="MRCLI_CONFIG",
        show_default=False,
        rich_help_panel=SHARED_PANEL,
    ),
]
NoColorOption = Annotated[
    bool,
    typer.Option(
        "--no-color",
        help="Write no colours; the environment variable NO_COLOR does the same.",
        is_eager=True,
        callback=without_color,
        envvar="MRCLI_NO_COLOR",
        rich_help_panel=SHARED_PANEL,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace results that exist already.", rich_help_panel=OUTPUT_PANEL
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would be done and write nothing.", rich_help_panel=OUTPUT_PANEL
    ),
]
MaskOption = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="Sampling mask of the scans.",
        parser=path_of,
        rich_help_panel=INPUT_PANEL,
    ),
]
ReaderOption = Annotated[
    str | None,
    typer.Option(
        "--reader",
        metavar="NAME",
        help="Format of the input; found by content where none is named.",
        envvar="MRCLI_READER",
        rich_help_panel=INPUT_PANEL,
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        "--axes",
        metavar="AXES",
        help="Order of the axes of plain arrays, such as coil,y,x.",
        rich_help_panel=INPUT_PANEL,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|DIR",
        help="Model of the network; the one that comes with this version where none is named.",
        envvar="MRCLI_MODEL",
        show_default=False,
        rich_help_panel=METHOD_PANEL,
    ),
]
