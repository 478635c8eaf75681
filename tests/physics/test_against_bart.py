"""BART, an independent implementation, gives the same answers; skipped where it is missing."""

import numpy as np
import pytest
import scipy.io
import torch
from torch.testing import assert_close

from bart import bart, ecalib, needs_bart, pics, read_image, write_kspace
from ellipses import simulate_kspace, simulate_maps, simulate_truth
from mrcli.physics.encoding import CartesianEncoding, decouple_readout_, ifft2c
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.physics.patterns import uniform_lines
from mrcli.physics.sense import solve_sense
from mrcli.physics.sensitivity import estimate_maps
from phantoms import small_spec
from realdata import real_file

pytestmark = needs_bart


@pytest.fixture(scope="module")
def brain():
    """Fully sampled k-space ``(frame, coil, y, x)`` of a real brain."""
    stored = scipy.io.loadmat(real_file("kspace/mphy5178_brain_8ch.mat"))["kspace"]
    return torch.from_numpy(np.ascontiguousarray(stored.T))[None]


def maps_of(kspace, n_acs):
    everywhere = torch.ones(1, 1, kspace.shape[-2], 1, dtype=torch.bool)
    sigma = estimate_noise_sigma(kspace, everywhere)
    y, x = kspace.shape[-2] // 2, kspace.shape[-1] // 2
    block = kspace[0, :, y - n_acs // 2 : y + n_acs // 2, x - n_acs // 2 : x + n_acs // 2]
    return estimate_maps(block, kspace.shape[-2:], noise_sigma=sigma)


@pytest.mark.parametrize("matrix", [(7, 6), (6, 6), (7, 5), (6, 9)])
def test_the_transform_has_its_origin_sign_and_scale(matrix, tmp_path):
    kspace = torch.randn(1, 2, *matrix, dtype=torch.complex64)
    write_kspace(tmp_path / "kspace", kspace)
    bart(tmp_path, "fft", "-u", "-i", "3", "kspace", "image")
    assert_close(read_image(tmp_path / "image"), ifft2c(kspace)[0], rtol=1e-5, atol=1e-6)


# its conjugate gradients do not stop: iterations past convergence divide nothing by nothing
@pytest.mark.parametrize(("regularization", "n_iterations"), [(0.003, 500), (0.05, 100)])
def test_sense_agrees_at_the_same_lambda(brain, regularization, n_iterations, tmp_path):
    maps = maps_of(brain, 24)[None]
    kspace = brain * uniform_lines(240, 4)
    data, mask, axes = decouple_readout_(kspace.clone(), uniform_lines(240, 4))
    ours = solve_sense(CartesianEncoding(maps, mask, axes), data, regularization)
    options = ("-l2", "-r", f"{regularization}", "-i", f"{n_iterations}", "-w", "1")
    theirs = pics(tmp_path, kspace, maps, *options)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-3


@pytest.mark.parametrize("n_acs", [20, 24])
def test_maps_span_the_same_subspace_inside_the_object(brain, n_acs, tmp_path):
    ours, theirs = maps_of(brain, n_acs), ecalib(tmp_path, brain, n_acs)
    rss = ifft2c(brain)[0].abs().square().sum(0).sqrt()
    inside = (rss > 0.1 * rss.max()) & theirs.any(0)
    assert bool(ours.any(0)[inside].all())
    cosine = (ours.conj() * theirs).sum(0).abs()[inside]
    error = (1 - cosine.square()).clamp(min=0).sqrt()
    assert float(error.square().mean().sqrt()) < 0.05


def test_coil_phase_and_coverage_of_a_phantom_agree(tmp_path):
    spec = small_spec(n_frames=1, n_coils=6, matrix=(96, 128), snr=300)
    truth = simulate_truth(spec)
    kspace = simulate_kspace(truth, simulate_maps(spec), spec)[:, 0]
    ours, theirs = maps_of(kspace, 24), ecalib(tmp_path, kspace, 24)
    inside = truth[0, 0].abs() > 0.2
    overlap = (ours.conj() * theirs).sum(0)[inside]
    assert float(overlap.abs().mean()) > 0.999
