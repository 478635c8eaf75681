"""`mrcli report` from outside: exit codes, one JSON document, a table for 80 columns."""

import io
import json
import os
import re

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mrcli.cli.app import app
from mrcli.cli.report import METRIC_SETS, show_report
from mrcli.image import ReconVolume
from mrcli.io.nifti import write_nifti
from mrcli.schemas import violations
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
    assert violations(document) == ()
    del document["rows"][0]["worst_frame"]["frame"]
    assert violations(document) == ("document.rows[0].worst_frame.frame: missing",)


def test_every_number_stands_under_the_name_of_its_set_and_passports_go_to_stderr(folders):
    images, truth = folders
    ended = run(images, "--reference", truth)
    assert ended.exit_code == 0
    for name in ("clean", "cmrxrecon2025"):
        assert f"{name}: scan " in ended.stdout
        assert f"{name}: group " in ended.stdout
        assert f"{name}: mean over scans, half width" in ended.stderr
    assert "half width" not in ended.stdout
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
    assert "beyond a limit: 3" in ended.stdout
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    assert re.fullmatch(
        r"error: Center001/UIH_30T_umr780/P000/cine_sax_kus_Uniform8.nii.gz: "
        r"clean.psnr_db \d+\.\d+ is below 99",
        errors[0],
    )
    document = json.loads(
        run(images, "--reference", truth, "--fail-below", "psnr=99", "--json").stdout
    )
    assert (document["ok"], document["exit_code"]) == (False, 9)
    assert document["error"]["code"] == "QualityError"
    assert len(document["offenders"]) == 6
    assert violations(document) == ()


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


def test_a_scan_that_is_not_scored_is_an_error_line_and_the_error_of_the_document(folders):
    images, truth = folders
    name = "Center001/UIH_30T_umr780/P001/cine_sax_kus_Uniform8.nii.gz"
    (truth / name).unlink()
    ended = run(images, "--reference", truth, "--json")
    document = json.loads(ended.stdout)
    assert ended.exit_code == 8
    assert f"error: {name}: no reference below truth" in ended.stderr
    assert violations(document) == ()
    assert document["error"]["file"] == name


def test_counterparts_that_cannot_be_scored_are_errors_of_their_own(folders, tmp_path):
    images, truth = folders
    others = tmp_path / "others"
    for path in sorted(images.rglob("*.nii.gz")):
        copy = others / path.relative_to(images)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
    broken = sorted(others.rglob("*.nii.gz"))
    broken[0].write_bytes(b"no image")
    ended = run(images, "--reference", truth, "--compare", others)
    assert ended.exit_code == 8
    assert "without a counterpart" not in ended.stdout
    assert ended.stderr.count("error: ") == 1
    assert "others" in next(line for line in ended.stderr.splitlines() if "error: " in line)
    for path in broken[1:]:
        path.write_bytes(b"no image")
    ended = run(images, "--reference", truth, "--compare", others, "--json")
    assert ended.exit_code == 3
    assert ended.stderr.count("error: ") == 4
    assert "others: nothing was compared" in ended.stderr
    assert violations(json.loads(ended.stdout)) == ()


def test_a_scan_without_a_counterpart_is_listed(folders, tmp_path):
    images, truth = folders
    path = sorted(images.rglob("*.nii.gz"))[0]
    copy = tmp_path / "others" / path.relative_to(images)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(path.read_bytes())
    ended = run(images, "--reference", truth, "--compare", tmp_path / "others")
    assert ended.exit_code == 0
    assert ended.stdout.count("without a counterpart: ") == 2
    assert "these minus the others" in ended.stderr


def test_a_name_that_is_not_utf8_is_escaped_in_the_csv(folders, tmp_path):
    images, truth = folders
    for folder in folders:
        path = next(folder.rglob("*.nii.gz"))
        path.rename(folder / os.fsdecode(b"caf\xe9.nii.gz"))
    ended = run(images, "--reference", truth, "--csv", tmp_path / "q.csv")
    assert ended.exit_code in {0, 8}
    assert "caf\\udce9.nii.gz" in (tmp_path / "q.csv").read_text(encoding="utf-8")


def test_an_image_with_values_below_0_is_a_finding(tmp_path):
    volume = np.ones((1, 1, 16, 16))
    volume[0, 0, 3, 4] = -1
    for name, image in (("signed", volume), ("plain", np.abs(volume))):
        save(tmp_path / f"truth/{name}.nii.gz", np.abs(volume) + np.eye(16))
        save(tmp_path / f"images/{name}.nii.gz", np.abs(volume))
        axes_as_stored = np.float32(image.transpose(3, 2, 1, 0))
        nib.save(nib.Nifti1Image(axes_as_stored, np.eye(4)), tmp_path / f"images/{name}.nii.gz")
    ended = run(tmp_path / "images", "--reference", tmp_path / "truth", "--metrics", "clean")
    assert ended.exit_code == 0
    assert ended.stdout.count("warning: the image has values below 0") == 1
    assert "signed.nii.gz" in ended.stdout.partition("values below 0")[2]
