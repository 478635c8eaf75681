"""The normal operator and conjugate gradients against closed forms, in double precision."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.nn.normal import NormalOperator, conjugate_gradients
from mrcli.physics.encoding import Y_ONLY, YX, CartesianEncoding
from nn.scenes import gaussian, line_mask, unit_maps

EXACT = {"rtol": 0, "atol": 1e-12}
COILS, FRAMES = 3, 6  # more frames than are transformed at once, and no multiple of those
for_every_matrix = pytest.mark.parametrize("matrix", [(8, 6), (7, 6), (7, 5), (6, 9), (1, 4)])
for_both_axes = pytest.mark.parametrize("axes", [YX, Y_ONLY])


def encoding_of(matrix, axes, *, shared=False, lines=False):
    readout = 1 if lines else matrix[1]
    mask = line_mask(1 if shared else FRAMES, matrix[0], readout)
    return CartesianEncoding(unit_maps(COILS, matrix), mask, axes)


@for_every_matrix
@for_both_axes
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("lines", [True, False])
def test_it_is_the_adjoint_after_the_forward_operator(matrix, axes, shared, lines):
    encoding = encoding_of(matrix, axes, shared=shared, lines=lines)
    x = gaussian(FRAMES, *matrix)
    image = NormalOperator.of(encoding)(x)
    assert_close(image, encoding.adjoint(encoding.forward(x)), **EXACT)
    assert image.is_contiguous()


@for_every_matrix
@for_both_axes
def test_it_is_hermitian_and_not_negative(matrix, axes):
    normal = NormalOperator.of(encoding_of(matrix, axes))
    x, z = gaussian(FRAMES, *matrix, seed=6), gaussian(FRAMES, *matrix, seed=7)
    left = torch.vdot(z.flatten(), normal(x).flatten())
    assert_close(left, torch.vdot(normal(z).flatten(), x.flatten()), **EXACT)
    energy = torch.vdot(x.flatten(), normal(x).flatten())
    assert energy.real > 0
    assert_close(energy.imag, torch.zeros_like(energy.imag), **EXACT)


@for_both_axes
def test_full_sampling_and_maps_of_unit_energy_make_it_the_identity(axes):
    encoding = CartesianEncoding(
        unit_maps(COILS, (7, 6)), torch.ones(1, 1, 7, 6, dtype=torch.bool), axes
    )
    x = gaussian(FRAMES, 7, 6)
    assert_close(NormalOperator.of(encoding)(x), x, **EXACT)


@for_both_axes
def test_the_gradient_of_its_energy_is_itself(axes):
    normal = NormalOperator.of(encoding_of((7, 6), axes))
    x = gaussian(FRAMES, 7, 6).requires_grad_()
    (0.5 * (x.conj() * normal(x)).real.sum()).backward()
    assert_close(x.grad, normal(x.detach()), **EXACT)


def test_it_leaves_its_image_and_its_encoding_as_they_were():
    encoding = encoding_of((7, 6), YX)
    x, maps, mask = gaussian(FRAMES, 7, 6), encoding.maps.clone(), encoding.mask.clone()
    NormalOperator.of(encoding)(x)
    assert torch.equal(x, gaussian(FRAMES, 7, 6))
    assert torch.equal(encoding.maps, maps)
    assert torch.equal(encoding.mask, mask)


def systems(n_frames=2, n=6):
    """Hermitian positive systems, one per frame, and their solutions ``(frame, 2, n / 2)``."""
    root = gaussian(n_frames, n, n, seed=1)
    matrices = root @ root.mH / n + torch.eye(n)
    solution = gaussian(n_frames, 2, n // 2, seed=2)

    def operator(image):
        return (matrices @ image.reshape(n_frames, n, 1)).reshape(image.shape)

    return operator, solution


@pytest.mark.parametrize("from_zero", [True, False])
def test_a_system_of_six_unknowns_is_solved_in_six_iterations_and_not_in_five(from_zero):
    operator, solution = systems()
    start = torch.zeros_like(solution) if from_zero else gaussian(*solution.shape, seed=3)
    found = conjugate_gradients(operator, operator(solution), start, 6)
    assert_close(found, solution, rtol=0, atol=1e-10)
    early = conjugate_gradients(operator, operator(solution), start, 5)
    assert (early - solution).abs().amax((1, 2)).min() > 1e-6


def test_frames_do_not_know_of_each_other():
    operator, solution = systems()
    right, start = operator(solution), torch.zeros_like(solution)
    louder = right * torch.tensor([1, 1e6])[:, None, None]
    alone = conjugate_gradients(operator, right, start, 3)
    assert_close(conjugate_gradients(operator, louder, start, 3)[0], alone[0], **EXACT)


@pytest.mark.parametrize("n_iterations", [0, 1, 4])
def test_the_operator_is_asked_once_per_iteration_and_once_for_the_start(n_iterations):
    operator, solution = systems()
    calls = []

    def counted(image):
        calls.append(image)
        return operator(image)

    conjugate_gradients(counted, operator(solution), solution, n_iterations)
    assert len(calls) == n_iterations + 1


def test_a_start_that_fits_and_a_frame_of_zeros_stay_as_they_are_and_give_finite_gradients():
    right = gaussian(2, 3, 4)
    right[1] = 0
    right.requires_grad_()
    found = conjugate_gradients(lambda image: image, right, right.detach(), 3)
    assert torch.equal(found, right)
    found.abs().square().sum().backward()
    assert torch.view_as_real(right.grad).isfinite().all()
