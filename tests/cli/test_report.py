"""`mrcli report` from outside: exit codes, one JSON document, a table for 80 columns."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mrcli.cli.app import app
from mrcli.cli.report import METRIC_SETS, show_report
from mrcli.image import ReconVolume
from mrcli.io.nifti import write_nifti
from mrcli.tasks.report import METRIC_SET_NAMES, report_folder


@pytest.fixture
def folders(tmp_path):
    """Three scans of long names, with references."""
    y, x = np.indices((33, 48))
    disc = (np.hypot(y - 16, x - 24) < 9) * 2.0 + 0.02 * (x + y)
    for seed in range(3):
        name = f"Center001/UIH_30T_umr780/P00{seed}/cine_sax_kus_Uniform8.nii.gz"
        noise = 0.1 * np.random.default_rng(seed).standard_normal((2, 2, 33, 48))
        save(tmp_path / "images" / name, np.abs(disc + noise))
        save(tmp_path / "truth" / name, np.broadcast_to(disc, noise.shape))
    return tmp_path / "images", tmp_path / "truth"


def save(path, volume):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, ReconVolume(np.array(volume, np.float32)), overwrite=True)


def run(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_json_document_is_all_that_stdout_holds(folders):
    images, truth = folders
    ended = run(images, "--reference", truth, "--metrics", "clean,fastmri", "--json")
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["ok"], document["command"]) == (0, True, "report")
    assert len(document["rows"]) == 6
    assert {row["metric_set"] for row in document["rows"]} == {"clean", "fastmri"}


def test_every_number_stands_under_the_name_of_its_set_and_passports_go_to_stderr(folders):
    images, truth = folders
    ended = run(images, "--reference", truth)
    assert ended.exit_code == 0
    assert "clean: scans" in ended.stdout
    assert "cmrxrecon2025: scans" in ended.stdout
    assert "data range" not in ended.stdout
    assert "clean: mean over all frames" in ended.stderr
    assert not run(images, "--reference", truth, "--quiet").stderr


def test_tables_fit_80_columns(folders):
    images, truth = folders
    result = report_folder(images, reference=truth, metrics=METRIC_SETS, compare=images)
    console = Console(file=io.StringIO(), width=80, highlight=False)
    show_report(result, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    row = result.scored.rows[0]
    assert any(f"{row.value('psnr_db'):.2f}" in line for line in lines)
    assert any("PSNR dB" in line and "worst frame" in line for line in lines)
    assert not any("…" in line for line in lines)


def test_a_limit_ends_with_9_and_names_the_offender(folders):
    images, truth = folders
    ended = run(images, "--reference", truth, "--fail-below", "clean.psnr=99,ssim=0.1")
    assert ended.exit_code == 9
    assert "violates 99: Center001/UIH_30T_umr780/P000" in ended.stdout
    document = json.loads(
        run(images, "--reference", truth, "--fail-below", "psnr=99", "--json").stdout
    )
    assert (document["ok"], document["exit_code"]) == (False, 9)
    assert document["error"]["code"] == "QualityError"
    assert len(document["offenders"]) == 6


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["--metrics", "cleen"], 2, "is not a metric set"),
        (["--fail-below", "psnr"], 2, "cannot be understood"),
        (["--reference", "absent"], 3, "absent: no such file or folder"),
        (["--csv", "scan.mat"], 5, "not the name of a table"),
    ],
)
def test_failures_are_one_error_line(folders, arguments, exit_code, says):
    images, truth = folders
    ended = run(images, "--reference", truth, *arguments)
    assert ended.exit_code == exit_code
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]


def test_without_a_reference_the_hint_says_what_to_name(folders):
    ended = run(folders[0])
    assert ended.exit_code == 3
    assert "error: no reference is named" in ended.stderr


def test_the_names_of_sets_are_those_of_the_library():
    assert METRIC_SETS == METRIC_SET_NAMES


def test_the_csv_goes_where_it_is_asked_for(folders, tmp_path):
    images, truth = folders
    assert run(images, "--reference", truth, "--csv", tmp_path / "q.csv").exit_code == 0
    assert len((tmp_path / "q.csv").read_text().splitlines()) == 7
