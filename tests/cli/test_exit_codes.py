"""Every end of a command: its exit code, and one line on stderr."""

import errno
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mrcli.cli import failures
from mrcli.cli.adapters import adapters
from mrcli.cli.app import CommandLine, app
from mrcli.cli.failures import Terminated, report_failure, usage_report
from mrcli.cli.recon import IMAGE_FORMATS, parse_shard
from mrcli.errors import MrcliError
from mrcli.io.image_files import WRITERS


def kinds(error=MrcliError):
    return {error}.union(*(kinds(kind) for kind in error.__subclasses__()))


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


@pytest.fixture(autouse=True)
def _logs_of_bugs_go_with_the_test(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def command_that_raises(failure):
    group = typer.Typer(cls=CommandLine, pretty_exceptions_enable=False)

    @group.callback()
    def describe():
        pass

    @group.command()
    def act(as_json: bool = typer.Option(False, "--json")):
        del as_json
        raise failure

    return group


def run(failure, *options):
    return CliRunner().invoke(command_that_raises(failure), ["act", *options])


@pytest.mark.parametrize("kind", sorted(kinds(), key=lambda kind: kind.__name__))
def test_an_own_error_is_two_lines_and_its_own_code(kind):
    result = run(kind("mask has 3 lines, needed 4", hint="name\nanother"))
    assert result.exit_code == kind.exit_code
    assert result.stderr == "error: mask has 3 lines, needed 4\nhint: name another\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (MemoryError(), 6, "memory on this machine"),
        (OutOfMemoryError("CUDA"), 6, "memory on the GPU"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate"), 6, "this machine"),
        (OSError(errno.ENOSPC, "x", "image.nii"), 5, "image.nii: cannot be written: no space"),
        (OSError(errno.EROFS, "x"), 5, "cannot be written: read-only"),
        (PermissionError(errno.EACCES, "x", "out"), 5, "out: cannot be written: permission"),
        (RuntimeError("surprise"), 1, "internal error (RuntimeError)"),
        (OSError(errno.EIO, "x"), 1, "internal error (OSError)"),
    ],
)
def test_every_other_failure_has_its_code_and_line(failure, code, text):
    result = run(failure)
    assert result.exit_code == code
    assert text in result.stderr.splitlines()[0]
    assert "Traceback" not in result.output


def test_a_bug_is_told_without_its_values_and_logged_without_locals(tmp_path):
    def stumble(patient):
        raise RuntimeError(len(patient))

    try:
        stumble("".join(("Doe", "^", "Jane")))
    except RuntimeError as error:
        report = report_failure(error)
    (log,) = tmp_path.iterdir()
    assert report.exit_code == 1
    assert str(log) in report.message
    assert "in stumble" in log.read_text()
    assert "Doe^Jane" not in log.read_text()


def test_a_bug_is_told_where_no_log_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert "no log could be written" in report_failure(ValueError()).message


def test_control_characters_of_a_file_name_do_not_act():
    result = run(MrcliError("a\x1b[31m\nb\udcff.mat: broken"))
    assert result.stderr == "error: a\\x1b[31m b\\udcff.mat: broken\n"


@pytest.mark.parametrize("arguments", [["bogus"], ["doctor", "--bogus"], ["--bogus"], ["recon"]])
def test_a_usage_error_is_2_and_names_the_help(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    error, hint = result.stderr.splitlines()
    assert re.match(r"error: [a-z].*[^.]$", error)
    assert re.match(r"hint: see mrcli( \w+)? --help$", hint)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/", "/2", "a/2", "-1/2", "1/2/3"])
def test_a_share_of_the_work_is_k_of_n(shard):
    result = CliRunner().invoke(app, ["recon", "a", "-o", "b", f"--shard={shard}"])
    assert result.exit_code == 2
    assert "is not a share K/N" in result.stderr


def test_shares_count_from_1():
    assert [parse_shard(f"{k}/2") for k in (1, 2)] == [(1, 2), (2, 2)]


def test_an_unknown_image_format_names_the_known_ones():
    result = CliRunner().invoke(app, ["recon", "a", "-o", "b", "--to", "nifti,tiff"])
    assert result.exit_code == 2
    assert "'tiff' is not an image format: nifti, h5" in result.stderr


def test_the_formats_offered_are_those_that_can_be_written():
    assert [writer.name for writer in WRITERS] == list(IMAGE_FORMATS)


def test_a_usage_error_without_a_context_names_the_program():
    assert usage_report(typer.BadParameter("No")).hint == "see mrcli --help"


def test_no_argument_shows_the_help():
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Usage: mrcli" in result.output
    assert "error:" not in result.output


def test_a_misspelt_verb_names_the_nearest():
    assert "'doctor'" in CliRunner().invoke(app, ["docter"]).stderr


def test_the_codes_are_those_of_the_contract():
    codes = {kind.__name__: kind.exit_code for kind in MrcliError.__subclasses__()}
    promised = {
        "InputError": 3,
        "DataError": 4,
        "OutputError": 5,
        "ResourceError": 6,
        "ModelError": 7,
        "PartialFailure": 8,
        "QualityError": 9,
        "LockedError": 10,
    }
    assert promised.items() <= codes.items()
    named = (failures.BUG, failures.USAGE, failures.INTERRUPTED, failures.TERMINATED)
    assert named == (1, 2, 130, 143)


@pytest.mark.parametrize("options", [["--help"], ["--version"], ["bogus", "--json"]])
def test_a_reader_that_goes_away_is_told_nothing(options):
    script = "from mrcli.cli.app import main; main()"
    arguments = [sys.executable, "-c", script, *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 141


SCRIPT = f"{sys.executable} -c 'from mrcli.cli.app import main; main()'"


def shell(line):
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--version >&-", 0),
        ("doctor --bogus --json >&-", 2),
        ("recon >&- 2>&-", 2),
        ("--version 2>&-", 0),
        ("recon <&- 2>&-", 2),
    ],
)
def test_a_closed_stream_is_no_failure(line, code):
    ended = shell(f"{SCRIPT} {line}")
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "error" not in ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "arguments",
    ["--help", "--version", "recon --help", "recon --json", "inspect --readers --json"],
)
def test_a_full_standard_output_is_one_error_line_and_5(arguments):
    ended = shell(f"{SCRIPT} {arguments} > /dev/full")
    assert ended.returncode == 5, ended.stderr
    assert ended.stderr.count("cannot be written: no space left on device\n") == 1
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_standard_error_changes_no_exit_code():
    assert shell(f"{SCRIPT} recon 2> /dev/full").returncode == 2


def test_an_interrupt_while_the_program_is_loaded_ends_with_130_and_one_line():
    script = (
        "import sys, builtins\n"
        "load = builtins.__import__\n"
        "def interrupt(name, *rest):\n"
        "    if name == 'typer':\n"
        "        raise KeyboardInterrupt\n"
        "    return load(name, *rest)\n"
        "from mrcli.cli.start import main\n"
        "builtins.__import__ = interrupt\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "error: interrupted\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["recon", "a", "-o", ""],
        ["recon", "", "-o", "b"],
        ["report", ""],
        ["report", "a", "--reference", ""],
        ["demo", "--output="],
        ["doctor", "--config", ""],
    ],
)
def test_an_empty_text_is_no_path(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "an empty text is not a path" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_while_writing_leaves_no_file(tmp_path, name, code):
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from mrcli.cli.app import app, main\n"
        "from mrcli.io.atomic import atomic_path\n"
        "@app.command()\n"
        "def write():\n"
        f"    with atomic_path(Path({str(tmp_path / 'image')!r}), overwrite=False) as temporary:\n"
        "        temporary.write_bytes(b'half')\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        signal.pause()\n"
        "main()\n"
    )
    arguments = [sys.executable, "-c", script, "write"]
    process = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=20)
    assert process.returncode == code
    assert process.stderr.startswith("error: ")
    assert len(process.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_module_runs_like_the_command():
    arguments = [sys.executable, "-m", "mrcli", "--version"]
    process = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"mrcli \d+\.\d+\.\d+\n", process.stdout)


def test_every_verb_is_there():
    names = [command.name for command in app.registered_commands]
    verbs = ["inspect", "recon", "adapt", "report", "simulate", "train", "bench", "demo", "doctor"]
    assert names == verbs
    assert [group.name for group in app.registered_groups] == ["adapters"]
    below = [command.name or command.callback.__name__ for command in adapters.registered_commands]
    registry = ["activate", "rollback", "export", "import", "diff", "average", "log"]
    assert below == ["list", "show", "verify", *registry]
