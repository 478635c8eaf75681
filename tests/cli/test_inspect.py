"""The command as typed: what is printed, in 80 columns and in JSON, and how it ends."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mrcli.cli.app import app
from mrcli.cli.inspect import show_scans
from mrcli.schemas import violations
from mrcli.tasks.inspect import inspect_paths


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


@pytest.fixture
def scan(tmp_path):
    k_y, k_x = np.arange(40) - 20, np.arange(48) - 24
    echo = 1 / (1 + np.hypot(k_y[:, None], k_x)) ** 2
    noise = np.random.default_rng(0).standard_normal((2, 3, 40, 48, 2)) @ (1, 1j)
    path = tmp_path / "scan[bold].npy"
    np.save(path, (echo + 1e-4 * noise).astype(np.complex64))
    return path


def test_one_scan_is_a_block_of_facts_with_findings_and_remedies(scan):
    result = run(scan)
    assert result.exit_code == 0
    for text in ("scan[bold].npy", "1 frame, 2 slices, 3 coils, 40 x 48", "full R 1, true 1.00"):
        assert text in result.stdout
    assert "mask-inferred" in result.stdout
    assert "remedy: " in result.stdout


def test_many_scans_are_rows(scan):
    paths = [scan.with_name(f"{n}.npy") for n in range(4)]
    for path in paths:
        path.write_bytes(scan.read_bytes())
    paths[3].write_bytes(b"no scan")
    result = run(*paths)
    assert result.exit_code == 8
    rows = [line for line in result.stdout.splitlines() if "1x2x3x40x48" in line]
    assert [row.split()[0] for row in rows] == ["0.npy", "1.npy", "2.npy"]
    assert f"4 scans below {scan.parent}" in result.stdout
    assert "refused" in result.stdout
    assert "UnknownFormat" in result.stdout


def test_relative_and_absolute_paths_are_listed_together(scan, monkeypatch):
    monkeypatch.chdir(scan.parent)
    for n in range(3):
        scan.with_name(f"{n}.npy").write_bytes(scan.read_bytes())
    result = run(scan, "0.npy", "1.npy", "2.npy")
    assert result.exit_code == 0
    assert f"4 scans below {scan.parent}\n" in result.stdout
    assert "\nscan[bold].npy " in result.stdout
    assert "\n0.npy " in result.stdout


def test_blocks_and_rows_fit_into_80_columns(scan):
    for n_scans in (1, 5):
        console = Console(width=80, file=io.StringIO(), highlight=False)
        result = inspect_paths([scan])
        show_scans(type(result)(result.scans * n_scans), console)
        lines = console.file.getvalue().splitlines()
        assert max(len(line.rstrip()) for line in lines if str(scan.parent) not in line) <= 80


def test_an_empty_text_is_no_path():
    result = run("")
    assert result.exit_code == 2
    assert "an empty text is not a path" in result.stderr


def test_a_picture_that_cannot_be_written_leaves_the_scan_its_status(scan, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(scan, "--preview", tmp_path / "file", "--json")
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert (result.exit_code, document["scans"][0]["status"]) == (5, "ok")
    assert document["error"]["code"] == "OutputError"
    assert result.stderr.count("error: ") == 1


def test_json_is_one_document_of_the_promised_form(scan):
    result = run(scan, "--json")
    assert violations(json.loads(result.stdout)) == ()


def test_a_refused_scan_is_listed_in_the_json_of_a_failure(scan):
    scan.write_bytes(scan.read_bytes()[:200])
    result = run(scan, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"]) == (4, False)
    assert document["scans"][0]["status"] == "refused"
    own = document["scans"][0]["error"]
    assert document["error"] == own | {"message": document["error"]["message"]}
    assert document["error"]["message"].startswith(f"{scan}: ")
    assert document["error"]["file"] == str(scan)


def test_readers_are_listed_without_a_path():
    result = run("--readers")
    assert result.exit_code == 0
    assert "npy" in result.stdout
    assert "needs: " in result.stdout
    document = json.loads(run("--readers", "--json").stdout)
    assert document["readers"]
    assert violations(document) == ()


def test_nothing_to_inspect_is_a_usage_error():
    result = run()
    assert result.exit_code == 2
    assert "name at least one file" in result.stderr


def test_a_missing_path_is_no_input(tmp_path):
    result = run(tmp_path / "missing.npy", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["file"] == str(tmp_path / "missing.npy")
