"""What `recon` leaves on the disk: all files of a scan or none, for every scan that can be done."""

import json

import nibabel as nib
import numpy as np
import pytest

from mrcli.errors import InputError, LockedError, OutputError, ResourceError
from mrcli.io import recon_files
from mrcli.io.cmrxrecon_files import write_kspace_mat, write_mask_mat
from mrcli.io.image_files import WRITERS
from mrcli.io.lock import output_lock
from mrcli.provenance import sha256_of
from mrcli.tasks.recon import recon_paths
from mrcli.tasks.recon_result import ReconSettings
from networks import installed
from phantoms import lines, relative_error, small_study

SENSE = ReconSettings(method="sense", device="cpu", command=("recon", "study"))


@pytest.fixture(autouse=True, scope="module")
def _no_model(tmp_path_factory):
    with installed(tmp_path_factory.mktemp("pretrained")):
        yield


@pytest.fixture(scope="module")
def study():
    return small_study(n_slices=2, n_coils=4)


@pytest.fixture
def folder(study, tmp_path):
    """Two good scans in different folders, and one that is cut off."""
    _, kspace = study
    root = tmp_path / "study"
    (root / "deep").mkdir(parents=True)
    np.save(root / "a.npy", (kspace * lines(48, 2, 16)).numpy())
    np.savez(root / "deep" / "b.npz", kspace=kspace.numpy(), voxel_size_mm=(1.5, 2.0, 8.0))
    (root / "cut.npy").write_bytes((root / "a.npy").read_bytes()[:5000])
    return root


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def by_path(result):
    return {scan.path: scan for scan in result.scans}


def test_a_bad_file_is_listed_and_the_others_are_done(folder, tmp_path):
    result = recon_paths([folder], tmp_path / "out", SENSE)
    scans = by_path(result)
    assert {path: scan.status for path, scan in scans.items()} == {
        "a.npy": "done",
        "cut.npy": "failed",
        "deep/b.npz": "done",
    }
    assert scans["cut.npy"].error.exit_code == 4
    assert result.exit_code == 8
    assert files(tmp_path / "out") == [
        ".mrcli.lock",
        "a.json",
        "a.nii.gz",
        "deep/b.json",
        "deep/b.nii.gz",
        "manifest.jsonl",
    ]


def test_the_image_is_that_of_the_truth_and_not_its_mirror(folder, study, tmp_path):
    truth, _ = study
    recon_paths([folder / "deep"], tmp_path, SENSE)
    stored = nib.load(tmp_path / "b.nii.gz")
    image = np.asarray(stored.dataobj).transpose(3, 2, 1, 0)  # (frame, slice, y, x)
    assert image.dtype == np.float32
    assert relative_error(image, truth) < 0.05
    for mirrored in (image[..., ::-1], image[..., ::-1, :], np.roll(image, 1, -1)):
        assert relative_error(mirrored, truth) > 0.1
    assert stored.header.get_zooms()[:3] == pytest.approx((1.5, 2.0, 8.0))
    assert (stored.header["sform_code"], stored.header["qform_code"]) == (0, 0)


def test_the_sidecar_tells_how_the_image_came_to_be(folder, tmp_path):
    settings = ReconSettings(center="North", protocol="Cine", command=("recon", "a.npy"))
    recon_paths([folder / "a.npy"], tmp_path, settings)
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["method"] == "sense"
    assert record["reason"] == "auto: sense, since no model is installed"
    assert (record["model"], record["adapter"], record["precision"]) == (None, None, "fp32")
    assert record["input"]["sha256"] == sha256_of(folder / "a.npy")
    assert record["sampling"]["pattern"] == "Uniform"
    assert record["sampling"]["is_inferred"]
    assert record["noise"]["sigma"] == pytest.approx(1 / 50, rel=0.3)
    assert 0 < record["consistency_residual"] < 1
    assert record["site"]["center"] == "North"
    assert record["protocol"] == "Cine"
    assert record["geometry_source"] == "unknown"
    assert {"mask-inferred"} <= {finding["code"] for finding in record["findings"]}


def test_finished_scans_are_skipped_and_changed_ones_are_not(folder, tmp_path):
    out = tmp_path / "out"
    recon_paths([folder / "a.npy"], out, SENSE)
    before = (out / "a.nii.gz").stat().st_mtime_ns
    assert recon_paths([folder / "a.npy"], out, SENSE).scans[0].status == "skipped"
    assert (out / "a.nii.gz").stat().st_mtime_ns == before
    (out / "a.nii.gz").write_bytes(b"torn")
    again = recon_paths([folder / "a.npy"], out, SENSE)
    assert again.scans[0].error.code == "OutputError"
    assert (out / "a.nii.gz").read_bytes() == b"torn"
    overwriting = ReconSettings(method="sense", device="cpu", overwrite=True, command=())
    assert recon_paths([folder / "a.npy"], out, overwriting).scans[0].status == "done"
    assert recon_paths([folder / "a.npy"], out, SENSE).scans[0].status == "skipped"


def test_other_options_are_another_result(folder, tmp_path):
    recon_paths([folder / "a.npy"], tmp_path, SENSE)
    other = ReconSettings(method="zero-filled", device="cpu", command=())
    (scan,) = recon_paths([folder / "a.npy"], tmp_path, other).scans
    assert scan.error.code == "OutputError"
    assert "exists already" in scan.error.message


def test_the_same_run_writes_the_same_image_bytes(folder, tmp_path):
    for name in ("one", "two"):
        recon_paths([folder / "a.npy"], tmp_path / name, ReconSettings(method="cs", command=()))
    one, two = ((tmp_path / name / "a.nii.gz").read_bytes() for name in ("one", "two"))
    assert one == two


def test_every_format_asked_for_is_written(folder, tmp_path):
    settings = ReconSettings(writers=tuple(w.name for w in WRITERS), command=())
    (scan,) = recon_paths([folder / "a.npy"], tmp_path, settings).scans
    assert list(scan.output) == [f"a{writer.suffix}" for writer in WRITERS] + ["a.json"]
    assert all((tmp_path / name).is_file() for name in scan.output)


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(folder, tmp_path):
    result = recon_paths([folder], tmp_path / "out", ReconSettings(dry_run=True, command=()))
    assert by_path(result)["a.npy"].status == "planned"
    assert by_path(result)["a.npy"].output == ("a.nii.gz", "a.json")
    assert by_path(result)["cut.npy"].status == "failed"
    assert not (tmp_path / "out").exists()


def test_shards_share_the_work_without_gap_or_overlap(folder, tmp_path):
    done = []
    for k in (1, 2):
        settings = ReconSettings(shard=(k, 2), dry_run=True, command=())
        done += [scan.path for scan in recon_paths([folder], tmp_path, settings).scans]
    assert sorted(done) == ["a.npy", "cut.npy", "deep/b.npz"]


def test_a_folder_that_another_run_owns_is_left_alone(folder, tmp_path):
    with output_lock(tmp_path / "out"), pytest.raises(LockedError):
        recon_paths([folder], tmp_path / "out", SENSE)


def test_no_scan_and_no_device_are_told_at_once(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no k-space"):
        recon_paths([tmp_path / "empty"], tmp_path / "out", SENSE)
    with pytest.raises(ResourceError, match="device cuda:99 is not there"):
        recon_paths([folder], tmp_path / "out", ReconSettings(device="cuda:99", command=()))


@pytest.mark.parametrize("failure", [OutputError("disk full"), KeyboardInterrupt()])
def test_when_the_sidecar_fails_the_image_goes_too(folder, tmp_path, monkeypatch, failure):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(recon_files, "write_text_atomically", fail)
    if isinstance(failure, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            recon_paths([folder / "a.npy"], tmp_path / "out", SENSE)
    else:
        (scan,) = recon_paths([folder / "a.npy"], tmp_path / "out", SENSE).scans
        assert scan.error.exit_code == 5
    assert files(tmp_path / "out") == [".mrcli.lock"]


@pytest.mark.parametrize("failure", [OutputError("disk full"), KeyboardInterrupt()])
def test_what_cannot_be_recorded_as_done_is_taken_away(folder, tmp_path, monkeypatch, failure):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr("mrcli.tasks.recon.append_entry", fail)
    if isinstance(failure, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            recon_paths([folder / "a.npy"], tmp_path / "out", SENSE)
    else:
        (scan,) = recon_paths([folder / "a.npy"], tmp_path / "out", SENSE).scans
        assert scan.error.exit_code == 5
    assert files(tmp_path / "out") == [".mrcli.lock"]


def test_a_run_killed_before_it_could_record_is_taken_up(folder, tmp_path):
    out = tmp_path / "out"
    recon_paths([folder / "a.npy"], out, SENSE)
    (out / "manifest.jsonl").unlink()
    (out / ".mrcli-stage-x").mkdir()
    assert recon_paths([folder / "a.npy"], out, SENSE).scans[0].status == "done"
    assert not (out / ".mrcli-stage-x").exists()
    (out / "manifest.jsonl").unlink()
    (out / "a.json").write_text("{}")
    assert recon_paths([folder / "a.npy"], out, SENSE).scans[0].error.exit_code == 5


def test_overwriting_that_fails_half_way_keeps_the_old_result(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    both = ReconSettings(writers=("nifti", "h5"), overwrite=True, device="cpu", command=())
    recon_paths([folder / "a.npy"], out, both)
    before = {name: sha256_of(out / name) for name in files(out)}

    def fail(*_, **__):
        raise OutputError("disk full")

    monkeypatch.setattr(recon_files, "write_text_atomically", fail)
    (scan,) = recon_paths([folder / "a.npy"], out, both).scans
    assert scan.error.exit_code == 5
    assert {name: sha256_of(out / name) for name in files(out)} == before


def test_a_changed_mask_beside_the_scan_is_another_input(study, tmp_path):
    _, kspace = study
    np.save(tmp_path / "full.npy", kspace.numpy())
    mask = tmp_path / "mask.npy"
    statuses = []
    for acceleration in (2, 2, 4):
        np.save(mask, lines(48, acceleration, 16).numpy()[0, 0, 0, :, 0])
        settings = ReconSettings(method="sense", device="cpu", mask_path=mask, command=())
        (scan,) = recon_paths([tmp_path / "full.npy"], tmp_path / "out", settings).scans
        statuses.append(scan.status)
    assert statuses == ["done", "skipped", "failed"]


def test_a_changed_mask_in_its_own_tree_is_another_input(study, tmp_path):
    kspace = study[1].numpy()
    root = tmp_path / "Cine" / "TrainingSet"
    place = "Center001/Siemens_30T_Prisma/P001"
    write_kspace_mat(root / "UnderSample_TaskR1" / place / "sax_kus_Uniform2.mat", "kus", kspace)
    statuses = []
    for acceleration in (2, 2, 4):
        mask = lines(48, acceleration, 16)[0, 0].expand(2, 48, 64).numpy()
        write_mask_mat(root / "Mask_TaskR1" / place / "sax_mask_Uniform2.mat", mask)
        (scan,) = recon_paths([root / "UnderSample_TaskR1"], tmp_path / "out", SENSE).scans
        statuses.append(scan.status)
    assert statuses == ["done", "skipped", "failed"]


def test_the_sidecar_states_the_noise_that_was_used(study, tmp_path):
    _, kspace = study
    generator = np.random.default_rng(0)
    noise = 0.3 * (generator.standard_normal((4, 500)) + 1j * generator.standard_normal((4, 500)))
    np.savez(tmp_path / "a.npz", kspace=kspace.numpy(), noise=noise.astype(np.complex64))
    recon_paths([tmp_path / "a.npz"], tmp_path / "out", SENSE)
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["noise"]["sigma"] == pytest.approx(0.3 * 2**0.5, rel=0.1)
    assert record["noise"]["source"] == "noise scan"
    assert record["noise"]["is_whitened"]


@pytest.mark.parametrize("failure", [MemoryError(), RuntimeError("can't allocate memory")])
def test_running_out_of_memory_is_one_failed_scan(folder, tmp_path, monkeypatch, failure):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr("mrcli.tasks.recon_scan.reconstruct", fail)
    (scan,) = recon_paths([folder / "a.npy"], tmp_path / "out", SENSE).scans
    assert scan.error.exit_code == 6


@pytest.mark.parametrize("content", ["nan", "zeros"])
def test_k_space_that_cannot_be_an_image_is_refused(study, tmp_path, content):
    _, kspace = study
    bad = kspace.clone() if content == "nan" else kspace * 0
    if content == "nan":
        bad[1, 0, 2, 3, 4] = float("nan")
    np.save(tmp_path / "bad.npy", bad.numpy())
    (scan,) = recon_paths([tmp_path / "bad.npy"], tmp_path / "out", SENSE).scans
    assert scan.error.exit_code == 4
    assert files(tmp_path / "out") == [".mrcli.lock"]


def test_two_scans_that_differ_in_their_suffix_keep_it(study, tmp_path):
    _, kspace = study
    np.save(tmp_path / "a.npy", kspace.numpy())
    np.savez(tmp_path / "a.npz", kspace=kspace.numpy())
    result = recon_paths([tmp_path], tmp_path / "out", ReconSettings(dry_run=True, command=()))
    assert [scan.output[0] for scan in result.scans] == ["a.npy.nii.gz", "a.npz.nii.gz"]


def test_scans_of_the_same_name_in_two_folders_stay_two(study, tmp_path):
    _, kspace = study
    for patient, scale in (("P001", 1), ("P002", 2)):
        (tmp_path / patient).mkdir()
        np.save(tmp_path / patient / "cine.npy", (scale * kspace).numpy())
    settings = ReconSettings(method="zero-filled", device="cpu", overwrite=True, command=())
    folders = [tmp_path / "P001", tmp_path / "P002"]
    result = recon_paths(folders, tmp_path / "out", settings)
    assert [scan.path for scan in result.scans] == ["P001/cine.npy", "P002/cine.npy"]
    peaks = [
        float(np.max(nib.load(tmp_path / "out" / p / "cine.nii.gz").dataobj))
        for p in ("P001", "P002")
    ]
    assert peaks[1] == pytest.approx(2 * peaks[0])


def test_two_scans_that_would_write_one_file_stop_the_run(study, tmp_path):
    _, kspace = study
    np.save(tmp_path / "a.npy", kspace.numpy())
    np.savez(tmp_path / "a.npz", kspace=kspace.numpy())
    np.savez(tmp_path / "a.npy.npz", kspace=kspace.numpy())
    with pytest.raises(InputError, match=r"would both be written as a\.npy"):
        recon_paths([tmp_path], tmp_path / "out", ReconSettings(dry_run=True, command=()))


def test_a_dry_run_knows_what_is_done_and_what_is_in_the_way(folder, tmp_path):
    recon_paths([folder / "a.npy"], tmp_path / "out", SENSE)
    dry = ReconSettings(method="sense", device="cpu", dry_run=True, command=())
    (scan,) = recon_paths([folder / "a.npy"], tmp_path / "out", dry).scans
    assert scan.status == "skipped"
    other = ReconSettings(method="cs", device="cpu", dry_run=True, command=())
    (scan,) = recon_paths([folder / "a.npy"], tmp_path / "out", other).scans
    assert scan.error.exit_code == 5


def test_no_folder_of_a_person_gets_into_any_output(study, tmp_path, monkeypatch):
    _, kspace = study
    folder = tmp_path / "CANARY_IN"
    folder.mkdir()
    np.save(folder / "scan.npy", kspace.numpy())
    out = tmp_path / "CANARY_OUT"
    monkeypatch.setattr("sys.argv", ["mrcli", "recon", str(folder), "-o", str(out)])
    recon_paths([folder], out, ReconSettings(device="cpu"))
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == 4
    assert not [path for path in written if b"CANARY" in path.read_bytes()]
