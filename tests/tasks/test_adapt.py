"""Adapting from end to end: tiny scans in files, a tiny model, and what is left on disk."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from bundles import write_model
from containers import write_mat73, write_npz
from ellipses import PhantomSpec, simulate_kspace, simulate_maps, simulate_truth
from mrcli.adapt.fit import FitSettings
from mrcli.adapt.gate import Limits
from mrcli.adapters.adapter import AdapterSpec
from mrcli.errors import DataError, InputError, ModelError, OutputError
from mrcli.models.store import load_adapter, load_model
from mrcli.tasks import adapt_record
from mrcli.tasks.adapt import AdaptSettings, Watchers, adapt_paths

MATRIX = (40, 36)
QUICK = FitSettings(n_steps=20, peak_rate=0.02, check_every=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models"), members=())


def kspace_of(seed, n_coils=4, snr=30.0):
    spec = PhantomSpec(2, 1, n_coils, MATRIX, seed=seed, snr=snr)
    truth, maps = simulate_truth(spec), simulate_maps(spec)
    return simulate_kspace(truth, maps, spec).numpy().astype(np.complex64)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed in range(4):
        write_npz(folder / f"scan{seed}.npz", kspace_of(seed))
    return folder


def settings_for(folder, model, **changes):
    own = AdaptSettings(
        folder / "out",
        "Center9",
        "Vida",
        model=str(model),
        patterns=("Uniform4",),
        fit=QUICK,
        spec=AdapterSpec("scale-shift", 1),
        device="cpu",
        precision="fp32",
    )
    return replace(own, **changes)


def adapt(paths, settings):
    quiet = Watchers(lambda *_: None, lambda *_: None)
    return adapt_paths([paths] if not isinstance(paths, list) else paths, settings, quiet)


def record(settings, name):
    return json.loads((settings.evidence / name).read_text())


def test_a_network_that_is_far_off_gains_and_the_adapter_is_written(scans, model, tmp_path):
    settings = settings_for(tmp_path, model)
    result = adapt(scans, settings)
    assert result.verdict.accepted
    assert result.exit_code == 0
    owner = load_model(model)
    adapter = load_adapter(settings.bundle, owner)
    assert adapter.name == "Center9/Vida"
    assert adapter.card.acceptance["accepted"] is True
    assert adapter.card.training["n_scans"] == 4
    change = record(settings, adapt_record.CHANGE)
    assert change["backbone"]["is_untouched"] is True
    assert change["adapter_sha256"] == adapter.sha256
    impact = record(settings, adapt_record.IMPACT)
    assert len(impact["scores"]) == 4
    assert {score["patient"] for score in impact["scores"]} == {f"patient {n}" for n in range(1, 5)}
    page = (settings.evidence / "index.html").read_text()
    assert "Accepted" in page
    assert "scan0" not in page  # names of files can name people
    assert not settings.work.exists()


def test_a_limit_that_is_not_reached_writes_no_adapter_and_keeps_the_evidence(
    scans, model, tmp_path
):
    settings = settings_for(tmp_path, model, limits=Limits(min_gain_db=90.0))
    result = adapt(scans, settings)
    assert result.exit_code == 9
    assert not settings.bundle.exists()
    assert record(settings, adapt_record.IMPACT)["verdict"]["accepted"] is False
    assert record(settings, adapt_record.CHANGE)["adapter_sha256"] is None
    assert "Not accepted" in (settings.evidence / "index.html").read_text()


def test_two_patients_are_too_few_for_a_verdict(scans, model, tmp_path):
    paths = [scans / "scan0.npz", scans / "scan1.npz"]
    result = adapt(paths, settings_for(tmp_path, model))
    assert result.exit_code == 9
    assert result.verdict.n_needed == 3


def test_the_same_seed_writes_the_same_bytes(scans, model, tmp_path):
    written = []
    for name in ("one", "two"):
        settings = settings_for(tmp_path / name, model)
        adapt(scans, settings)
        written.append({p.name: p.read_bytes() for p in sorted(settings.bundle.iterdir())})
    assert written[0] == written[1]


def test_scans_without_reference_judge_by_what_was_withheld(model, tmp_path):
    folder = tmp_path / "acquired"
    folder.mkdir()
    for seed in range(3):
        kspace = kspace_of(seed)
        lines = torch.rand(
            kspace.shape[0], MATRIX[0], generator=torch.Generator().manual_seed(seed)
        )
        mask = (lines < 0.5).numpy()
        mask[:, MATRIX[0] // 2 - 8 : MATRIX[0] // 2 + 8] = True
        mask = mask[:, None, None, :, None]
        write_npz(folder / f"{seed}.npz", kspace * mask, mask=mask)
    settings = settings_for(tmp_path, model)
    adapt(folder, settings)
    assert set(record(settings, adapt_record.PROTOCOL)["measures"]) == {"withheld"}
    with pytest.raises(DataError, match="no fully sampled reference"):
        adapt(folder, settings_for(tmp_path / "other", model, reference="full"))


def test_a_repeated_scan_is_found_by_its_samples_and_left_out(model, tmp_path):
    folder = tmp_path / "repeated"
    folder.mkdir()
    for number, seed in enumerate((0, 1, 2, 1)):
        write_npz(folder / f"{number}.npz", kspace_of(seed))
    result = adapt(folder, settings_for(tmp_path, model))
    assert result.n_scans["used"] == 3
    assert "repeated-scan" in {finding.code for finding in result.findings}


def test_one_unreadable_scan_stops_no_other_and_all_unreadable_stop(model, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for seed in range(4):
        write_npz(folder / f"{seed}.npz", kspace_of(seed))
    broken = folder / "broken.npz"
    broken.write_bytes((folder / "0.npz").read_bytes()[:2000])
    result = adapt(folder, settings_for(tmp_path, model))
    assert result.exit_code == 8
    assert result.bundle is not None
    with pytest.raises(DataError, match="no scan can be used"):
        adapt(broken, settings_for(tmp_path / "other", model))
    with pytest.raises(InputError):
        adapt(tmp_path / "nothing", settings_for(tmp_path / "none", model))


def test_a_scan_of_another_scanner_is_refused_and_reported(model, tmp_path):
    for seed in range(4):
        scanner = "Siemens_30T_Vida" if seed else "Siemens_15T_Aera"
        place = f"Cine/TrainingSet/FullSample/Center009/{scanner}/P00{seed + 1}"
        (tmp_path / "scans" / place).mkdir(parents=True)
        write_mat73(tmp_path / "scans" / place / "cine_sax.mat", kspace_of(seed), "kspace_full")
    result = adapt(tmp_path / "scans", settings_for(tmp_path, model, center="Center009"))
    ((name, report),) = result.failed
    assert "Aera" in name
    assert "the scan is of scanner Aera, asked was Vida" in report.message
    assert result.n_scans["used"] == 3
    assert result.exit_code == 8


OTHERS = {"another patient": lambda _: kspace_of(9), "swapped frames": lambda own: own[::-1]}


@pytest.mark.parametrize("what", OTHERS)
def test_references_that_do_not_hold_what_was_acquired_are_refused(model, tmp_path, what):
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(3):
        full = kspace_of(seed)
        mask = np.zeros((1, 1, 1, MATRIX[0], 1), bool)
        mask[..., ::2, :] = True
        mask[..., 12:28, :] = True
        reference = np.ascontiguousarray(OTHERS[what](full))
        write_npz(folder / f"{seed}.npz", full * mask, mask=mask, kspace_full=reference)
    with pytest.raises(DataError, match="reference differs from the scan"):
        adapt(folder, settings_for(tmp_path, model))


def test_scans_with_other_numbers_of_coils_are_taken_together(model, tmp_path):
    folder = tmp_path / "coils"
    folder.mkdir()
    for seed, n_coils in enumerate((3, 4, 5)):
        write_npz(folder / f"{seed}.npz", kspace_of(seed, n_coils))
    result = adapt(folder, settings_for(tmp_path, model))
    assert result.n_scans["used"] == 3
    assert "other-coils" in {finding.code for finding in result.findings}


def test_limits_that_move_afterwards_are_refused(scans, model, tmp_path):
    settings = settings_for(tmp_path, model, limits=Limits(min_gain_db=90.0))
    adapt(scans, settings)
    with pytest.raises(InputError, match="settings was fixed otherwise"):
        adapt(scans, replace(settings, limits=Limits(min_gain_db=0.0)))


def test_an_interrupted_call_goes_on_to_the_same_bytes(scans, model, tmp_path):
    whole = settings_for(tmp_path / "whole", model)
    adapt(scans, whole)
    cut = settings_for(tmp_path / "cut", model)
    seen = []

    def interrupt(what, step, *_):
        seen.append(what)
        if what.startswith("fold 3") and step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt_paths([scans], cut, Watchers(lambda *_: None, interrupt))
    assert not cut.bundle.exists()
    again = []
    adapt_paths([scans], cut, Watchers(lambda *_: None, lambda what, *_: again.append(what)))
    assert not any(what.startswith(("fold 1", "fold 2")) for what in again)
    files = [{p.name: p.read_bytes() for p in own.bundle.iterdir()} for own in (whole, cut)]
    assert files[0] == files[1]


@pytest.mark.parametrize(("factor", "tolerance"), [(2.0**-30, 0), (2.0**30, 0), (1e-9, 2e-4)])
def test_the_unit_of_the_scanner_does_not_matter(scans, model, tmp_path, factor, tolerance):
    """A power of two changes no bit; what others round away is not made much larger."""
    folder = tmp_path / "scaled"
    folder.mkdir()
    for seed in range(4):
        write_npz(folder / f"scan{seed}.npz", kspace_of(seed) * np.float32(factor))
    always = Limits(min_gain_db=-99, max_worst_loss_db=99)
    pairs = ((scans, tmp_path / "plain"), (folder, tmp_path / "other"))
    adapters = []
    for paths, out in pairs:
        settings = settings_for(out, model, limits=always, patterns=("Uniform4",))
        settings = replace(settings, reference="full")
        adapt(paths, settings)
        own = load_adapter(settings.bundle, load_model(model)).adapter
        adapters.append(torch.cat([one.flatten() for one in own.state_dict().values()]))
    plain, other = adapters
    assert (plain - other).norm() <= tolerance * plain.norm()


def test_a_model_that_is_refused_stops_before_anything_is_written(scans, tmp_path):
    with pytest.raises(ModelError):
        adapt(scans, settings_for(tmp_path, tmp_path / "no model"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_an_error_of_output(scans, model, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError):
        adapt(scans, settings_for(tmp_path, model))


@pytest.mark.parametrize(
    "changes",
    [{"reference": "some"}, {"holdout": 1.0}, {"center": "a/b"}, {"patterns": ("Spiral8",)}],
)
def test_settings_that_make_no_sense_are_refused(scans, model, tmp_path, changes):
    with pytest.raises(InputError):
        adapt(scans, settings_for(tmp_path, model, **changes))
