"""Every way in which a command fails, as data: what is said, and the exit code."""

import errno
import os
import tempfile
import traceback
from pathlib import Path

import typer

from mrcli.errors import MrcliError, OutputError, ResourceError
from mrcli.tasks.results import ErrorReport, report_error

BUG, USAGE, INTERRUPTED, NOBODY_READS, TERMINATED = 1, 2, 130, 141, 143
_NOT_WRITABLE = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EFBIG}


class Failed(typer.TyperException):
    """A command that ended with a report of its failure."""

    def __init__(self, report: ErrorReport) -> None:
        super().__init__(report.message)
        self.report = report


class Terminated(BaseException):
    """The process was asked to end; like an interrupt, nobody handles it by accident."""


def report_failure(failure: BaseException) -> ErrorReport:
    """Turn what was raised into one line, a remedy and an exit code."""
    if isinstance(failure, MrcliError):
        return report_error(failure)
    if isinstance(failure, KeyboardInterrupt):
        return ErrorReport("Interrupted", "interrupted", None, None, INTERRUPTED)
    if isinstance(failure, Terminated):
        return ErrorReport("Terminated", "terminated", None, None, TERMINATED)
    if is_out_of_memory(failure):
        return report_error(_out_of_memory(failure))
    if isinstance(failure, OSError) and failure.errno in _NOT_WRITABLE:
        return report_error(_not_writable(failure))
    return report_bug(failure)


def usage_report(error: typer.TyperException) -> ErrorReport:
    """Turn a command line that cannot be understood into a report; usage errors are 2."""
    message = error.format_message().strip().rstrip(".").replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mrcli"
    return ErrorReport(
        "UsageError",
        f"{message[:1].lower()}{message[1:]}",
        None,
        f"see {command} --help",
        error.exit_code,
    )


def is_out_of_memory(failure: BaseException) -> bool:
    """Say whether memory ran out, without importing torch, which has two ways to say so."""
    return (
        isinstance(failure, MemoryError)
        or type(failure).__name__ == "OutOfMemoryError"
        or (isinstance(failure, RuntimeError) and "DefaultCPUAllocator" in str(failure))
    )


def _out_of_memory(failure: BaseException) -> ResourceError:
    where = "on the GPU" if type(failure).__name__ == "OutOfMemoryError" else "on this machine"
    return ResourceError(
        f"the memory {where} does not suffice", hint="free memory, or use a larger machine"
    )


def _not_writable(failure: OSError) -> OutputError:
    where = f"{failure.filename}: " if failure.filename else ""
    return OutputError(
        f"{where}cannot be written: {os.strerror(failure.errno or 0).lower()}",
        hint="choose a folder that is writable and has space",
    )


def report_bug(failure: BaseException) -> ErrorReport:
    """Report what nobody foresaw; the details go into a file, which holds no values."""
    kind = type(failure).__name__
    hint = "report it with that file, which may quote names of files: read it first"
    return ErrorReport("InternalError", f"internal error ({kind}){_log(failure)}", None, hint, BUG)


def _log(failure: BaseException) -> str:
    lines = traceback.TracebackException.from_exception(failure, capture_locals=False).format()
    try:
        handle, name = tempfile.mkstemp(prefix="mrcli-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.writelines(lines)
    except OSError:
        return ", and no log could be written to the folder for temporary files"
    return f", the details are in {Path(name)}"
