"""Bad files through the command line: one error line each, the right code, the others done."""

import json
import os
import stat

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from mrcli.cli.app import app
from mrcli.io.cmrxrecon_files import write_kspace_mat
from phantoms import lines, small_study

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb") + bytes(2000)


@pytest.fixture(scope="module")
def kspace():
    return (small_study(n_frames=2, n_coils=4)[1] * lines(48, 2, 16)).numpy()


@pytest.fixture
def folder(tmp_path, kspace):
    root = tmp_path / "study"
    root.mkdir()
    write_kspace_mat(root / "good.mat", "kus", kspace)
    return root


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def plant_nan(path, kspace):
    bad = kspace.copy()
    bad[1, 0, 2, 30, 7] = np.nan
    write_kspace_mat(path.with_suffix(".mat"), "kus", bad)


def plant_zeros(path, kspace):
    write_kspace_mat(path.with_suffix(".mat"), "kus", 0 * kspace)


def plant_wrong_name(path, kspace):
    write_kspace_mat(path.with_suffix(".mat"), "signal", kspace)


def plant_real_numbers(path, kspace):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["kspace"] = np.abs(kspace)


def plant_jpeg(path, kspace):
    del kspace
    path.with_suffix(".h5").write_bytes(JPEG)


def plant_nothing(path, kspace):
    del kspace
    path.with_suffix(".mat").write_bytes(b"")


PLANTS = [plant_nan, plant_zeros, plant_wrong_name, plant_real_numbers, plant_jpeg, plant_nothing]


@pytest.mark.parametrize("plant", PLANTS)
def test_one_bad_file_of_two_is_one_error_line_and_code_8(folder, tmp_path, kspace, plant):
    plant(folder / "bad", kspace)
    result = run("recon", folder, "-o", tmp_path / "out", "-q")
    assert result.exit_code == 8, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "bad" in errors[0]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [".mrcli.lock", "good.json", "good.nii.gz", "manifest.jsonl"]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("verb", ["inspect", "recon"])
def test_a_bad_file_alone_ends_with_code_4(tmp_path, kspace, plant, verb):
    plant(tmp_path / "bad", kspace)
    (bad,) = tmp_path.iterdir()
    output = ["-o", tmp_path / "out"] if verb == "recon" else []
    result = run(verb, bad, *output, "--json")
    assert result.exit_code == 4
    document = json.loads(result.stdout)
    assert (document["ok"], document["exit_code"]) == (False, 4)
    assert document["scans"][0]["error"]["message"]


def test_a_file_cut_off_anywhere_is_refused_and_never_an_image(folder, tmp_path):
    whole = (folder / "good.mat").read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole) - 1, 50)
    (folder / "good.mat").unlink()
    for number, place in enumerate(places):
        (folder / f"cut{number:02d}.mat").write_bytes(whole[:place])
    result = run("recon", folder, "-o", tmp_path / "out", "--json", "-q")
    assert result.exit_code == 4
    scans = json.loads(result.stdout)["scans"]
    assert [scan["status"] for scan in scans] == ["failed"] * 50
    assert {scan["error"]["code"] for scan in scans} <= {"DataError", "UnknownFormat"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".mrcli.lock"]


@pytest.mark.parametrize("verb", ["inspect", "recon"])
def test_an_empty_folder_and_a_missing_path_are_no_usable_input(tmp_path, verb):
    (tmp_path / "empty").mkdir()
    output = ["-o", tmp_path / "out"] if verb == "recon" else []
    for path in ("empty", "missing.mat"):
        result = run(verb, tmp_path / path, *output)
        assert result.exit_code == 3
        assert result.stderr.startswith("error: ")
        assert len(result.stderr.splitlines()) <= 2


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file"
)
def test_an_unreadable_file_is_listed_and_the_others_are_done(folder, tmp_path):
    (folder / "locked.mat").write_bytes((folder / "good.mat").read_bytes())
    (folder / "locked.mat").chmod(0)
    result = run("recon", folder, "-o", tmp_path / "out", "-q")
    (folder / "locked.mat").chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert result.exit_code == 8
    assert "locked.mat" in result.stderr


def test_a_link_that_leads_nowhere_is_listed_and_the_others_are_done(folder, tmp_path):
    (folder / "gone.mat").symlink_to(tmp_path / "nowhere.mat")
    result = run("recon", folder, "-o", tmp_path / "out", "-q")
    assert result.exit_code == 8
    assert "gone.mat" in result.stderr
