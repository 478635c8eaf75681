"""`mrcli doctor`."""

from typing import TYPE_CHECKING

from rich.console import Console

from mrcli.cli import render
from mrcli.cli.options import ConfigOption, DeviceOption, JsonOption, NoColorOption

if TYPE_CHECKING:
    from mrcli.tasks.doctor import Check, DoctorResult

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    *,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Say whether this machine is ready: one line, and one fix, per finding.

    Exit code 0, or 6 where something fails.

    Example: mrcli doctor --device cpu
    """
    from mrcli.tasks.doctor import examine

    del config, no_color  # both have acted when the options were read
    render.present("doctor", examine(device), show_checks, as_json=as_json)


def show_checks(result: "DoctorResult", console: Console) -> None:
    """Print a line per check, and the fix below it."""
    for check in result.checks:
        console.print(_line(check))
        if check.fix is not None:
            console.print(f"      fix: {render.cell(check.fix)}")


def _line(check: "Check") -> str:
    color = _COLORS[check.status]
    text = render.cell(check.message)
    return f"[{color}]{check.status:<4}[/{color}]  {render.cell(check.name)}: {text}"
