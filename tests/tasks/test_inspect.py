"""What `inspect` says about files: one entry per scan, refusals included, in a promised form."""

import hashlib
import json

import numpy as np
import pytest

from mrcli.errors import InputError
from mrcli.schemas import SCHEMAS, violations
from mrcli.tasks.inspect import InspectSettings, ReadersResult, inspect_paths


def kspace(*shape, seed=0):
    """K-space whose energy is at the origin, with noise."""
    random = np.random.default_rng(seed)
    k_y, k_x = (np.arange(n) - n // 2 for n in shape[-2:])
    echo = 1 / (1 + np.hypot(k_y[:, None], k_x)) ** 2
    noise = random.standard_normal((*shape, 2)) @ (1, 1j)
    return (echo + 1e-4 * noise).astype(np.complex64)


@pytest.fixture
def study(tmp_path):
    """A folder with a good scan, a scan with a NaN, and a file that is cut off."""
    folder = tmp_path / "study"
    (folder / "deep").mkdir(parents=True)
    np.save(folder / "good.npy", kspace(2, 3, 4, 40, 48))
    bad = kspace(4, 40, 48)
    bad[1, 2, 3] = np.nan
    np.save(folder / "nan.npy", bad)
    whole = (folder / "good.npy").read_bytes()
    (folder / "deep" / "cut.npy").write_bytes(whole[: len(whole) // 2])
    return folder


def by_name(result):
    return {scan.path.name: scan for scan in result.scans}


def document_of(result):
    head = {"schema_version": 1, "command": "inspect", "ok": True, "exit_code": result.exit_code}
    return json.loads(json.dumps(head | result.document()))


def test_a_scan_is_described_in_the_promised_form(study):
    result = inspect_paths([study / "good.npy"])
    document = document_of(result)
    assert violations(document) == ()
    (scan,) = document["scans"]
    assert set(SCHEMAS["inspect"]["scans"][0]) <= set(scan)
    assert scan["status"] == "ok"
    assert (scan["n_frames"], scan["n_slices"], scan["n_coils"]) == (2, 3, 4)
    assert scan["matrix"] == [40, 48]
    assert scan["sampling"]["pattern"] == "full"
    assert scan["sampling"]["acs"] == {"y": [0, 40], "x": None}
    assert scan["sampling"]["is_inferred"]
    assert scan["noise_sigma"] == pytest.approx(np.sqrt(2) * 1e-4, rel=0.3)
    assert scan["sha256"] == hashlib.sha256((study / "good.npy").read_bytes()).hexdigest()
    assert result.exit_code == 0


def test_bad_files_are_refused_and_the_others_are_done(study):
    result = inspect_paths([study])
    scans = by_name(result)
    assert {name: scan.status for name, scan in scans.items()} == {
        "good.npy": "ok",
        "nan.npy": "refused",
        "cut.npy": "refused",
    }
    assert result.exit_code == 8
    assert violations(document_of(result)) == ()
    assert scans["nan.npy"].findings[0].code == "not-finite"
    assert scans["nan.npy"].error.hint
    assert scans["cut.npy"].examination is None


@pytest.mark.parametrize("name", ["nan.npy", "deep/cut.npy"])
def test_a_bad_file_alone_ends_with_code_4(study, name):
    assert inspect_paths([study / name]).exit_code == 4


def test_a_path_without_scans_is_no_input(tmp_path):
    with pytest.raises(InputError):
        inspect_paths([tmp_path])
    with pytest.raises(InputError):
        inspect_paths([tmp_path / "missing.npy"])


def test_warnings_make_the_status_but_not_the_exit_code(study):
    kept = kspace(2, 4, 40, 48)
    kept[:, 1] = 0
    np.save(study / "dead.npy", kept)
    result = inspect_paths([study / "dead.npy"])
    assert (result.scans[0].status, result.exit_code) == ("warning", 0)
    assert [finding.severity for finding in result.scans[0].findings] == ["warning", "info"]


def test_a_mask_that_is_given_is_used(study, tmp_path):
    lines = np.zeros(40, dtype=bool)
    lines[::4] = lines[14:26] = True
    np.save(tmp_path / "mask.npy", lines)
    settings = InspectSettings(mask_path=tmp_path / "mask.npy")
    (scan,) = inspect_paths([study / "good.npy"], settings).scans
    sampling = scan.document()["sampling"]
    assert (sampling["pattern"], sampling["nominal_acceleration"]) == ("Uniform", 4.0)
    assert sampling["acs"] == {"y": [14, 26], "x": None}
    assert (sampling["is_inferred"], sampling["mask_source"]) == (False, "given")


def test_previews_mirror_the_tree_and_bad_scans_have_none(study, tmp_path):
    inspect_paths([study], InspectSettings(preview_dir=tmp_path / "pictures"))
    written = sorted((tmp_path / "pictures").rglob("*"))
    assert [path.name for path in written] == ["good.npy.png"]
    assert written[0].read_bytes().startswith(b"\x89PNG")


def test_a_name_that_the_font_cannot_draw_is_escaped(study, tmp_path):
    odd = study / "心 $x_1$.npy"
    (study / "good.npy").rename(odd)
    result = inspect_paths([odd], InspectSettings(preview_dir=tmp_path / "pictures"))
    assert result.scans[0].status == "ok"
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_a_preview_that_cannot_be_written_is_no_fault_of_its_scan(study, tmp_path):
    (tmp_path / "file").write_text("")
    settings = InspectSettings(preview_dir=tmp_path / "file")
    result = inspect_paths([study / "good.npy"], settings)
    (scan,) = result.document()["scans"]
    assert (scan["status"], scan["error"], result.exit_code) == ("ok", None, 5)
    assert scan["preview_error"]["code"] == "OutputError"
    (reason,) = result.reasons
    assert "good.npy.png: cannot be written" in reason.message
    assert inspect_paths([study], settings).exit_code == 8


def test_progress_counts_scans_and_slices(study):
    told = []
    inspect_paths([study / "good.npy"], on_progress=lambda *state: told.append(state))
    assert told == [(0, 1, "good.npy", done, 3) for done in (1, 2, 3)]


def test_formats_are_listed_with_what_they_need():
    readers = ReadersResult().document()["readers"]
    assert {"npy", "cmrxrecon-mat"} <= {reader["name"] for reader in readers}
    assert all(reader["describes"] and reader["needs"] for reader in readers)
