"""The demo runs the whole line; here on a heart of few pixels."""

import csv
import json

import pytest

from mrcli.simulate.phantom import PhantomSpec
from mrcli.tasks import demo
from mrcli.tasks.demo_study import DemoFolders, sampling_patterns


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    small = PhantomSpec(4, 1, 6, (64, 80), (4.6, 4.4, 8.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "SPEC", small)
        return out, demo.run_demo(out, device="cpu")


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
    patterns = sampling_patterns(PhantomSpec(4, 1, 6, (64, 80)))
    assert len(rows) == len(demo.METHODS) * len(patterns)
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


def test_truth_and_images_share_their_grid(result):
    out, _ = result
    folders = DemoFolders(out)
    assert folders.truth_image.is_file()
    assert folders.image("cs", "Uniform8").is_file()
