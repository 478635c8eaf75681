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

from mrcli.cli.streams import stdout_errors_named, write_line_to_stderr
from mrcli.errors import MrcliError
from mrcli.tasks.results import ErrorReport, ListsReasons, TaskResult, named_message

SCHEMA_VERSION = 1
# scan index, number of scans, relative name, slices done, slices of this scan
OnProgress = Callable[[int, int, str, int, int], None]
Result = TypeVar("Result", bound=TaskResult)
_WIDTH_OF_A_FILE = 100_000  # in a file or a pipe no line is folded: programs read it by the line
_BAR_COLUMNS = 12
_COLUMNS_BESIDE_NAME = _BAR_COLUMNS + 42  # of the progress: numbers of scan and slice, times
_SHORTEST_NAME = 12


def present(
    command: str,
    result: Result,
    render: Callable[[Result, Console], None],
    *,
    as_json: bool,
) -> None:
    """Show a result and end the command with the exit code that the result carries.

    What went wrong is said on stderr as well, reason by reason, like any other failure.
    """
    document = result.document()
    reasons = reasons_of(result, document)
    with stdout_errors_named():
        if as_json:
            print_document(command, result.exit_code, document, reasons)
        else:
            render(result, stdout_console())
    for reason in reasons:
        say_error(reason.message, reason.hint)
    raise typer.Exit(result.exit_code)


def reasons_of(result: TaskResult, document: Mapping[str, object]) -> tuple[ErrorReport, ...]:
    """Return why the exit code is not 0: one report per reason, and never none."""
    own = result.reasons if isinstance(result, ListsReasons) else tuple(scan_errors(document))
    return own or ((error_of(result.exit_code),) if result.exit_code else ())


def scan_errors(document: Mapping[str, object]) -> Iterator[ErrorReport]:
    """Yield the error of each scan that has one, with the name of the scan."""
    scans = document.get("scans")
    for scan in scans if isinstance(scans, list) else []:
        if error := scan.get("error"):
            message = named_message(scan["path"], error["message"])
            file = error["file"] or scan["path"]
            yield ErrorReport(error["code"], message, file, error["hint"], 0)


def show_failure(report: ErrorReport, command: str, *, as_json: bool) -> None:
    """Write `error:` and `hint:` to stderr, one line each, and the document if one is due."""
    say_error(report.message, report.hint)
    if as_json:
        with stdout_errors_named():
            print_document(command, report.exit_code, {}, [report])


def say_error(message: str, hint: str | None) -> None:
    """Write `error:` and, if there is a remedy, `hint:` to stderr, one line each."""
    write_line_to_stderr(f"error: {one_line(message)}")
    if hint:
        write_line_to_stderr(f"hint: {one_line(hint)}")


def note(text: str, *, is_quiet: bool = False) -> None:
    """Write one line about the run to stderr."""
    if not is_quiet:
        write_line_to_stderr(one_line(text))


def print_document(
    command: str, exit_code: int, body: Mapping[str, object], reasons: Sequence[ErrorReport] = ()
) -> None:
    """Print the JSON document of a command; a single reason is its error, several are listed."""
    head = {"schema_version": SCHEMA_VERSION, "command": command}
    outcome: dict[str, object] = {"ok": exit_code == 0, "exit_code": exit_code}
    if exit_code:
        error = reasons[0] if len(reasons) == 1 else error_of(exit_code)
        outcome["error"] = error.document()
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
    columns = (text, BarColumn(_BAR_COLUMNS), slices, TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _advance(bar: Progress) -> OnProgress:
    task = bar.add_task("", total=None, visible=False)  # until it is known how much there is

    def on_progress(scan_index: int, n_scans: int, name: str, done: int, n_slices: int) -> None:
        width = max(_SHORTEST_NAME, bar.console.width - _COLUMNS_BESIDE_NAME)
        description = f"[{scan_index + 1}/{n_scans}] {end_of_name(one_line(name), width)}"
        text = escape(description)
        bar.update(task, description=text, completed=done, total=n_slices, visible=True)

    return on_progress


def end_of_name(name: str, width: int) -> str:
    """Return as many last folders of a path as fit into `width`, or the end of its last name."""
    if len(name) <= width:
        return name
    parts = name.split("/")
    ends = ("/".join(["…", *parts[first:]]) for first in range(1, len(parts)))
    return next((end for end in ends if len(end) <= width), f"…{name[1 - width :]}")


def common_folder(paths: Sequence[str]) -> Path | None:
    """Return the folder that holds all of several files, None where only the root does."""
    places = [Path(path) for path in paths]
    if len({place.is_absolute() for place in places}) > 1:
        places = [place.absolute() for place in places]
    shared = (f for f in places[0].parents if all(place.is_relative_to(f) for place in places))
    folder = next(shared, None)
    return None if folder is None or not folder.name else folder


def name_below(folder: Path | None, path: str) -> str:
    """Return the path as it reads below the folder."""
    if folder is None:
        return path
    place = Path(path)
    return str((place.absolute() if folder.is_absolute() else place).relative_to(folder))
