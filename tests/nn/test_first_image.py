"""Facts about the image that the network starts from, in double precision."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.nn.first_image import sense_image, sparse_image
from mrcli.nn.normal import NormalOperator
from mrcli.physics.encoding import Y_ONLY, YX, CartesianEncoding
from nn.scenes import gaussian, line_mask, unit_maps

MATRIX = (7, 6)


def problem(n_frames, axes=Y_ONLY, n_coils=3):
    mask = line_mask(n_frames, MATRIX[0], 1 if axes == Y_ONLY else MATRIX[1])
    encoding = CartesianEncoding(unit_maps(n_coils, MATRIX), mask, axes)
    return encoding, NormalOperator.of(encoding)


@pytest.mark.parametrize("axes", [YX, Y_ONLY])
def test_sense_solves_its_equations(axes):
    _, normal = problem(2, axes)
    right = normal(gaussian(2, *MATRIX))
    image = sense_image(normal, right, 0.5)
    assert_close(normal(image) + 0.5 * image, right, rtol=0, atol=1e-4)


def test_without_noise_the_data_are_explained_better_than_before():
    _, normal = problem(4)
    combined, start = normal(gaussian(4, *MATRIX)), torch.zeros(4, *MATRIX, dtype=torch.complex128)
    found = sparse_image(normal, combined, start, 0.0, Y_ONLY)
    assert (normal(found) - combined).norm() < 0.05 * combined.norm()


@pytest.mark.parametrize("n_frames", [1, 4])
def test_what_explains_the_data_stays_without_noise(n_frames):
    _, normal = problem(n_frames)
    image = gaussian(n_frames, *MATRIX)
    found = sparse_image(normal, normal(image), image, 0.0, Y_ONLY)
    assert_close(found, image, rtol=0, atol=1e-12)


def test_noise_beyond_all_signal_leaves_frames_that_are_equal():
    """The coarsest wavelets are not shrunk; all that changes is."""
    _, normal = problem(4, n_coils=1)
    found = sparse_image(normal, normal(gaussian(4, *MATRIX)), gaussian(4, *MATRIX), 1e3, Y_ONLY)
    fine = found - found.mean((-2, -1), keepdim=True)
    assert fine.abs().max() < 0.5 * found.abs().max()


@pytest.mark.parametrize(("axes", "n_iterations"), [(Y_ONLY, 16), (YX, 32)])
def test_spokes_take_twice_the_iterations_of_lines(axes, n_iterations):
    calls = []

    def normal(image):
        calls.append(1)
        return image

    image = gaussian(2, *MATRIX)
    sparse_image(normal, image, image, 0.1, axes)
    assert len(calls) == n_iterations


def test_frames_that_complete_each_other_find_what_one_coil_cannot():
    n_y = MATRIX[0]
    even = torch.arange(n_y)[None, None, :, None] % 2 == torch.arange(2)[:, None, None, None]
    encoding = CartesianEncoding(unit_maps(1, MATRIX), even, Y_ONLY)
    normal = NormalOperator.of(encoding)
    still = gaussian(1, *MATRIX).expand(2, -1, -1)
    combined = normal(still)
    sense = sense_image(normal, combined, 1e-3)
    found = sparse_image(normal, combined, sense, 0.1, Y_ONLY)
    assert (found - still).norm() < 0.5 * (sense - still).norm()
