"""The demo runs the whole line; here on a heart of few pixels."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mrcli.errors import OutputError
from mrcli.simulate.recipes import Reduction
from mrcli.tasks import demo
from mrcli.tasks.demo_study import PATTERNS, SPEC, DemoFolders
from mrcli.tasks.recon import recon_paths
from mrcli.tasks.recon_result import ReconSettings
from mrcli.tasks.report import report_folder
from networks import installed, write_model


def run_small(out):
    small = replace(SPEC, reduction=Reduction(matrix=0.3, max_frames=4, max_slices=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "SPEC", small)
        return demo.run_demo(out, device="cpu")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    models = tmp_path_factory.mktemp("models")
    write_model(models / "small")
    with installed(models):
        return out, run_small(out)


def test_it_ends_well_and_every_file_that_it_names_is_there(result):
    out, demo_result = result
    assert demo_result.exit_code == 0
    words = " ".join(demo_result.lines).replace(",", " ").split()
    named = [word for word in words if word.startswith(str(out))]
    assert len(named) >= 7
    assert all((out / word).exists() for word in named)


def test_it_reports_every_method_on_every_scan(result):
    out, demo_result = result
    with (out / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * len(PATTERNS)
    facts = json.loads((out / "report.json").read_text())
    assert len(facts["clean"]["rows"]) == len(rows)
    assert {row["psnr_db"] is not None for row in demo_result.document()["clean"]["rows"]} == {True}


def test_its_screen_fits_80_columns_apart_from_paths(result):
    out, demo_result = result
    assert all(len(line.replace(str(out), "mrcli-demo")) <= 80 for line in demo_result.lines)


def test_sense_and_cs_rank_as_they_should(result):
    _, demo_result = result
    psnr = {
        (row["pattern"], row["method"]): row["psnr_db"]
        for row in demo_result.document()["clean"]["rows"]
    }
    for pattern in ("Uniform", "ktGaussian"):
        assert psnr[pattern, "cs"] > psnr[pattern, "sense"] > psnr[pattern, "zero-filled"] - 0.5


def test_the_network_is_shown_beside_the_classical_methods(result):
    out, demo_result = result
    text = "\n".join(demo_result.lines)
    assert "images of both, 4 ways" in text
    assert "network: asked for; " in text
    for name in ("zero-filled", "sense", "cs", "network"):
        (line,) = (one for one in demo_result.lines if one.startswith(f"   Uniform {name} "))
        rows = demo_result.document()["clean"]["rows"]
        (row,) = (row for row in rows if (row["pattern"], row["method"]) == ("Uniform", name))
        assert f"{row['psnr_db']:.1f}  {row['ssim']:.3f}" in line
    assert DemoFolders(out).image("network", "ktGaussian8").is_file()


def test_without_a_model_the_demo_goes_on_and_says_why(tmp_path):
    with installed(tmp_path / "models"):
        found = run_small(tmp_path / "demo")
    assert found.exit_code == 0
    assert "   network      left out: no model is installed" in found.lines
    assert "3. recon made images of both, 3 ways:" in found.lines
    assert sorted(path.name for path in (tmp_path / "demo" / "images").iterdir()) == [
        "cs",
        "sense",
        "zero-filled",
    ]


def test_truth_and_images_share_their_grid(result):
    out, _ = result
    folders = DemoFolders(out)
    assert folders.truth_image.is_file()
    assert folders.image("cs", "Uniform8").is_file()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "report.csv").write_text("mine")
    with pytest.raises(OutputError, match="not from a demo"):
        demo.run_demo(tmp_path, device="cpu")
    assert (tmp_path / "report.csv").read_text() == "mine"


def test_the_tree_of_the_inputs_serves_as_reference(result):
    """Undersampled scans find their full sampling there; the full scans find themselves."""
    out, _ = result
    images = out / "all"
    recon_paths(
        [out / "study"], images, ReconSettings(method="zero-filled", device="cpu", command=())
    )
    report = report_folder(images, reference=out / "study", metrics=("clean",))
    assert report.exit_code == 0
    by_name = {Path(row.path).name: row for row in report.scored.rows}
    assert len(by_name) == 3
    assert 15 < by_name["cine_sax_kus_Uniform8.nii.gz"].scores.volume.psnr_db < 40
    found = [finding.code for finding in by_name["cine_sax.nii.gz"].findings]
    assert found == ["reference-is-input"]


def test_the_undersampled_tree_alone_finds_full_samples_anywhere_below_the_reference(result):
    out, _ = result
    report = report_folder(
        out / "images" / "sense", reference=out / "study", metrics=("cmrxrecon2025",)
    )
    assert report.exit_code == 0
    assert len(report.scored.rows) == 2
