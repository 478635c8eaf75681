"""From a scan to its image: what holds for every method, size and scale."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.checks import examine
from mrcli.errors import DataError, NotFinite
from mrcli.methods import METHODS, sense, zero_filled
from mrcli.physics.encoding import fft2c, ifft2c
from mrcli.physics.noise import apply_to_coils
from mrcli.pipeline import calibrate, reconstruct, reference_image
from phantoms import everything, lines, relative_error, scan_of, small_study

for_every_method = pytest.mark.parametrize("method", METHODS)
SIZES = [
    {"n_frames": 2, "n_slices": 2},
    {"n_frames": 1, "matrix": (47, 63)},
    {"n_frames": 3, "matrix": (48, 63)},
    {"n_frames": 1, "n_coils": 1},
    {"n_frames": 2, "n_coils": 12, "matrix": (47, 64)},
]


def images(scan, mask, method, sigma=0.02):
    slices = reconstruct(scan, mask, calibrate(scan, sigma), METHODS[method])
    return torch.stack([one.image for one in slices], dim=1)


@for_every_method
@pytest.mark.parametrize("sizes", SIZES)
def test_a_fully_sampled_scan_comes_back_at_every_size(method, sizes):
    truth, kspace = small_study(**sizes)
    scan = scan_of(kspace)
    image = images(scan, everything(scan), method)
    assert image.shape == truth.shape
    assert relative_error(image, truth) < 0.06


@pytest.mark.parametrize("matrix", [(48, 64), (47, 63)])
def test_sense_beats_zero_filling_and_sparsity_beats_sense(matrix):
    truth, kspace = small_study(n_frames=4, n_coils=8, matrix=matrix)
    mask = lines(matrix[0], 3, 12)
    errors = [relative_error(images(scan_of(kspace, mask), mask, m), truth) for m in METHODS]
    assert errors[1] < 0.85 * errors[0]
    assert errors[2] < errors[1]


@for_every_method
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_scaling_k_space_scales_the_image_and_nothing_else(method, scale):
    _, kspace = small_study(n_frames=2, n_coils=6)
    mask = lines(48, 3, 12)
    image = images(scan_of(kspace, mask), mask, method)
    scaled = images(scan_of(kspace * scale, mask), mask, method, sigma=0.02 * scale)
    assert float((scaled / scale - image).norm() / image.norm()) < 1e-5


@for_every_method
def test_masks_of_points_work_as_masks_of_lines_do(method):
    truth, kspace = small_study(n_frames=2, n_coils=6)
    radius = torch.hypot(torch.arange(48.0)[:, None] - 24, torch.arange(64.0) - 32)
    mask = ((radius < 12) | (torch.rand(48, 64, generator=torch.Generator().manual_seed(0)) < 0.5))[
        None, None, None
    ]
    assert relative_error(images(scan_of(kspace, mask), mask, method), truth) < 0.25


@for_every_method
def test_the_mask_decides_what_counts_as_measured(method):
    _, kspace = small_study(n_coils=6)
    mask = lines(48, 3, 12)
    from_zeros = images(scan_of(kspace, mask), mask, method)
    assert_close(images(scan_of(kspace), mask, method), from_zeros, rtol=1e-4, atol=1e-6)


def test_every_slice_takes_its_own_mask():
    truth, kspace = small_study(n_slices=2, n_coils=6)
    mask = torch.cat([lines(48, 1, 12), lines(48, 4, 12)], dim=1)
    image = images(scan_of(kspace, mask), mask, "sense")
    errors = [relative_error(image[:, i], truth[:, i]) for i in (0, 1)]
    assert errors[0] < 0.06 < errors[1]


def test_frames_without_common_acs_calibrate_on_their_average():
    """Each frame has every second line, frame by frame another one: together they have them all."""
    truth, kspace = small_study(n_frames=4, n_coils=6)
    offsets = torch.arange(4)[:, None] % 2
    mask = ((torch.arange(48)[None] + offsets) % 2 == 0).view(4, 1, 1, 48, 1)
    assert relative_error(images(scan_of(kspace, mask), mask, "sense"), truth) < 0.1


def test_without_acs_only_zero_filling_goes_on_and_says_how():
    _, kspace = small_study(n_coils=4)
    mask = (torch.arange(48) % 2 == 0).view(1, 1, 1, 48, 1)
    scan = scan_of(kspace, mask)
    (one,) = reconstruct(scan, mask, calibrate(scan, 0.02), zero_filled)
    assert [finding.code for finding in one.findings] == ["combined-without-maps"]
    rss = ifft2c(kspace[:, 0] * mask[0]).abs().square().sum(-3).sqrt()
    assert_close(one.image.abs(), rss, rtol=1e-4, atol=1e-6)
    for method in ("sense", "cs"):
        with pytest.raises(DataError, match="no fully sampled lines around the origin"):
            next(reconstruct(scan, mask, calibrate(scan, 0.02), METHODS[method]))


@pytest.mark.parametrize("method", ["sense", "cs"])
def test_a_noise_level_that_is_not_known_is_estimated_from_the_slice(method):
    truth, kspace = small_study(n_frames=2, n_coils=8)
    mask = lines(48, 4, 12)
    scan = scan_of(kspace, mask)
    known, unknown = (relative_error(images(scan, mask, method, s), truth) for s in (0.02, 0.0))
    assert unknown == pytest.approx(known, rel=0.1)


def test_a_slice_of_zeros_is_an_image_of_zeros():
    _, kspace = small_study(n_slices=2)
    kspace[:, 1] = 0
    scan = scan_of(kspace)
    _, empty = reconstruct(scan, everything(scan), calibrate(scan, 0.02), sense)
    assert not empty.image.any()
    assert empty.consistency_residual is None


def test_nan_is_refused_before_it_spreads():
    _, kspace = small_study()
    kspace[0, 0, 1, 2, 3] = torch.nan
    scan = scan_of(kspace)
    with pytest.raises(NotFinite, match="NaN or infinity"):
        next(reconstruct(scan, everything(scan), calibrate(scan, 0.02), sense))


def test_whitening_undoes_the_coupling_of_the_noise_and_keeps_its_level():
    mixing = torch.tensor([[1, 0.5j, 0], [0, 2, 0.3], [0, 0, 0.2]], dtype=torch.complex64)
    white = torch.randn(
        3, 20_000, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    _, kspace = small_study(n_coils=3)
    calibration = calibrate(scan_of(kspace, noise=mixing @ white), 7.0)
    assert calibration.whitening is not None
    coupling = calibration.whitening.to(torch.complex64) @ mixing
    covariance = coupling @ coupling.mH
    level = float((mixing @ mixing.mH).diagonal().real.mean())
    assert_close(covariance, level * torch.eye(3, dtype=torch.complex64), rtol=0.05, atol=0.05)
    assert calibration.noise_sigma == pytest.approx(level**0.5, rel=0.02)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda noise: noise[:, :20], "has 20 samples"),
        (lambda noise: torch.cat([noise[:2], noise[:1]]), "silent or copies"),
        (lambda noise: torch.cat([noise[:2], 0 * noise[:1]]), "silent or copies"),
    ],
)
def test_a_noise_scan_that_cannot_whiten_equalizes_and_says_so(spoil, words):
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([[0.02], [0.03], [0.01]])
    noise = levels * torch.randn(3, 4000, dtype=torch.complex64, generator=generator)
    truth, kspace = small_study(n_coils=3)
    scan = scan_of(kspace, noise=spoil(noise))
    calibration = calibrate(scan, 7.0)
    (finding,) = calibration.findings
    assert finding.code == "noise-scan-not-whitening"
    assert words in finding.message
    assert 0.01 < calibration.noise_sigma < 0.03
    assert relative_error(images(scan, everything(scan), "sense"), truth) < 0.1


def test_a_noise_scan_changes_the_noise_and_not_the_shading():
    """Even a wrong one: coils that count less make the image noisier, not darker."""
    truth, kspace = small_study(n_coils=4, snr=1e4)
    levels = torch.tensor([[1.0], [5.0], [2.0], [1.0]]) * 1e-4
    generator = torch.Generator().manual_seed(0)
    noise = levels * torch.randn(4, 4000, dtype=torch.complex64, generator=generator)
    scan = scan_of(kspace, noise=noise)
    image = images(scan, everything(scan), "sense")
    assert relative_error(image, truth) < 0.02
    assert relative_error(reference_image(scan), truth) < 0.02


def test_a_noise_scan_of_zeros_is_left_out_and_one_with_nan_is_refused():
    _, kspace = small_study(n_coils=3)
    silent = calibrate(scan_of(kspace, noise=torch.zeros(3, 90, dtype=torch.complex64)), 7.0)
    assert (silent.whitening, silent.noise_sigma) == (None, 7.0)
    assert [finding.code for finding in silent.findings] == ["noise-scan-unused"]
    damaged = torch.full((3, 90), torch.nan, dtype=torch.complex64)
    with pytest.raises(NotFinite, match="the noise scan holds NaN"):
        calibrate(scan_of(kspace, noise=damaged), 7.0)


def test_zero_filling_goes_on_where_the_acs_is_too_small():
    _, kspace = small_study(n_coils=6)
    mask = (torch.arange(48) >= 23).view(1, 1, 1, 48, 1) & (torch.arange(48) < 26).view(
        1, 1, 1, 48, 1
    )
    scan = scan_of(kspace, mask)
    (one,) = reconstruct(scan, mask, calibrate(scan, 0.02), zero_filled)
    assert [finding.code for finding in one.findings] == ["combined-without-maps"]


@pytest.mark.parametrize("first", [20, 23, 24])
def test_one_sided_lines_calibrate_from_all_that_lie_near_the_origin(first):
    """Partial Fourier: the origin is at the border of what was acquired, and that is enough."""
    truth, kspace = small_study(n_coils=6)
    mask = (torch.arange(48) >= first).view(1, 1, 1, 48, 1)
    scan = scan_of(kspace, mask)
    errors = {m: relative_error(images(scan, mask, m), truth) for m in METHODS}
    assert errors["sense"] < 1.1 * errors["zero-filled"]
    assert errors["cs"] < 1.1 * errors["zero-filled"]


@pytest.mark.parametrize("method", ["sense", "cs"])
def test_a_frame_of_zeros_in_the_middle_does_no_harm_to_the_others(method):
    _, kspace = small_study(n_frames=3, n_coils=6)
    mask = lines(48, 3, 12)
    whole = images(scan_of(kspace, mask), mask, method)
    kspace[1] = 0
    scan = scan_of(kspace, mask)
    found = examine(scan)
    holed = images(scan, found.mask, method, found.noise_sigma)
    assert found.noise_sigma == pytest.approx(1 / 50, rel=0.3)
    assert relative_error(holed[::2], whole[::2]) < 0.1


def test_a_noise_scan_lowers_the_error_where_one_coil_is_much_noisier():
    truth, kspace = small_study(n_coils=6, snr=1000)
    loud = torch.diag(torch.tensor([1.0, 1, 12, 1, 1, 1])).to(torch.complex64)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(6, 5000, dtype=torch.complex64, generator=generator) / 30
    kspace = kspace + apply_to_coils(
        loud, torch.randn(kspace.shape, dtype=torch.complex64, generator=generator) / 30
    )
    plain, whitened = scan_of(kspace), scan_of(kspace, noise=loud @ noise)
    error = {
        name: relative_error(images(scan, everything(scan), "sense", 0.1), truth)
        for name, scan in {"plain": plain, "whitened": whitened}.items()
    }
    assert error["whitened"] < 0.6 * error["plain"]


def test_the_reference_is_the_combined_image_without_a_noise_floor():
    truth, kspace = small_study(n_coils=8, snr=20)
    reference = reference_image(scan_of(kspace))
    air = truth.abs().numpy() < 1e-3
    rss = ifft2c(kspace).abs().square().sum(-3).sqrt().numpy()
    assert relative_error(reference, truth) < 0.9 * relative_error(rss, truth)
    assert reference[air].mean() < 0.5 * rss[air].mean()


def test_the_reference_beside_the_scan_goes_before_the_scan():
    truth, kspace = small_study(n_coils=6, snr=500)
    mask = lines(48, 4, 12)
    scan = scan_of(kspace, mask, load_reference_slice=lambda i: kspace[:, i])
    of_its_own = relative_error(reference_image(scan_of(kspace, mask)), truth)
    assert relative_error(reference_image(scan), truth) < 0.2 * of_its_own


def test_the_residual_is_what_the_image_leaves_unexplained():
    """Noise of full sampling: with C coils and one image, (C - 1) / C of its energy stays."""
    generator = torch.Generator().manual_seed(0)
    truth, kspace = small_study(n_coils=8, snr=1e6)
    noise = 0.05 * torch.randn(kspace.shape, dtype=torch.complex64, generator=generator)
    scan = scan_of(kspace + noise)
    (one,) = reconstruct(scan, everything(scan), calibrate(scan, 0.05), sense)
    energies = [float(part.abs().square().sum()) for part in (noise, fft2c(truth), kspace + noise)]
    expected = (7 / 8 * energies[0] / energies[2]) ** 0.5
    assert one.consistency_residual == pytest.approx(expected, rel=0.1)
