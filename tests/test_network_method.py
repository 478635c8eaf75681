"""The network as a method: scale, sizes, precision, and the check of its images against SENSE."""

import pytest
import torch

from mrcli.methods import METHODS, sense
from mrcli.metrics.consistency import consistency_residual
from mrcli.network_method import (
    INCONSISTENT,
    NetworkMethod,
    check_against_sense,
    noise_residual,
)
from mrcli.physics.encoding import Y_ONLY
from mrcli.pipeline import calibrate, encode_slice, reconstruct
from mrcli.precision import choose_precision, has_bf16
from networks import inventing_backbone, tiny_backbone
from phantoms import everything, lines, relative_error, scan_of, small_study

METHOD = NetworkMethod(tiny_backbone())
INVENTING = NetworkMethod(inventing_backbone())


def images(scan, mask, method=METHOD, sigma=0.02):
    slices = reconstruct(scan, mask, calibrate(scan, sigma), method)
    return torch.stack([one.image for one in slices], dim=1)


def encoded(sigma=0.02, scale=1.0, mask=None, **sizes):
    _, kspace = small_study(**sizes)
    mask = lines(kspace.shape[-2], 3, 12)[:, 0] if mask is None else mask
    return encode_slice(kspace[:, 0] * mask * scale, mask, sigma * scale)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e9])
def test_scaling_k_space_scales_the_image_and_nothing_else(scale):
    image = METHOD(encoded(n_coils=6))
    assert not image.is_inference()
    scaled = METHOD(encoded(n_coils=6, scale=scale))
    assert float((scaled / scale - image).norm() / image.norm()) < 1e-4


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_a_whole_scan_scales_too(scale):
    _, kspace = small_study(n_frames=2, n_coils=6)
    mask = lines(48, 3, 12)
    image = images(scan_of(kspace, mask), mask)
    scaled = images(scan_of(kspace * scale, mask), mask, sigma=0.02 * scale)
    assert float((scaled / scale - image).norm() / image.norm()) < 1e-4


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_frames": 1, "n_coils": 1},
        {"n_frames": 1, "n_coils": 34, "matrix": (47, 63)},
        {"n_frames": 3, "n_coils": 9, "matrix": (47, 64)},
        {"n_frames": 2, "n_coils": 4, "matrix": (49, 66)},
        {"n_frames": 50, "n_coils": 2, "matrix": (45, 50)},
    ],
)
def test_every_number_of_frames_and_coils_and_odd_sizes_work(sizes):
    truth, kspace = small_study(**sizes)
    scan = scan_of(kspace)
    image = images(scan, everything(scan))
    assert image.shape == truth.shape
    assert image.dtype == torch.complex64
    assert relative_error(image, truth) < 0.15


def test_masks_of_points_work_too():
    truth, kspace = small_study(n_frames=2, n_coils=6)
    radius = torch.hypot(torch.arange(48.0)[:, None] - 24, torch.arange(64.0) - 32)
    chance = torch.rand(48, 64, generator=torch.Generator().manual_seed(0))
    mask = ((radius < 12) | (chance < 0.5))[None, None, None]
    assert relative_error(images(scan_of(kspace, mask), mask), truth) < 0.3


def test_frames_know_of_each_other():
    """So a slice must not be cut into groups of frames to save memory."""
    data = encoded(n_frames=3, n_coils=4)
    other = encoded(n_frames=3, n_coils=4)
    other.kspace[2] *= 0.5
    assert not torch.allclose(METHOD(data)[0], METHOD(other)[0], rtol=1e-3, atol=0)


def test_the_convolutions_run_in_the_precision_that_was_chosen():
    data = encoded(n_coils=4)
    single, half = METHOD(data), NetworkMethod(METHOD.backbone, torch.bfloat16)(data)
    assert 1e-6 < float((half - single).norm() / single.norm()) < 0.02
    assert half.dtype == torch.complex64


def test_noise_explains_as_much_as_noise_has_energy():
    generator = torch.Generator().manual_seed(0)
    mask = lines(48, 3, 12)[:, 0]
    _, kspace = small_study(n_frames=2, n_coils=6, snr=1e6)
    noise = 0.05 * torch.randn(kspace[:, 0].shape, dtype=torch.complex64, generator=generator)
    measured = (kspace[:, 0] + noise) * mask
    expected = float((noise * mask).norm() / measured.norm())
    data = encode_slice(measured.clone(), mask, 0.05)
    assert data.encoding.axes == Y_ONLY
    assert noise_residual(data) == pytest.approx(expected, rel=0.03)
    points = mask.expand(1, 1, 48, 64).clone()
    points[..., 0, 0] = ~points[..., 0, 0]
    measured = (kspace[:, 0] + noise) * points
    data = encode_slice(measured.clone(), points, 0.05)
    assert data.encoding.axes != Y_ONLY
    assert noise_residual(data) == pytest.approx(expected, rel=0.03)


def findings(data, image):
    return check_against_sense(3, data, consistency_residual(image, data.encoding, data.kspace))


def test_an_image_that_fits_like_sense_passes_and_one_that_invents_does_not():
    data = encoded(n_coils=6)
    assert findings(data, sense(data)) == ()
    assert findings(data, METHOD(data)) == ()
    (found,) = findings(data, INVENTING(data))
    assert found.code == INCONSISTENT
    assert found.message.startswith("slice 3: the image of the network leaves ")


def test_noise_excuses_what_it_explains_and_sense_what_it_cannot_do_either():
    data = encoded(n_coils=6)
    of_sense = consistency_residual(sense(data), data.encoding, data.kspace)
    noise = noise_residual(data)
    assert of_sense < noise < 2 * of_sense
    assert check_against_sense(0, data, 1.99 * of_sense) == ()
    assert check_against_sense(0, data, 2.01 * of_sense) != ()
    loud = encoded(n_coils=6, sigma=1.0)
    assert check_against_sense(0, loud, 0.9 * noise_residual(loud)) == ()


def test_sense_is_asked_only_where_noise_does_not_explain_the_residual(monkeypatch):
    def never(_):
        raise AssertionError

    data = encoded(n_coils=6)
    monkeypatch.setattr("mrcli.network_method.sense", never)
    assert check_against_sense(0, data, 0.99 * noise_residual(data)) == ()
    with pytest.raises(AssertionError):
        check_against_sense(0, data, 1.01 * noise_residual(data))


def test_what_a_check_finds_is_among_the_findings_of_its_slice():
    _, kspace = small_study(n_slices=2, n_coils=6)
    mask = lines(48, 3, 12)
    scan = scan_of(kspace, mask)
    how = {"check": check_against_sense}
    made = list(reconstruct(scan, mask, calibrate(scan, 0.02), INVENTING, **how))
    assert [finding.code for one in made for finding in one.findings] == 2 * [INCONSISTENT]
    assert "slice 1: " in made[1].findings[0].message
    made = reconstruct(scan, mask, calibrate(scan, 0.02), METHODS["sense"], **how)
    assert [finding for one in made for finding in one.findings] == []


@pytest.mark.parametrize(("known", "expected"), [({"avx512_bf16": True}, "bf16"), ({}, "fp32")])
def test_auto_precision_is_what_the_processor_does_itself(monkeypatch, known, expected):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: known, raising=False)
    precision, reason = choose_precision("auto", "cpu")
    assert precision == expected
    assert ("no bf16" in reason) == (expected == "fp32")
    assert has_bf16("cpu") == (expected == "bf16")


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_taken(monkeypatch, name):
    monkeypatch.setattr("torch.cpu.get_capabilities", dict, raising=False)
    assert choose_precision(name, "cpu") == (name, "asked for")
