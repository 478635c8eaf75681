"""What every task returns: a JSON document and an exit code, rendered by the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Protocol, runtime_checkable

from mrcli.errors import MrcliError, PartialFailure


@runtime_checkable
class TaskResult(Protocol):
    """The outcome of one command."""

    @property
    def exit_code(self) -> int:
        """Exit code that the command ends with."""

    def document(self) -> dict[str, object]:
        """Return the command's own keys of the JSON document."""


@runtime_checkable
class ListsReasons(Protocol):
    """The outcome of a command that can end badly for several reasons at once."""

    @property
    def reasons(self) -> "tuple[ErrorReport, ...]":
        """One report per thing that went wrong, each naming where."""


@dataclass(frozen=True)
class ErrorReport:
    """A failure as data: what the JSON key ``error`` holds."""

    code: str
    message: str
    file: str | None
    hint: str | None
    exit_code: int

    def document(self) -> dict[str, object]:
        """Return the JSON form, without the exit code, which stands at the top level."""
        return {"code": self.code, "message": self.message, "file": self.file, "hint": self.hint}


def report_error(error: MrcliError, file: str | None = None) -> ErrorReport:
    """Turn an exception into data; the code is the name of its class."""
    return ErrorReport(type(error).__name__, error.message, file, error.hint, error.exit_code)


def report_at(error: MrcliError, path: str) -> ErrorReport:
    """Turn an exception about a file into data whose message names the file."""
    report = report_error(error, path)
    return replace(report, message=named_message(path, report.message))


def named_message(path: str, message: str) -> str:
    """Return the message with the whole path in it: many files share their last name."""
    if path in message:
        return message
    return f"{path}: {message.removeprefix(f'{PurePath(path).name}: ')}"


@runtime_checkable
class HasStatus(Protocol):
    """One item of a batch."""

    @property
    def status(self) -> str:
        """Return what became of it."""


def count_by_status(items: Sequence[HasStatus]) -> dict[str, int]:
    """Return how many items there are, and how many of each status."""
    states = [item.status for item in items]
    counts = {state: states.count(state) for state in ("done", "planned", "skipped", "failed")}
    return {"scans": len(states), **counts}


def batch_exit_code(errors: Sequence[ErrorReport], n_items: int) -> int:
    """Return 0 if all went well, 8 if some failed, and if all failed the first one's own code."""
    if not errors:
        return 0
    return PartialFailure.exit_code if len(errors) < n_items else errors[0].exit_code
