"""The reference of the command line, made from the options themselves: ``docs/cli.md``.

``python -m mrcli.cli.manual > docs/cli.md`` writes it; a test compares it with the program.
"""

import inspect
from collections.abc import Iterator

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from mrcli.cli.app import app

Parameter = TyperArgument | TyperOption

EXIT_CODES = {
    0: "done",
    1: "a bug of this program; a log file, named in the message, has the details",
    2: "the command line or the configuration file cannot be understood",
    3: "no usable input",
    4: "an input is corrupt, unsupported or contradicts itself",
    5: "an output cannot be written, or the disk is full",
    6: "the device or the memory does not suffice",
    7: "a model or an adapter is refused",
    8: "some scans failed; all are listed",
    9: "a quality gate failed",
    10: "another run writes to the output folder",
    130: "interrupted",
    141: "the reader of the output went away",
    143: "terminated",
}
_HEAD = """# Command line

Made from the program by `python -m mrcli.cli.manual`; edit the options, not this page.

An option that names an environment variable reads it where the command line is silent; then comes
the configuration file (`--config`, else `./mrcli.toml`), then the default.
"""


def manual() -> str:
    """Return the reference page in Markdown."""
    group = get_command(app)
    sections = ["\n".join(_section(name, command)) for name, command in verbs(group)]
    codes = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    ending = "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *codes])
    return "\n\n".join([_HEAD.rstrip(), *sections, ending]) + "\n"


def verbs(group: object, prefix: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command with its name, ``doctor`` or ``adapters list``."""
    commands = group.commands if isinstance(group, TyperGroup) else {}
    for name, command in commands.items():
        yield from verbs(command, f"{prefix}{name} ")
        if isinstance(command, TyperCommand):
            yield f"{prefix}{name}", command


def _section(name: str, command: TyperCommand) -> Iterator[str]:
    yield f"## mrcli {name}"
    yield ""
    yield inspect.cleandoc(command.help or "")
    yield ""
    yield "| option | effect | environment | default |"
    yield "|---|---|---|---|"
    for parameter in command.params:
        if isinstance(parameter, Parameter):
            yield _row(parameter)


def _row(parameter: Parameter) -> str:
    environment = parameter.envvar if isinstance(parameter.envvar, str) else ""
    cells = (_names(parameter), parameter.help or "", environment, _default(parameter))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _names(parameter: Parameter) -> str:
    if isinstance(parameter, TyperArgument):
        return f"`{parameter.metavar}{'...' if parameter.nargs == -1 else ''}`"
    names = ", ".join(parameter.opts)
    return f"`{names}`" if parameter.is_flag else f"`{names} {_value(parameter)}`"


def _value(option: TyperOption) -> str:
    choices = option.type_descriptor.choices
    return option.metavar or ("|".join(map(str, choices)) if choices else "N")


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "needed"
    if parameter.default is None or parameter.default is False:
        return ""
    return f"`{parameter.default}`"


if __name__ == "__main__":
    typer.echo(manual(), nl=False)
