"""Reports on folders: what is scored against what, what is listed, and how it ends."""

import csv
import hashlib
import json

import numpy as np
import pytest
import torch

from mrcli.errors import DataError, InputError, OutputError
from mrcli.image import ReconVolume
from mrcli.io.nifti import write_nifti
from mrcli.metrics.cmrxrecon2025 import FrameChoice
from mrcli.metrics.sets import METRIC_SETS
from mrcli.physics.encoding import fft2c
from mrcli.report.rows import Conditions
from mrcli.scan import Scan, ScanHeader
from mrcli.tasks.reconstructions import find_reconstructions
from mrcli.tasks.references import fully_sampled, locate_reference, rss_image
from mrcli.tasks.report import report_folder
from mrcli.tasks.scoring import frames_to_score

ALL_SETS = tuple(METRIC_SETS)


def disc(n_frames=2, n_slices=2, matrix=(33, 48)):
    y, x = np.indices(matrix)
    inside = np.hypot(y - matrix[0] // 2, x - matrix[1] // 2) < 9
    frame = inside * 2.0 + 0.02 * (x + y)
    return np.broadcast_to(frame, (n_frames, n_slices, *matrix)).astype(np.float32)


def noisy(volume, seed=0, level=0.1):
    noise = np.random.default_rng(seed).standard_normal(volume.shape)
    return np.abs(volume + level * noise).astype(np.float32)


def save(path, volume, **sidecar):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, ReconVolume(volume), overwrite=True)
    if sidecar:
        (path.parent / path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))


SIDECAR = {
    "method": "sense",
    "protocol": "Cine",
    "site": {"center": "Center001", "scanner": "umr780", "vendor": "UIH", "field_strength_t": 3.0},
    "sampling": {"pattern": "uniform", "nominal_acceleration": 4, "true_acceleration": 3.1},
    "input": {"name": "a.mat", "sha256": "0" * 64},
}


@pytest.fixture
def folders(tmp_path):
    """Two scans with references, mirrored."""
    for seed, name in enumerate(("p1/a", "p2/b")):
        sidecar = SIDECAR | {"input": {"name": f"{name[-1]}.mat", "sha256": str(seed) * 64}}
        save(tmp_path / f"images/{name}.nii.gz", noisy(disc(), seed), **sidecar)
        save(tmp_path / f"truth/{name}.nii.gz", disc())
    return tmp_path / "images", tmp_path / "truth"


def test_every_scan_has_a_row_per_metric_set(folders):
    images, truth = folders
    result = report_folder(images, reference=truth, metrics=ALL_SETS)
    document = result.document()
    assert result.exit_code == 0
    assert [(row["path"], row["metric_set"]) for row in document["rows"]] == [
        (path, name) for path in ("p1/a.nii.gz", "p2/b.nii.gz") for name in ALL_SETS
    ]
    row = document["rows"][0]
    assert row["n_frames"] == 4
    assert row["site"]["scanner"] == "umr780"
    assert (row["method"], row["protocol"], row["pattern"]) == ("sense", "Cine", "uniform")
    assert (row["nominal_acceleration"], row["true_acceleration"]) == (4, 3.1)
    assert row["reference"] == "image a.nii.gz, for every metric set"
    assert document["metric_sets"]["clean"].startswith("clean: ")
    expected = METRIC_SETS["clean"].score(noisy(disc()), disc(), FrameChoice.FIRST_THREE)
    assert row["psnr_db"] == pytest.approx(expected.volume.psnr_db)
    assert row["worst_frame"]["frame"] == expected.worst.frame
    assert [group["n"] for group in document["summary"]] == [2, 2, 2]
    json.dumps(document, allow_nan=False)


def test_identical_images_have_a_psnr_of_null_and_a_finding(tmp_path):
    save(tmp_path / "images/a.nii.gz", disc())
    save(tmp_path / "truth.nii.gz", disc())
    result = report_folder(tmp_path / "images", reference=tmp_path / "truth.nii.gz")
    (row,) = result.document()["rows"]
    assert row["psnr_db"] is None
    assert row["ssim"] == pytest.approx(1)
    assert [finding["code"] for finding in row["findings"]] == ["identical-to-reference"]
    json.dumps(result.document(), allow_nan=False)


def test_a_scan_without_reference_is_listed_and_the_others_are_scored(folders):
    images, truth = folders
    (truth / "p2/b.nii.gz").unlink()
    result = report_folder(images, reference=truth)
    assert result.exit_code == 8
    assert [row.path for row in result.scored.rows] == ["p1/a.nii.gz"]
    (unscored,) = result.document()["unscored"]
    assert unscored["path"] == "p2/b.nii.gz"
    assert unscored["error"]["message"] == "p2/b.nii.gz: no reference below truth"


def test_no_reference_at_all_is_an_input_error(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="none of 2 reconstructions has a reference"):
        report_folder(folders[0], reference=tmp_path / "empty")
    with pytest.raises(InputError, match="no reference is named"):
        report_folder(folders[0], reference=None)


def test_a_folder_without_images_is_an_input_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="no reconstruction found"):
        report_folder(tmp_path, reference=tmp_path)


def test_a_broken_image_or_sidecar_does_not_stop_the_others(folders):
    images, truth = folders
    for name in ("c", "d"):
        save(images / f"{name}.nii.gz", noisy(disc()))
        save(truth / f"{name}.nii.gz", disc())
    (images / "c.nii.gz").write_bytes((images / "c.nii.gz").read_bytes()[:100])
    (images / "d.json").write_text("{")
    result = report_folder(images, reference=truth, metrics=ALL_SETS)
    assert result.exit_code == 8
    assert [one.path for one in result.scored.unscored] == ["c.nii.gz", "d.nii.gz"]
    assert len(result.scored.rows) == 6


def test_a_matrix_that_differs_is_listed_with_both_shapes(folders):
    images, truth = folders
    save(truth / "p2/b.nii.gz", disc(matrix=(33, 49)))
    (unscored,) = report_folder(images, reference=truth).scored.unscored
    assert "(2, 2, 33, 48)" in unscored.error.message
    assert "(2, 2, 33, 49)" in unscored.error.message


@pytest.mark.parametrize(
    "sidecar", [{"site": 3}, {"method": ["sense"]}, {"sampling": {"nominal_acceleration": "4"}}]
)
def test_a_sidecar_of_wrong_types_is_refused_with_its_key(tmp_path, sidecar):
    save(tmp_path / "a.nii.gz", disc(), **sidecar)
    (found,) = find_reconstructions(tmp_path)
    assert isinstance(found.broken, DataError)
    assert "the sidecar's" in found.broken.message


def test_one_reference_file_serves_several_reconstructions_of_one_scan_only(folders):
    images, truth = folders
    with pytest.raises(InputError, match="one reference for 2 scans"):
        report_folder(images, reference=truth / "p1/a.nii.gz")
    save(images / "p2/b.nii.gz", noisy(disc()), **(SIDECAR | {"input": {"sha256": "0" * 64}}))
    assert report_folder(images, reference=truth / "p1/a.nii.gz").exit_code == 0


def test_a_violated_limit_ends_with_9_and_lists_offenders(folders):
    images, truth = folders
    save(images / "p2/b.nii.gz", noisy(disc(), level=1.0))
    result = report_folder(images, reference=truth, fail_below=("clean.psnr=25", "nmse=0.9"))
    assert result.exit_code == 9
    assert [(one.path, one.metric) for one in result.offenders] == [("p2/b.nii.gz", "psnr_db")]
    assert [one.code for one in result.reasons] == ["QualityError"]
    assert result.reasons[0].message.startswith("p2/b.nii.gz: clean.psnr_db ")
    assert result.reasons[0].message.endswith(" is below 25")
    assert report_folder(images, reference=truth, fail_below=("psnr=1",)).exit_code == 0


def test_a_comparison_pairs_scans_and_lists_those_without_counterpart(folders, tmp_path):
    images, truth = folders
    save(tmp_path / "other/p1/a.nii.gz", noisy(disc(), level=0.2))
    result = report_folder(images, reference=truth, compare=tmp_path / "other")
    psnr_db = result.comparison[0]
    assert (psnr_db.metric, psnr_db.statistic.n) == ("psnr_db", 1)
    assert psnr_db.statistic.mean == pytest.approx(6, abs=0.5)  # half the noise
    assert result.unpaired == ("p2/b",)


def test_the_csv_is_written_and_nothing_but_a_csv_is_replaced(folders, tmp_path):
    images, truth = folders
    path = tmp_path / "quality.csv"
    report_folder(images, reference=truth, csv_path=path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["p1/a.nii.gz", "p2/b.nii.gz"]
    assert {row["metric_set"] for row in rows} == {"clean"}
    with pytest.raises(OutputError, match="not the name of a table"):
        report_folder(images, reference=truth, csv_path=truth / "p1/a.nii.gz")


def test_references_and_counterparts_inside_the_folder_are_not_scored(folders):
    images, truth = folders
    with pytest.raises(InputError, match="holds only references and what to compare with"):
        report_folder(images.parent, reference=truth, compare=images)
    save(images.parent / "p1/a.nii.gz", noisy(disc()))
    result = report_folder(images.parent, reference=truth, compare=images)
    assert [row.path for row in result.scored.rows] == ["p1/a.nii.gz"]
    assert result.comparison[0].statistic.mean == 0


def test_the_folder_of_a_method_may_lack_in_the_references(tmp_path):
    save(tmp_path / "images/sense/a.nii.gz", noisy(disc()), method="sense")
    save(tmp_path / "images/other/a.nii.gz", noisy(disc()), method="sense")
    save(tmp_path / "truth/a.nii.gz", disc())
    result = report_folder(tmp_path / "images", reference=tmp_path / "truth")
    assert [row.path for row in result.scored.rows] == ["sense/a.nii.gz"]
    assert [one.path for one in result.scored.unscored] == ["other/a.nii.gz"]


@pytest.mark.parametrize("reference_suffix", [".nii.gz", ".mat"])
def test_the_folder_convention_leads_from_undersampled_to_full(tmp_path, reference_suffix):
    tail = "Center001/UIH_30T_umr780/P001"
    save(tmp_path / f"out/UnderSample_TaskR1/{tail}/cine_sax_kus_Uniform8.nii.gz", disc())
    full = tmp_path / f"study/FullSample/{tail}/cine_sax{reference_suffix}"
    full.parent.mkdir(parents=True)
    full.touch()
    (found,) = find_reconstructions(tmp_path / "out")
    assert locate_reference(found, tmp_path / "study") == full


def test_several_references_of_one_stem_are_refused_unless_one_is_the_input(tmp_path):
    save(tmp_path / "images/a.nii.gz", disc())
    save(tmp_path / "truth/a.nii.gz", disc())
    (tmp_path / "truth/a.mat").touch()
    (found,) = find_reconstructions(tmp_path / "images")
    with pytest.raises(DataError, match=r"not one reference but a\.nii\.gz, a\.mat"):
        locate_reference(found, tmp_path / "truth")
    save(tmp_path / "images/a.nii.gz", disc(), **SIDECAR)
    (found,) = find_reconstructions(tmp_path / "images")
    assert locate_reference(found, tmp_path / "truth") == tmp_path / "truth/a.mat"


def coil_kspace(n_coils=3, matrix=(33, 48)):
    """Coils of weight 1, 2, 2 with different phases: their root-sum-of-squares is 3 discs."""
    weights = torch.tensor([1, 2j, -2])[:n_coils, None, None]
    image = torch.from_numpy(disc(2, 1, matrix)[:, 0].copy())[:, None]
    return fft2c(weights * image).to(torch.complex64)


def as_scan(kspace, tmp_path, **facts):
    header = ScanHeader(kspace.shape[0], 1, kspace.shape[1], tuple(kspace.shape[2:]), "complex64")
    return Scan(tmp_path / "a.npy", "npy", header, lambda _: kspace, **facts)


@pytest.mark.parametrize("factor", [1e-25, 1e-9, 1.0, 1e9])
@pytest.mark.parametrize("matrix", [(33, 48), (8, 7)])
def test_root_sum_of_squares_of_weighted_coils_is_their_norm_times_the_image(
    tmp_path, matrix, factor
):
    found = rss_image(as_scan(factor * coil_kspace(matrix=matrix), tmp_path))
    assert found.shape == (2, 1, *matrix)
    np.testing.assert_allclose(
        found / np.float32(factor), 3 * disc(2, 1, matrix), rtol=0, atol=1e-5
    )


def test_undersampled_kspace_is_no_reference(tmp_path):
    mask = (torch.arange(33) % 2 == 0)[None, None, None, :, None]
    scan = as_scan(coil_kspace(), tmp_path, mask=mask)
    with pytest.raises(DataError, match=r"51\.5 % of k-space was acquired"):
        fully_sampled(scan)
    full = fully_sampled(
        as_scan(coil_kspace(), tmp_path, mask=mask, load_reference_slice=lambda _: coil_kspace())
    )
    assert full.mask.all()


def test_fully_sampled_kspace_is_the_reference_of_its_own_reconstruction(tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    np.save(study / "a.npy", coil_kspace()[:, None].numpy())
    digest = hashlib.sha256((study / "a.npy").read_bytes()).hexdigest()
    sidecar = SIDECAR | {"input": {"name": "a.npy", "sha256": digest}}
    save(tmp_path / "images/a.nii.gz", 3 * noisy(disc(2, 1), level=0.01), **sidecar)
    result = report_folder(tmp_path / "images", reference=study, metrics=ALL_SETS)
    assert result.exit_code == 0
    words = [row.reference for row in result.scored.rows]
    assert "coil-combined" in words[0]
    assert "root-sum-of-squares" in words[1]
    assert all(word.endswith(": a.npy") for word in words)
    assert all(row.value("psnr_db") > 35 for row in result.scored.rows)
    assert not any(row.findings for row in result.scored.rows)


def test_a_reference_in_an_input_that_has_changed_is_a_finding(tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    np.save(study / "a.npy", coil_kspace()[:, None].numpy())
    sidecar = SIDECAR | {"input": {"name": "a.npy", "sha256": "0" * 64}}
    save(tmp_path / "images/a.nii.gz", 3 * noisy(disc(2, 1)), **sidecar)
    result = report_folder(tmp_path / "images", reference=study, metrics=("cmrxrecon2025",))
    assert [one.code for one in result.scored.rows[0].findings] == ["input-changed"]


def test_mapping_protocols_are_scored_in_all_frames_and_an_unknown_one_is_said(tmp_path):
    assert frames_to_score(Conditions(protocol="Mapping")) is FrameChoice.ALL
    assert frames_to_score(Conditions(protocol="T1rho")) is FrameChoice.ALL
    assert frames_to_score(Conditions(protocol="Cine")) is FrameChoice.FIRST_THREE
    save(tmp_path / "images/a.nii.gz", noisy(disc(5, 1)))
    save(tmp_path / "truth/a.nii.gz", disc(5, 1))
    folders = {"reference": tmp_path / "truth", "metrics": ("clean", "cmrxrecon2025")}
    clean, challenge = report_folder(tmp_path / "images", **folders).scored.rows
    assert clean.findings == ()
    assert [one.code for one in challenge.findings] == ["frames-assumed"]
    assert len(challenge.scores.frames) == 3
    save(tmp_path / "images/a.nii.gz", noisy(disc(5, 1)), protocol="Mapping")
    _, challenge = report_folder(tmp_path / "images", **folders).scored.rows
    assert (len(challenge.scores.frames), challenge.findings) == (5, ())


def test_a_set_that_cannot_score_a_scan_makes_the_report_partial(tmp_path):
    save(tmp_path / "images/a.nii.gz", noisy(disc(matrix=(12, 12))))
    save(tmp_path / "truth/a.nii.gz", disc(matrix=(12, 12)))
    metrics = ("clean", "cmrxrecon2025")
    result = report_folder(tmp_path / "images", reference=tmp_path / "truth", metrics=metrics)
    assert result.exit_code == 8
    assert [row.metric_set for row in result.scored.rows] == ["clean"]
    assert [one.metric_set for one in result.scored.unscored] == ["cmrxrecon2025"]
    alone = report_folder(tmp_path / "images", reference=tmp_path / "truth", metrics=metrics[1:])
    assert alone.exit_code == 4


def test_rows_stand_in_the_order_of_paths_whatever_reference_they_share(tmp_path):
    names = ["cs/a", "cs/b", "sense/a", "sense/b"]
    for name in names:
        save(tmp_path / f"images/{name}.nii.gz", noisy(disc()), method=name[:-2])
        save(tmp_path / f"truth/{name[-1]}.nii.gz", disc())
    result = report_folder(tmp_path / "images", reference=tmp_path / "truth")
    assert [row.scan for row in result.scored.rows] == names
