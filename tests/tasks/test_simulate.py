"""A simulated study on disk: whole scans or none, known truth, every container by its reader."""

import json
from dataclasses import replace

import h5py
import nibabel as nib
import numpy as np
import pytest
import scipy.io
import torch

from mrcli.errors import DataError, InputError, OutputError
from mrcli.io.registry import open_scan
from mrcli.physics.encoding import crop_readout, ifft2c, is_constant_along_readout
from mrcli.simulate.recipes import Cohort, Reduction
from mrcli.simulate.scans import noiseless, plan_scan, simulate_slice
from mrcli.simulate.site_file import BUILT_IN
from mrcli.tasks import simulate_files
from mrcli.tasks.inspect import InspectSettings, inspect_paths
from mrcli.tasks.recon import recon_paths
from mrcli.tasks.recon_result import ReconSettings
from mrcli.tasks.report import report_folder
from mrcli.tasks.simulate import simulate_study
from mrcli.tasks.simulate_plan import plan_study
from mrcli.tasks.simulate_result import SimulateSettings

SMALL = Reduction(matrix=0.25, max_frames=2, max_slices=2)
CINE = SimulateSettings(
    n_scans=1,
    sites=("Center101/umr780.sim",),
    protocols=("cine",),
    view="sax",
    patterns=("Uniform4", "ktRadial8"),
    reduction=SMALL,
    writers=("cmrxrecon", "fastmri", "ismrmrd"),
)
SITE_KEYS = 'patterns = ["Uniform2", "shifted-uniform4"]\nanatomy = "hearts.npz"\n'
SET = "Cine/TrainingSet"
PLACE = "Center101/UIH_30T_umr780.sim/P001"
STEM = f"{PLACE}/cine_sax"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    return out, simulate_study(out, CINE)


def files_below(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def kspace_of(out):
    return np.stack([one.numpy() for one in slices_of(out)], axis=1)


def slices_of(out):
    scan = open_scan(out / f"MultiCoil/{SET}/FullSample/{STEM}.mat")
    return [scan.slice_kspace(index) for index in range(scan.header.n_slices)]


def test_every_container_of_the_study_is_there_and_nothing_else(study):
    out, result = study
    assert result.exit_code == 0
    multicoil = {
        f"MultiCoil/{SET}/FullSample/{STEM}.mat",
        *(f"MultiCoil/{SET}/UnderSample_Sim/{STEM}_kus_{p}.mat" for p in CINE.patterns),
        *(f"MultiCoil/{SET}/Mask_Sim/{STEM}_mask_{p}.mat" for p in CINE.patterns),
    }
    truth = {f"Truth/{SET}/FullSample/{STEM}{suffix}" for suffix in (".nii.gz", ".json")}
    mrd = {f"ISMRMRD/{SET}/{name}/{STEM}.h5" for name in ("full", "Uniform4")}
    fast = {
        f"fastMRI/{SET}/{name}/{STEM}_frame{frame:02d}.h5"
        for name in ("full", "Uniform4")
        for frame in (1, 2)
    }
    own = {"manifest.jsonl", ".mrcli.lock"}
    assert files_below(out) == multicoil | truth | mrd | fast | own
    assert set(result.scans[0].output) == multicoil | truth | mrd | fast


def test_what_is_undersampled_is_the_full_sampling_times_the_mask(study):
    out, _ = study
    for pattern in CINE.patterns:
        scan = open_scan(out / f"MultiCoil/{SET}/UnderSample_Sim/{STEM}_kus_{pattern}.mat")
        for index, full in enumerate(slices_of(out)):
            mask = scan.slice_mask(index)
            assert torch.equal(scan.slice_kspace(index), full * mask)
            assert is_constant_along_readout(mask) is (pattern == "Uniform4")


def test_readers_of_public_writers_see_the_same_kspace(study):
    out, _ = study
    n_x = kspace_of(out).shape[-1] // 2
    full = [crop_readout(one, n_x) for one in slices_of(out)]
    mrd = open_scan(out / f"ISMRMRD/{SET}/full/{STEM}.h5")
    for index, expected in enumerate(full):
        torch.testing.assert_close(mrd.slice_kspace(index), expected, rtol=1e-5, atol=0.5)
        for frame in (0, 1):
            fast = open_scan(out / f"fastMRI/{SET}/full/{STEM}_frame{frame + 1:02d}.h5")
            found = fast.slice_kspace(index)[0]
            torch.testing.assert_close(found, expected[frame], rtol=1e-5, atol=0.5)


def test_independent_programs_read_the_files(study):
    out, _ = study
    expected = kspace_of(out)
    with h5py.File(out / f"MultiCoil/{SET}/FullSample/{STEM}.mat") as file:
        stored = file["kspace"][()]
    np.testing.assert_array_equal(stored["real"] + 1j * stored["imag"], expected)
    ismrmrd = pytest.importorskip("ismrmrd")
    file = ismrmrd.Dataset(str(out / f"ISMRMRD/{SET}/Uniform4/{STEM}.h5"), "dataset", False)
    lines = map(file.read_acquisition, range(file.number_of_acquisitions()))
    kinds = {bool(line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)) for line in lines}
    file.close()
    assert kinds == {True, False}


def test_the_noise_scan_has_the_noise_of_the_image(study):
    out, result = study
    record = json.loads((out / f"Truth/{SET}/FullSample/{STEM}.json").read_text())
    scan = open_scan(out / f"ISMRMRD/{SET}/Uniform4/{STEM}.h5")
    sigma = float(scan.noise.abs().square().mean().sqrt())
    assert sigma == pytest.approx(record["noise_sigma"], rel=0.02)
    assert record["is_simulated"] is True
    assert record["true_accelerations"] == dict(result.scans[0].true_accelerations)


def test_the_truth_is_what_the_simulator_knows(study):
    out, _ = study
    plan = plan_scan(plan_study(CINE)[0].recipe)
    image = nib.load(out / f"Truth/{SET}/FullSample/{STEM}.nii.gz").get_fdata()
    one = simulate_slice(plan, 1)
    np.testing.assert_allclose(image[:, :, 1].T, one.truth.abs().numpy(), rtol=1e-6)
    measured = slices_of(out)[1]
    assert torch.equal(measured, one.kspace)
    error = (ifft2c(noiseless(one)) * one.maps.conj()).sum(1).abs() - one.truth.abs()
    assert float(error.abs().max() / one.truth.abs().max()) < 1e-5


def test_inspect_recon_and_report_take_the_study_as_it_is(study, tmp_path):
    out, _ = study
    inspected = inspect_paths([out], InspectSettings())
    assert {scan.status for scan in inspected.scans} <= {"ok", "warning"}
    recon_paths([out / "MultiCoil" / SET / "UnderSample_Sim"], tmp_path, ReconSettings("sense"))
    report = report_folder(tmp_path, reference=out / "Truth")
    assert report.exit_code == 0
    assert len(report.scored.rows) == len(CINE.patterns)


def test_the_same_seed_gives_the_same_bytes(study, tmp_path):
    out, _ = study
    settings = replace(CINE, writers=("cmrxrecon",))
    simulate_study(tmp_path, settings)
    for name in files_below(tmp_path) - {"manifest.jsonl", ".mrcli.lock"}:
        if name.endswith(".json"):  # it names the containers of its own run
            continue
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_another_seed_is_another_patient(study, tmp_path):
    out, _ = study
    simulate_study(tmp_path, replace(CINE, writers=("cmrxrecon",), seed=1))
    first, second = slices_of(out)[0], slices_of(tmp_path)[0]
    assert first.shape != second.shape or not torch.equal(first, second)


def test_finished_scans_are_kept_and_damaged_ones_done_again(tmp_path):
    settings = replace(CINE, writers=("cmrxrecon",))
    first = simulate_study(tmp_path, settings)
    kept = tmp_path / first.scans[0].output[-1]
    before = kept.stat().st_mtime_ns
    assert simulate_study(tmp_path, settings).scans[0].status == "skipped"
    assert kept.stat().st_mtime_ns == before
    kept.write_bytes(b"damaged")
    again = simulate_study(tmp_path, settings)
    assert again.scans[0].status == "failed"  # what it did not make is not overwritten unasked
    assert simulate_study(tmp_path, replace(settings, overwrite=True)).scans[0].status == "done"
    assert kept.stat().st_size > 7


def test_an_interrupted_run_leaves_no_half_written_scan(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mrcli.tasks.simulate.STUDY_WRITERS", {"cmrxrecon": interrupted})
    with pytest.raises(KeyboardInterrupt):
        simulate_study(tmp_path, replace(CINE, writers=("cmrxrecon",)))
    assert files_below(tmp_path) == {".mrcli.lock"}


def test_a_scan_that_cannot_be_recorded_is_removed(tmp_path, monkeypatch):
    def full_disk(_path, _entry):
        raise OutputError("manifest.jsonl: cannot be written: no space left on device")

    monkeypatch.setattr("mrcli.tasks.simulate.append_entry", full_disk)
    result = simulate_study(tmp_path, replace(CINE, writers=("cmrxrecon",)))
    assert result.exit_code == 5
    assert files_below(tmp_path) == {".mrcli.lock"}


def test_one_scan_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    write = simulate_files.write_cmrxrecon

    def fails_once(files):
        if files.scan.recipe.patient == 1:
            raise OutputError("planted")
        return write(files)

    monkeypatch.setattr("mrcli.tasks.simulate.STUDY_WRITERS", {"cmrxrecon": fails_once})
    result = simulate_study(tmp_path, replace(CINE, n_scans=2, writers=("cmrxrecon",)))
    assert [scan.status for scan in result.scans] == ["failed", "done"]
    assert result.exit_code == 8


def test_a_dry_run_says_the_sizes_and_writes_nothing(tmp_path):
    result = simulate_study(tmp_path / "none", replace(CINE, dry_run=True))
    assert not (tmp_path / "none").exists()
    assert result.scans[0].status == "planned"
    assert len(result.scans[0].shape) == 5
    assert result.scans[0].n_bytes > 0


def test_protocols_that_the_challenge_stores_classic_are_classic(tmp_path):
    settings = replace(CINE, protocols=("T2w",), view=None, writers=("cmrxrecon",))
    result = simulate_study(tmp_path, settings)
    (full,) = (name for name in result.scans[0].output if "FullSample" in name and "Multi" in name)
    stored = scipy.io.loadmat(tmp_path / full)["kspace"]
    _, n_slices, n_coils, n_y, n_x = result.scans[0].shape
    assert stored.shape == (n_x, n_y, n_coils, n_slices)


def test_partial_fourier_is_missing_from_the_mask_and_zero_filling_is_not(tmp_path):
    missing = replace(CINE, sites=("Center107/Vida.sim",), view=None, writers=("cmrxrecon",))
    filled = replace(missing, sites=("Center102/CIMA.X.sim",))
    for settings, has_all in ((missing, False), (filled, True)):
        out = tmp_path / settings.sites[0].replace("/", "-")
        result = simulate_study(out, replace(settings, patterns=("Uniform1",)))
        (name,) = (one for one in result.scans[0].output if "UnderSample" in one)
        scan = open_scan(out / name)
        empty = scan.slice_kspace(0).abs().amax(dim=(0, 1, 3)) == 0
        assert bool(empty.any())
        assert bool(scan.slice_mask(0).all()) is has_all


def anatomy_file(path, n_patients=10, n_images=3):
    rng = np.random.default_rng(0)
    images = rng.random((n_patients * n_images, 64, 64))
    names = np.repeat([f"patient-{n}" for n in range(n_patients)], n_images)
    np.savez(path, image=images, patient=names)
    return path


def test_real_patients_are_dealt_once_and_to_one_cohort(tmp_path):
    settings = replace(CINE, anatomy_path=anatomy_file(tmp_path / "hearts.npz"))
    seen = {}
    for cohort, n in ((Cohort.TRAIN, 6), (Cohort.TUNE, 1), (Cohort.TEST, 3)):
        for scan in plan_study(replace(settings, cohort=cohort, n_scans=n)):
            key = scan.images.numpy().tobytes()
            assert key not in seen
            seen[key] = cohort
        with pytest.raises(InputError, match=f"{n} of its 10 patients are for {cohort}"):
            plan_study(replace(settings, cohort=cohort, n_scans=n + 1))
    assert len(seen) == 10


def test_a_site_may_name_its_patterns_and_its_own_real_anatomy(tmp_path):
    anatomy_file(tmp_path / "hearts.npz")
    own = 'patterns = ["Uniform8", "ktGaussian8"]\n'
    text = BUILT_IN.read_text().replace(own, SITE_KEYS, 1)
    assert SITE_KEYS in text
    (tmp_path / "sites.toml").write_text(text)
    settings = replace(CINE, site_file=tmp_path / "sites.toml", patterns=(), writers=("cmrxrecon",))
    (scan,) = plan_study(settings)
    assert scan.images.shape == (3, 64, 64)
    result = simulate_study(tmp_path / "out", settings)
    assert set(result.scans[0].true_accelerations) == {"Uniform2", "shifted-uniform4"}
    (tmp_path / "sites.toml").write_text(text.replace("hearts.npz", "absent.npz"))
    with pytest.raises(InputError, match=r"absent\.npz"):
        plan_study(settings)


def test_real_anatomy_ends_up_in_the_truth(tmp_path):
    images = np.zeros((2, 96, 96))
    images[:, 30:66, 20:50] = 1.0
    np.savez(tmp_path / "blocks.npz", image=images, patient=np.array(["a", "a"]))
    settings = replace(CINE, anatomy_path=tmp_path / "blocks.npz", writers=("cmrxrecon",))
    simulate_study(tmp_path / "out", settings)
    (path,) = (tmp_path / "out/Truth").rglob("*.nii.gz")
    image = nib.load(path).get_fdata()
    bright = (image > 0.25 * image.max()).mean()
    # a block of 36 x 30 pixels of 1.35 mm in 680 x 300 mm, brighter near the coils
    assert 0.002 < bright < 0.03


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sites": ("Center101/umr78.sim",)}, InputError, "no site is called"),
        ({"protocols": ("cinema",)}, InputError, "has no protocol|no site has a protocol"),
        ({"view": "5ch"}, InputError, "has no view '5ch'"),
        ({"patterns": ("Uniforn8",)}, InputError, "no pattern is called"),
        ({"patterns": ("Uniform",)}, InputError, "has no acceleration"),
        ({"writers": ("dicom",)}, InputError, "no container is called 'dicom'"),
        ({"anatomy_path": "absent.npz"}, InputError, "absent.npz"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_written(change, error, words, tmp_path):
    if "anatomy_path" in change:
        change = {"anatomy_path": tmp_path / change["anatomy_path"]}
    with pytest.raises(error, match=words):
        simulate_study(tmp_path / "out", replace(CINE, **change))
    assert not (tmp_path / "out").exists()


def test_scans_are_dealt_to_sites_and_protocols_in_turn():
    study = plan_study(SimulateSettings(n_scans=32))
    assert len({scan.recipe.site.name for scan in study}) == 15
    assert {scan.recipe.protocol.modality for scan in study} >= {"Cine", "LGE", "Mapping", "T2w"}
    keys = {(one.recipe.site.name, one.recipe.patient) for one in study}
    assert len(keys) == 32


def test_anatomy_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 64, 64)), patient=np.array([1, 2]))
    with pytest.raises(DataError, match="constant"):
        plan_study(replace(CINE, anatomy_path=tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", image=np.ones((2, 64, 64)), patient=np.array([1]))
    with pytest.raises(DataError, match="2 images need as many"):
        plan_study(replace(CINE, anatomy_path=tmp_path / "b.npz"))
