"""Facts about the image that the network starts from, in double precision."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.nn.first_image import sense_image, sparse_over_time
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


def test_one_frame_is_returned_as_it_is():
    _, normal = problem(1)
    start = gaussian(1, *MATRIX)
    assert sparse_over_time(normal, start, start, 0.1) is start


def test_a_still_object_that_explains_the_data_stays_as_it_is():
    _, normal = problem(4)
    still = gaussian(1, *MATRIX).expand(4, -1, -1)
    found = sparse_over_time(normal, normal(still), still, 0.1)
    assert_close(found, still, rtol=0, atol=1e-12)


def test_more_noise_than_signal_leaves_the_mean_of_all_frames():
    _, normal = problem(4)
    image = gaussian(4, *MATRIX)
    found = sparse_over_time(normal, normal(image), image, 1e3)
    assert_close(found, found.mean(0).expand_as(found), rtol=0, atol=1e-12)
    assert found.abs().max() > 0.1


def test_without_noise_the_data_are_explained_better_than_before():
    _, normal = problem(4)
    combined, start = normal(gaussian(4, *MATRIX)), torch.zeros(4, *MATRIX, dtype=torch.complex128)
    found = sparse_over_time(normal, combined, start, 0.0)
    assert (normal(found) - combined).norm() < 0.05 * combined.norm()


def test_changes_shrink_by_six_tenths_of_the_noise_where_all_was_sampled():
    """The cosines of two frames are their sum and difference; with ``A^H A = 1`` that is all."""

    def normal(image):
        return image

    data = torch.tensor([1 + 0.5, 1 - 0.5], dtype=torch.complex128)[:, None, None]
    found = sparse_over_time(normal, data, data, 0.2)
    change = (0.5 * 2**0.5 - 0.6 * 0.2) / 2**0.5
    expected = torch.tensor([1 + change, 1 - change], dtype=torch.complex128)[:, None, None]
    assert_close(found, expected, rtol=0, atol=1e-12)


def test_frames_that_complete_each_other_find_what_one_coil_cannot():
    n_y = MATRIX[0]
    even = torch.arange(n_y)[None, None, :, None] % 2 == torch.arange(2)[:, None, None, None]
    encoding = CartesianEncoding(unit_maps(1, MATRIX), even, Y_ONLY)
    normal = NormalOperator.of(encoding)
    still = gaussian(1, *MATRIX).expand(2, -1, -1)
    combined = normal(still)
    sense = sense_image(normal, combined, 1e-3)
    found = sparse_over_time(normal, combined, sense, 0.3)
    assert (found - still).norm() < 0.5 * (sense - still).norm()
