"""With ``--json`` stdout is one document that keeps its promise, whatever happens."""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from mrcli.cli import render
from mrcli.cli.app import CommandLine, app
from mrcli.errors import DataError
from mrcli.schemas import SCHEMAS, violations


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    body: dict

    def document(self):
        return self.body


def run(act_on, *options):
    group = typer.Typer(cls=CommandLine, pretty_exceptions_enable=False)

    @group.callback()
    def describe():
        pass

    @group.command()
    def act(as_json: bool = typer.Option(False, "--json")):
        act_on(as_json)

    return CliRunner().invoke(group, ["act", *options])


def present(outcome):
    def show(result, console):
        console.print(f"code {result.exit_code}")

    return lambda as_json: render.present("act", outcome, show, as_json=as_json)


def fail(_):
    raise DataError("broken", hint="mend it")


def test_a_result_is_one_document_with_its_exit_code():
    result = run(present(Outcome(0, {"path": Path("a"), "peak": 1.5})), "--json")
    document = json.loads(result.stdout)
    head = {"schema_version": 1, "command": "act", "ok": True, "exit_code": 0}
    assert document == head | {"path": "a", "peak": 1.5}
    assert result.exit_code == 0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_error_of_each_scan_is_said_on_stderr_with_its_name(options):
    named = {"code": "DataError", "message": "a.mat: broken", "file": None, "hint": "mend it"}
    nameless = {"code": "DataError", "message": "cut off", "file": None, "hint": None}
    scans = [
        {"path": "x/a.mat", "error": named},
        {"path": "x/b.mat", "error": nameless},
        {"path": "x/c.mat", "error": None},
        {"path": "x/d.mat"},
    ]
    result = run(present(Outcome(8, {"scans": scans})), *options)
    assert result.stderr.splitlines() == [
        "error: x/a.mat: broken",
        "hint: mend it",
        "error: x/b.mat: cut off",
    ]


def test_the_single_reason_is_the_error_of_the_document_and_several_are_summed_up():
    error = {"code": "DataError", "message": "cut off", "file": "x/b.mat", "hint": None}
    scans = [{"path": "x/b.mat", "error": error}, {"path": "x/c.mat", "error": None}]
    document = json.loads(run(present(Outcome(8, {"scans": scans})), "--json").stdout)
    assert document["error"] == error | {"message": "x/b.mat: cut off"}
    scans = [{"path": "x/b.mat", "error": error}, {"path": "x/c.mat", "error": error}]
    document = json.loads(run(present(Outcome(8, {"scans": scans})), "--json").stdout)
    assert document["error"]["code"] == "PartialFailure"


def test_a_code_without_a_listed_reason_has_an_error_line_all_the_same():
    result = run(present(Outcome(6, {})))
    assert result.exit_code == 6
    assert result.stderr.startswith("error: the device or the memory does not suffice\n")


def test_without_json_the_result_is_rendered():
    result = run(present(Outcome(9, {})))
    assert result.stdout == "code 9\n"
    assert result.exit_code == 9


def test_a_result_that_is_a_failure_says_so_in_general():
    document = json.loads(run(present(Outcome(8, {"scans": []})), "--json").stdout)
    assert document["error"]["code"] == "PartialFailure"
    assert document["scans"] == []
    assert violations(document) == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_null_at_any_depth(value):
    result = run(present(Outcome(0, {"a": [{"b": (value, 1.0)}]})), "--json")
    assert json.loads(result.stdout)["a"] == [{"b": [None, 1.0]}]


def test_a_failure_is_one_document_and_two_lines():
    result = run(fail, "--json")
    document = json.loads(result.stdout)
    assert document["error"] == {
        "code": "DataError",
        "message": "broken",
        "file": None,
        "hint": "mend it",
    }
    assert (document["ok"], document["exit_code"], result.exit_code) == (False, 4, 4)
    assert violations(document) == ()
    assert result.stderr == "error: broken\nhint: mend it\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["doctor", "--json", "--bogus"],
        ["recon", "--json"],
        ["bogus", "--json"],
        ["doctor", "--json", "--device", "tpu"],
        ["doctor", "--json", "--config", "absent.toml"],
    ],
)
def test_a_usage_error_is_one_document_too(arguments):
    result = CliRunner().invoke(app, arguments)
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert document["exit_code"] == result.exit_code == 2
    assert document["command"] in {"mrcli", arguments[0]}


def test_a_file_called_json_asks_for_no_document():
    result = CliRunner().invoke(app, ["doctor", "--", "--json"])
    assert result.stdout == ""
    assert result.exit_code == 2


def test_no_colour_reaches_a_document_or_a_pipe(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = run(present(Outcome(0, {"a": "[red]b[/red]"})), "--json")
    assert json.loads(result.stdout)["a"] == "[red]b[/red]"
    assert "\x1b" not in result.stdout


def test_markup_in_a_name_is_not_obeyed(capsys):
    Console(width=80).print(render.cell("[red]a[/red]\x1b"))
    assert capsys.readouterr().out == "[red]a[/red]\\x1b\n"


def test_one_line_per_scan_where_there_is_no_terminal(capsys):
    with render.progress() as on_progress:
        for done in (1, 2):
            on_progress(0, 3, "a/b.mat", done, 2)
    assert capsys.readouterr().err == "scan 1 of 3: a/b.mat, slices 2 of 2\n"


def test_a_long_name_is_cut_at_its_folders():
    name = "Center001/UIH_30T_umr780/P001/cine_sax_kus_ktGaussian8.mat"
    assert render.end_of_name(name, len(name)) == name
    assert render.end_of_name(name, 45) == "…/P001/cine_sax_kus_ktGaussian8.mat"
    assert render.end_of_name(name, 32) == "…/cine_sax_kus_ktGaussian8.mat"
    assert render.end_of_name(name, 12) == "…ussian8.mat"


def test_the_progress_fits_80_columns_and_hides_until_it_knows_how_much():
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    bar = render._bar()
    bar.live.console = console
    on_progress = render._advance(bar)
    assert not bar.tasks[0].visible
    on_progress(99, 120, "Center001/UIH_30T_umr780/P001/cine_sax_kus_ktGaussian8.mat", 8, 12)
    console.print(bar.get_renderable())
    text = Text.from_ansi(console.file.getvalue()).plain.rstrip()
    assert "[100/120] …" in text
    assert "Gaussian8.mat " in text
    assert "slice 8/12" in text
    assert "━" in text
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_is_said_when_quiet(capsys):
    with render.progress(is_quiet=True) as on_progress:
        on_progress(0, 1, "a", 1, 1)
    render.note("a", is_quiet=True)
    assert capsys.readouterr() == ("", "")


def test_every_verb_has_a_schema():
    assert {command.name for command in app.registered_commands} <= SCHEMAS.keys()


@pytest.fixture
def study(tmp_path):
    random = np.random.default_rng(0)
    kspace = random.standard_normal((3, 16, 12)) + 1j * random.standard_normal((3, 16, 12))
    (tmp_path / "study").mkdir()
    np.save(tmp_path / "study" / "good.npy", kspace.astype(np.complex64))
    (tmp_path / "study" / "torn.npy").write_bytes(b"\x93NUMPY\x01\x00")
    return tmp_path / "study"


@pytest.mark.parametrize("verb", ["inspect", "recon"])
def test_a_real_document_with_a_bad_file_keeps_its_promise(study, tmp_path, verb):
    options = ["-o", str(tmp_path / "out"), "--method", "zero-filled"] if verb == "recon" else []
    result = CliRunner().invoke(app, [verb, str(study), *options, "--json", "--quiet"])
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert document["exit_code"] == result.exit_code == 8
    assert len(document["scans"]) == 2
    assert document["error"]["file"].endswith("torn.npy")
    assert result.stderr.count("error: ") == 1
    assert "torn.npy" in result.stderr


def test_a_document_that_breaks_its_promise_is_told_apart():
    head = {"schema_version": 1, "command": "doctor", "ok": True, "exit_code": 0}
    check = {"name": "a", "status": "ok", "message": "b", "fix": None}
    assert violations(head | {"checks": [check]}) == ()
    assert violations(head) == ("document.checks: missing",)
    assert violations(head | {"checks": {}}) == ("document.checks: not a list",)
    assert violations(head | {"checks": [check | {"fix": 3}]})[0].startswith(
        "document.checks[0].fix"
    )
    assert violations(head | {"exit_code": True, "checks": []})[0].startswith("document.exit_code")
    assert violations(head | {"ok": False, "exit_code": 1}) == ("document.error: missing",)
