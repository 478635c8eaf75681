"""The command `mrcli`: its verbs, and the one place where failures become exit codes."""

import importlib.metadata
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePath
from types import FrameType
from typing import Annotated, NoReturn, cast

import typer
from typer.core import TyperGroup

from mrcli.cli import failures, render
from mrcli.cli.adapt import adapt
from mrcli.cli.adapters_registry import adapters
from mrcli.cli.bench import bench
from mrcli.cli.demo import demo
from mrcli.cli.doctor import doctor
from mrcli.cli.inspect import inspect
from mrcli.cli.recon import recon
from mrcli.cli.report import report
from mrcli.cli.simulate import simulate
from mrcli.cli.streams import (
    discard,
    flush_or_discard,
    open_missing_streams,
    stdout_errors_named,
)
from mrcli.cli.train import train
from mrcli.errors import OutputError
from mrcli.memory import keep_freed_memory
from mrcli.tasks.results import ErrorReport, report_error

DISTRIBUTION = "mrcli-recon"
VERBS = (inspect, recon, adapt, report, simulate, train, bench, demo, doctor)


class CommandLine(TyperGroup):
    """A group whose every end is an exit code, in the real process and in a test runner."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: object,
    ) -> NoReturn:
        """Run a command line and exit; says what went wrong in one line."""
        del prog_name, standalone_mode  # one name and one way to end
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = self._exit_code(arguments, complete_var, windows_expand_args, extra)
        finally:
            flush_or_discard(sys.stdout)
        sys.exit(code)

    def _exit_code(
        self, arguments: list[str], complete_var: str | None, expand: bool, extra: dict[str, object]
    ) -> int:
        try:
            with stdout_errors_named():
                return super().main(arguments, "mrcli", complete_var, False, expand, **extra) or 0
        except SystemExit as end:  # Typer and rich end like this when the reader has gone
            if not isinstance(end.__context__, BrokenPipeError):
                raise
            return failures.NOBODY_READS
        except failures.Failed as failure:
            flush_or_discard(sys.stdout)  # it may be what failed
            failed = failure.report
        except OutputError as error:  # the help, or the version, had no place to go
            failed = report_error(error)
        except typer.TyperException as error:
            failed = failures.usage_report(error)
        if failed.message:  # without any argument the help was shown instead
            return self._show(failed, arguments)
        return failed.exit_code

    def _show(self, failed: ErrorReport, arguments: list[str]) -> int:
        verb = _verb(self, arguments) or "mrcli"
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        failed = replace(failed, file=failed.file or named_file(failed.message, options))
        try:
            with quiet_when_nobody_reads():
                render.show_failure(failed, verb, as_json="--json" in options)
        except OutputError as error:
            render.say_error(error.message, error.hint)
            return error.exit_code
        return failed.exit_code

    def invoke(self, ctx: object) -> object:
        """Run the verb; every failure leaves as a `Failed` that carries its report."""
        try:
            with quiet_when_nobody_reads():
                return super().invoke(cast(typer.Context, ctx))
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except (KeyboardInterrupt, failures.Terminated, Exception) as failure:
            raise failures.Failed(failures.report_failure(failure)) from failure


def _verb(group: TyperGroup, arguments: Sequence[str]) -> str:
    """Return the verb of a command line, ``doctor`` or ``adapters list``; none: an empty text."""
    place = next((n for n, word in enumerate(arguments) if word in group.commands), None)
    if place is None:
        return ""
    command = group.commands[arguments[place]]
    below = _verb(command, arguments[place + 1 :]) if isinstance(command, TyperGroup) else ""
    return f"{arguments[place]} {below}".rstrip()


@contextmanager
def quiet_when_nobody_reads() -> Iterator[None]:
    """End without a word when the reader of stdout has gone, as after ``| head``."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        raise SystemExit(failures.NOBODY_READS) from None


def named_file(message: str, arguments: Sequence[str]) -> str | None:
    """Return the argument whose file a message begins with."""
    names = ((PurePath(word).name, word) for word in arguments)
    return next((word for name, word in names if name and message.startswith(f"{name}: ")), None)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"mrcli {importlib.metadata.version(DISTRIBUTION)}")
        raise typer.Exit


app = typer.Typer(
    cls=CommandLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: mrcli demo",
)


@app.callback()
def describe(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Check, reconstruct and score undersampled cardiac MRI k-space."""
    del version


for _command in VERBS:
    app.command(_command.__name__)(_command)
app.add_typer(adapters, name="adapters")


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    del signal_number, frame
    raise failures.Terminated


def main() -> NoReturn:
    """Run the command line of this process; a termination cleans up like any other failure."""
    open_missing_streams()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    keep_freed_memory()
    app()
    sys.exit(0)
