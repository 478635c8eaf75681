"""Each fault is planted alone in a clean scan and must be found alone; clean scans stay silent."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from mrcli.checks import examine, resolve_mask
from mrcli.findings import Finding, Severity
from mrcli.physics.encoding import ifft2c
from mrcli.physics.patterns import kt_gaussian_lines, shifted_uniform_lines, uniform_lines
from mrcli.physics.sampling import Pattern
from mrcli.scan import MaskSource, Scan, ScanHeader
from planted import FRAMES, SLICES, faults, found, phantom, scan_of
from realdata import DATA

HEART = DATA / "kspace" / "cmrxrecon2024_cine_sax.mat"
BRAIN = DATA / "kspace" / "mphy5178_brain_8ch.mat"
BRAIN_SCATTERED = DATA / "kspace" / "sigpy_brain_8ch.npy"


def needs(path):
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not there")


def for_scan(mask):
    return mask[:, None]  # (frame, slice, 1, y, x)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("matrix", [(45, 64), (64, 45), (48, 48)])
def test_a_clean_scan_has_no_faults_at_any_scale(scale, matrix):
    assert faults(scale * phantom(matrix=matrix)) == set()


@pytest.mark.parametrize(
    "mask",
    [shifted_uniform_lines(FRAMES, 45, 3, 12), kt_gaussian_lines(FRAMES, 45, 4, 12, seed=0)],
)
def test_a_clean_undersampled_scan_has_no_faults(mask):
    kspace = phantom() * for_scan(mask)
    assert faults(kspace) == faults(kspace, for_scan(mask)) == set()


def test_one_coil_one_frame_and_one_slice_have_no_faults():
    assert faults(phantom(1, 1, 1)) == set()


def real(path):
    if path.suffix == ".npy":
        return torch.from_numpy(np.load(path))[None, None]
    fields = scipy.io.loadmat(path)
    name = "kspace_full" if "kspace_full" in fields else "kspace"
    stored = torch.from_numpy(np.ascontiguousarray(fields[name].T))
    return stored.reshape(1, 1, -1, *stored.shape[-2:])


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=needs(p), id=p.stem) for p in (HEART, BRAIN, BRAIN_SCATTERED)]
)
def test_real_scans_have_no_faults(path):
    assert faults(real(path)) == set()


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=needs(p), id=p.stem) for p in (HEART, BRAIN)]
)
def test_images_and_unshifted_data_are_told_from_real_k_space(path):
    kspace = real(path)
    images = ifft2c(kspace)
    assert faults(images) == {"image-space-data"}
    rss = images.abs().square().sum(2, keepdim=True).sqrt()
    assert faults(rss.to(torch.complex64)) == {"image-space-data"}
    assert faults(torch.fft.ifftshift(kspace, dim=(-2, -1))) == {"origin-off-center"}
    assert "wrong-axis-order" in faults(kspace.movedim(2, -1).contiguous())


def test_a_sample_that_is_not_a_number_is_an_error_that_names_its_place():
    kspace = phantom()
    kspace[1, 1, 2, 7, 9] = complex(float("nan"), 0)
    kspace[2, 1, 3, 8, 10] = complex(0, float("inf"))
    finding = found(kspace)["not-finite"]
    assert finding.severity is Severity.ERROR
    assert "2 samples" in finding.message
    assert "frame 1, slice 1, coil 2, y 7, x 9" in finding.message
    assert faults(kspace) == {"not-finite"}


def test_only_zeros_are_an_error():
    kspace = torch.zeros_like(phantom())
    assert found(kspace)["all-zero"].severity is Severity.ERROR
    assert faults(kspace) == {"all-zero"}
    examination = examine(scan_of(kspace))
    assert (examination.peak, examination.noise_sigma) == (0, 0)


def test_an_empty_frame_and_an_empty_slice_are_named():
    kspace = phantom(n_slices=3)
    kspace[1] = 0
    assert faults(kspace) == {"zero-frame"}
    assert "frame 1 holds" in found(kspace)["zero-frame"].message
    kspace = phantom(n_slices=3)
    kspace[:, 2] = 0
    assert faults(kspace) == {"zero-slice"}
    assert examine(scan_of(kspace)).sampling.pattern is Pattern.FULL


def test_a_frame_that_is_empty_in_some_slices_is_named_with_its_slice():
    kspace = phantom(n_slices=3)
    kspace[1, 1] = 0
    assert faults(kspace) == {"zero-frame"}
    assert found(kspace)["zero-frame"].message == "frame 1 of slice 1 holds only zeros"
    assert examine(scan_of(kspace)).sampling.pattern is Pattern.FULL
    kspace[0, 2] = kspace[2, 2] = 0
    assert "slice 1 holds only zeros, as do 2 more" in found(kspace)["zero-frame"].message


@pytest.mark.parametrize("is_stated", [False, True])
def test_an_empty_middle_frame_does_not_hide_the_noise(is_stated):
    kspace = phantom(n_frames=4)
    mask = torch.ones(4, 1, 1, 45, 1, dtype=torch.bool)
    sigma = examine(scan_of(kspace)).noise_sigma
    kspace[2] = 0
    noise_sigma = examine(scan_of(kspace, mask if is_stated else None)).noise_sigma
    assert noise_sigma == pytest.approx(sigma, rel=0.05)


def test_a_frame_that_the_mask_leaves_out_does_not_hide_the_noise():
    kspace = phantom(n_frames=4)
    mask = torch.ones(4, 1, 1, 45, 1, dtype=torch.bool)
    mask[2] = False
    expected = examine(scan_of(kspace)).noise_sigma
    assert examine(scan_of(kspace, mask)).noise_sigma == pytest.approx(expected, rel=0.05)


def test_slices_without_noise_do_not_hide_that_of_the_others():
    kspace = phantom(n_slices=3)
    sigma = examine(scan_of(kspace)).noise_sigma
    mask = torch.ones(FRAMES, 3, 1, 45, 1, dtype=torch.bool)
    mask[:, 1:] = False
    assert examine(scan_of(kspace, mask)).noise_sigma == pytest.approx(sigma, rel=0.05)


def test_an_empty_slice_in_the_middle_does_not_hide_the_pattern():
    kspace = phantom(n_slices=3) * for_scan(shifted_uniform_lines(FRAMES, 45, 3, 12))
    kspace[:, 1] = 0
    kspace[0, 2] = 0  # the slices do not agree
    assert examine(scan_of(kspace)).sampling.pattern is Pattern.SHIFTED_UNIFORM


def test_a_silent_coil_is_named_and_a_weak_one_is_not():
    kspace = phantom()
    kspace[:, :, 2] *= 1e-4
    assert faults(kspace) == {"dead-coil"}
    assert "coil 2 holds" in found(kspace)["dead-coil"].message
    kspace = phantom()
    kspace[:, :, 2] *= 1e-2
    assert faults(kspace) == set()


def test_an_echo_far_from_the_origin_is_named_and_a_near_one_is_not():
    kspace = phantom()
    assert faults(kspace.roll(3, -1)) == set()
    assert faults(kspace.roll(9, -1)) == {"origin-off-center"}
    assert "y 22, x 41" in found(kspace.roll(9, -1))["origin-off-center"].message


def test_images_are_told_from_k_space():
    assert faults(ifft2c(phantom())) == {"image-space-data"}


def test_undersampling_along_the_readout_suggests_swapped_axes():
    kspace = (phantom() * for_scan(uniform_lines(45, 4, 12))).transpose(-1, -2).contiguous()
    assert "swapped" in found(kspace)["wrong-axis-order"].message


def test_a_matrix_axis_in_place_of_the_coils_is_suspected():
    kspace = phantom(1, 1, 8).movedim(2, -1).contiguous()
    assert "wrong-axis-order" in faults(kspace)
    assert faults(phantom(1, 1, 32)) == set()


def test_a_single_sample_far_above_its_neighbors_is_a_spike():
    kspace = phantom()
    kspace[2, 1, :, 3, 50] = 0.3 * kspace.abs().amax()
    assert faults(kspace) == {"spike"}
    assert "frame 2, slice 1, y 3, x 50" in found(kspace)["spike"].message


def test_a_plateau_at_the_peak_is_clipped():
    kspace = phantom()
    level = 0.2 * kspace.abs().amax()
    clipped = torch.complex(kspace.real.clamp(-level, level), kspace.imag.clamp(-level, level))
    assert faults(clipped) == {"clipped"}


def test_identical_frames_are_named_only_if_all_their_slices_are():
    kspace = phantom()
    kspace[2, 0] = kspace[0, 0]
    assert faults(kspace) == set()
    kspace[2, 1] = kspace[0, 1]
    assert faults(kspace) == {"duplicate-frames"}
    assert "first 0 and 2" in found(kspace)["duplicate-frames"].message


def test_noise_alone_is_low_snr_and_has_no_origin():
    kspace = torch.randn(
        2, 2, 4, 64, 64, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)
    )
    assert faults(kspace) == {"low-snr"}


def test_an_unusual_scale_is_said_without_blame():
    assert found(1e-12 * phantom())["scale"].severity is Severity.INFO
    assert "scale" not in found(phantom() / phantom().abs().amax())


def test_a_fixed_equispaced_mask_of_many_frames_cannot_support_adapting():
    mask = for_scan(uniform_lines(45, 4, 12))
    assert faults(phantom() * mask) == {"fixed-equispaced-mask"}
    assert faults(phantom(n_frames=1) * mask) == set()


def test_a_mask_without_acs_is_named():
    mask = for_scan(uniform_lines(45, 3, 0))
    assert faults(phantom(1) * mask) == {"no-acs"}


def test_an_acs_that_frames_fill_together_is_a_fact():
    moving = for_scan(shifted_uniform_lines(FRAMES, 45, 3, 0))
    assert faults(phantom() * moving) == set()
    finding = found(phantom() * moving)["acs-over-frames"]
    assert finding.severity is Severity.INFO
    assert "lines 0 to 44 of all frames together" in finding.message
    once = for_scan(uniform_lines(45, 3, 0)).expand(FRAMES, 1, 1, 45, 1).clone()
    once[0, ..., 14:30, :] = True
    assert faults(phantom() * once) == {"fixed-equispaced-mask"}
    assert "lines 14 to 29 of" in found(phantom() * once)["acs-over-frames"].message
    assert "acs-over-frames" not in found(phantom())


def test_partial_fourier_is_a_fact():
    kspace = phantom()
    kspace[..., :12, :] = 0
    assert found(kspace)["partial-fourier"].severity is Severity.INFO
    assert faults(kspace) == set()


def test_a_mask_that_marks_zeros_disagrees_and_one_that_drops_signal_is_a_choice():
    mask = for_scan(shifted_uniform_lines(FRAMES, 45, 3, 12))
    kspace = phantom() * mask
    finding = found(kspace, torch.ones(1, 1, 1, 45, 1, dtype=torch.bool))["mask-disagrees"]
    n_zero = SLICES * 64 * int((~mask).sum())
    assert f"marks {n_zero} of {SLICES * FRAMES * 45 * 64} samples" in finding.message
    assert finding.severity is Severity.WARNING
    dropped = found(phantom(), mask)["mask-disagrees"]
    assert dropped.severity is Severity.INFO
    assert f"leaves out {n_zero} samples" in dropped.message


def test_a_stated_mask_that_agrees_is_used_without_a_word():
    mask = for_scan(shifted_uniform_lines(FRAMES, 45, 3, 12))
    assert not found(phantom() * mask, mask)
    assert resolve_mask(scan_of(phantom() * mask, mask)) == (mask, MaskSource.GIVEN, ())


def test_a_mask_is_inferred_once_for_all_slices_that_agree():
    mask = for_scan(shifted_uniform_lines(FRAMES, 45, 3, 12))
    kspace = phantom(n_slices=3) * mask
    kspace[:, 1] = 0
    inferred, source, findings = resolve_mask(scan_of(kspace))
    assert torch.equal(inferred, mask)
    assert source is MaskSource.ZEROS
    assert [finding.code for finding in findings] == ["mask-inferred"]
    assert torch.equal(examine(scan_of(kspace)).mask, mask)


def test_slices_with_masks_of_their_own_keep_them():
    masks = torch.stack([uniform_lines(45, 4, 12, offset=i) for i in range(SLICES)], 1)
    inferred, _, _ = resolve_mask(scan_of(phantom() * masks))
    assert torch.equal(inferred, masks.expand(FRAMES, SLICES, 1, 45, 1))


def test_findings_of_the_reader_are_kept():
    own = Finding("readout-removed", Severity.INFO, "cropped", "none")
    assert examine(scan_of(phantom(), findings=(own,))).findings[0] == own


def test_slices_are_loaded_once_and_counted():
    kspace, loaded, told = phantom(), [], []
    header = ScanHeader(*kspace.shape[:3], tuple(kspace.shape[3:]), "complex64")

    def load(index):
        loaded.append(index)
        return kspace[:, index]

    before = kspace.clone()
    examine(Scan(Path("s"), "npy", header, load), lambda done, n: told.append((done, n)))
    assert (loaded, told) == ([0, 1], [(1, 2), (2, 2)])
    assert torch.equal(kspace, before)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_levels_follow_the_scale_of_the_data(scale):
    kspace = phantom()
    plain, scaled = examine(scan_of(kspace)), examine(scan_of(kspace * scale))
    assert scaled.peak == pytest.approx(scale * plain.peak, rel=1e-5)
    assert scaled.noise_sigma == pytest.approx(scale * plain.noise_sigma, rel=1e-4)
    assert plain.peak == pytest.approx(float(kspace.abs().amax()), rel=1e-6)
