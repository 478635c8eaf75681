"""What a person or a script sees: results on stdout, everything else on stderr.

With ``--json`` stdout is exactly one JSON document, whatever happens.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mrcli.errors import MrcliError
from mrcli.tasks.results import ErrorReport, TaskResult

SCHEMA_VERSION = 1
# scan index, number of scans, relative name, slices done, slices of this scan
OnProgress = Callable[[int, int, str, int, int], None]
Result = TypeVar("Result", bound=TaskResult)
_WIDTH_OF_A_FILE = 200  # a table that goes into a file or a pipe is not cut at 80 columns


def present(
    command: str,
    result: Result,
    render: Callable[[Result, Console], None],
    *,
    as_json: bool,
) -> None:
    """Show a result and end the command with the exit code that the result carries.

    What went wrong with single scans is said on stderr as well, like any other failure.
    """
    document = result.document()
    if as_json:
        print_document(command, result.exit_code, document)
    else:
        render(result, stdout_console())
    for path, error in scan_errors(document):
        is_named = Path(path).name in error["message"]
        say_error(error["message"] if is_named else f"{path}: {error['message']}", error["hint"])
    raise typer.Exit(result.exit_code)


def scan_errors(document: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the path and the error of each scan that has one."""
    scans = document.get("scans")
    for scan in scans if isinstance(scans, list) else []:
        if scan.get("error"):
            yield scan["path"], scan["error"]


def show_failure(report: ErrorReport, command: str, *, as_json: bool) -> None:
    """Write `error:` and `hint:` to stderr, one line each, and the document if one is due."""
    say_error(report.message, report.hint)
    if as_json:
        print_document(command, report.exit_code, {"error": report.document()})


def say_error(message: str, hint: str | None) -> None:
    """Write `error:` and, if there is a remedy, `hint:` to stderr, one line each."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {one_line(hint)}", file=sys.stderr)


def note(text: str, *, is_quiet: bool = False) -> None:
    """Write one line about the run to stderr."""
    if not is_quiet:
        print(one_line(text), file=sys.stderr)


def print_document(command: str, exit_code: int, body: Mapping[str, object]) -> None:
    """Print the JSON document of a command."""
    head = {"schema_version": SCHEMA_VERSION, "command": command}
    outcome: dict[str, object] = {"ok": exit_code == 0, "exit_code": exit_code}
    if exit_code:
        outcome["error"] = error_of(exit_code).document()
    print(json.dumps(json_value(head | outcome | dict(body)), allow_nan=False, indent=2))


def error_of(exit_code: int) -> ErrorReport:
    """Say in general what an exit code means, for a result that lists its own reasons."""
    kinds = {kind.exit_code: kind for kind in MrcliError.__subclasses__()}
    kind = kinds.get(exit_code, MrcliError)
    meaning = (kind.__doc__ or "").splitlines()[0].rstrip(".")
    message = f"{meaning[:1].lower()}{meaning[1:]}"
    return ErrorReport(kind.__name__, message, None, "each reason is listed", exit_code)


def json_value(value: object) -> object:
    """Return the value with what JSON cannot say replaced: NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def one_line(text: str) -> str:
    """Return the text on one line; a control character of a file name shows, it does not act."""
    flat = " ".join(text.split())
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in flat)


def cell(text: str) -> str:
    """Return the text of a table cell: one line, and no markup in it is obeyed."""
    return escape(one_line(text))


def stdout_console() -> Console:
    """Return the console for results."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE, highlight=False)


@contextmanager
def progress(*, is_quiet: bool = False) -> Iterator[OnProgress]:
    """Yield what a task calls after each slice: a bar on a terminal, else one line per scan."""
    if is_quiet:
        yield _say_nothing
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield _advance(bar)
    else:
        yield _say_finished


def _say_nothing(scan_index: int, n_scans: int, name: str, done: int, n_slices: int) -> None:
    del scan_index, n_scans, name, done, n_slices


def _say_finished(scan_index: int, n_scans: int, name: str, done: int, n_slices: int) -> None:
    if done == n_slices:
        note(f"scan {scan_index + 1} of {n_scans}: {name}, slices {done} of {n_slices}")


def _bar() -> Progress:
    text = TextColumn("{task.description}")
    slices = TextColumn("slice {task.completed}/{task.total}")
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(text, BarColumn(), slices, *times, console=Console(stderr=True), transient=True)


def _advance(bar: Progress) -> OnProgress:
    task = bar.add_task("", total=None)

    def on_progress(scan_index: int, n_scans: int, name: str, done: int, n_slices: int) -> None:
        description = f"[{scan_index + 1}/{n_scans}] {one_line(name)}"
        bar.update(task, description=escape(description), completed=done, total=n_slices)

    return on_progress
