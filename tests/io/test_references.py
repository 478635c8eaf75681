"""The fully sampled partner of an undersampled scan, by folders alone."""

from pathlib import Path

import pytest

from mrcli.io.cmrxrecon_tree import protocol_of, site_of
from mrcli.io.references import find_reference
from mrcli.site import UNKNOWN_SITE, Site

TAIL = Path("Center005/Siemens_30T_Vida/P011")
SET = Path("MultiCoil/Cine/ValidationSet")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def scan(tmp_path):
    return touch(tmp_path / SET / "UnderSample_TaskR1" / TAIL / "cine_lax_3ch_kus_ktRadial16.mat")


def test_full_sample_of_the_same_set_goes_before_that_of_the_training_set(scan, tmp_path):
    assert find_reference(scan, None) is None
    training = touch(tmp_path / "MultiCoil/Cine/TrainingSet/FullSample" / TAIL / "cine_lax_3ch.mat")
    assert find_reference(scan, None) == training
    own = touch(tmp_path / SET / "FullSample" / TAIL / "cine_lax_3ch.mat")
    assert find_reference(scan, None) == own


@pytest.mark.parametrize(
    "parts", [TAIL, Path("FullSample") / TAIL, SET / "FullSample" / TAIL, "P011"]
)
def test_another_root_may_hold_any_part_of_the_tree(parts, scan, tmp_path):
    reference = touch(tmp_path / "elsewhere" / parts / "cine_lax_3ch.mat")
    assert find_reference(scan, tmp_path / "elsewhere") == reference


def test_the_view_alone_is_not_enough(scan, tmp_path):
    touch(tmp_path / "elsewhere/cine_lax_3ch.mat")
    assert find_reference(scan, tmp_path / "elsewhere") is None


def test_a_full_sample_has_no_reference(tmp_path):
    full = touch(tmp_path / SET / "FullSample" / TAIL / "cine_lax_3ch.mat")
    assert find_reference(full, None) is None


@pytest.mark.parametrize(
    ("folder", "site"),
    [
        ("Center005/Siemens_30T_Vida/P011", Site("Center005", "Vida", "Siemens", 3.0)),
        ("Center002/Siemens_30T_CIMA.X/P001", Site("Center002", "CIMA.X", "Siemens", 3.0)),
        ("Center001/UIH_15T_umr670/P001", Site("Center001", "umr670", "UIH", 1.5)),
        ("Center009/X_055T_Free.Max/P001", Site("Center009", "Free.Max", "X", 0.55)),
        ("Center1/Siemens_30T_Vida/P011", UNKNOWN_SITE),
        ("Center005/Siemens_Vida/P011", UNKNOWN_SITE),
        ("Center005/Siemens_30T_Vida/patient", UNKNOWN_SITE),
    ],
)
def test_site_is_what_three_folders_state_together(folder, site):
    assert site_of(Path(f"/data/{folder}/cine_sax.mat")) == site


@pytest.mark.parametrize(
    ("folders", "protocol"),
    [
        ("Cine/TrainingSet/FullSample", "Cine"),
        ("T1rho/TestSet/UnderSample_TaskS2", "T1rho"),
        ("Cine/TrainingSet/other", None),
        ("Cine/data/FullSample", None),
    ],
)
def test_protocol_is_the_folder_above_the_set(folders, protocol):
    assert protocol_of(Path(f"/data/{folders}/{TAIL}/cine_sax.mat")) == protocol
