"""Facts about the encoding that hold for every matrix size; the tests name them.

Double precision on small matrices, odd and even: rounding stays near 1e-16, so a tolerance of 1e-12
leaves a wrong operator nowhere to hide. Adjointness alone cannot see a wrong convention (origin,
sign, scale), so one test compares with a transform known in closed form.
"""

import pytest
import torch
from torch.testing import assert_close

from mrcli.errors import ShapeError
from mrcli.physics.encoding import (
    Y_ONLY,
    YX,
    CartesianEncoding,
    crop_readout,
    decouple_readout_,
    fft2c,
    ifft2c,
    is_constant_along_readout,
)

FRAMES, COILS = 2, 3
EXACT = {"rtol": 0, "atol": 1e-12}
for_every_matrix = pytest.mark.parametrize("matrix", [(8, 6), (7, 6), (7, 5), (6, 9), (1, 4)])


def gaussian(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@for_every_matrix
@pytest.mark.parametrize("axes", [YX, Y_ONLY])
def test_adjoint_satisfies_the_dot_product_identity(matrix, axes):
    mask = gaussian(1, 1, *matrix, seed=1).real > 0
    encoding = CartesianEncoding(gaussian(1, COILS, *matrix, seed=2), mask, axes)
    x, y = gaussian(FRAMES, *matrix, seed=3), gaussian(FRAMES, COILS, *matrix, seed=4)
    ax, ahy = encoding.forward(x), encoding.adjoint(y)
    in_kspace = torch.vdot(ax.flatten(), y.flatten())
    assert_close(in_kspace, torch.vdot(x.flatten(), ahy.flatten()), **EXACT)
    assert not ax[~mask.expand_as(ax)].any()


@for_every_matrix
def test_point_one_pixel_right_of_the_origin_is_the_textbook_plane_wave(matrix):
    height, width = matrix
    point = torch.zeros(1, height, width, dtype=torch.complex128)
    point[0, height // 2, width // 2 + 1] = 1
    kx = torch.arange(width) - width // 2
    wave = torch.exp(-2j * torch.pi * kx.double() / width) / (height * width) ** 0.5
    assert_close(fft2c(point), wave.expand(1, height, width), **EXACT)
    assert_close(ifft2c(fft2c(point)), point, **EXACT)


@for_every_matrix
def test_a_line_mask_lets_the_readout_be_transformed_once(matrix):
    lines = gaussian(1, 1, matrix[0], 1, seed=1).real > -0.5
    maps, x = gaussian(1, COILS, *matrix, seed=2), gaussian(FRAMES, *matrix, seed=3)
    whole = CartesianEncoding(maps, lines.expand(1, 1, *matrix))
    data, mask, axes = decouple_readout_(whole.forward(x), whole.mask)
    assert axes == Y_ONLY
    assert mask.shape == lines.shape
    decoupled = CartesianEncoding(maps, mask, axes)
    assert_close(decoupled.forward(x), data, **EXACT)
    assert_close(decoupled.adjoint(data), whole.adjoint(whole.forward(x)), **EXACT)


def test_a_mask_with_one_sample_missing_keeps_both_transforms():
    mask = torch.ones(1, 1, 4, 6, dtype=torch.bool)
    assert is_constant_along_readout(mask)
    mask[..., 2, 5] = False
    kspace = gaussian(FRAMES, COILS, 4, 6)
    data, same_mask, axes = decouple_readout_(kspace, mask)
    assert axes == YX
    assert data is kspace
    assert same_mask is mask


@pytest.mark.parametrize(("n", "kept"), [(8, 4), (9, 5), (10, 5), (9, 4)])
def test_cropping_the_readout_keeps_the_pixels_around_the_origin(n, kept):
    image = gaussian(COILS, 5, n)
    start = n // 2 - kept // 2
    cropped = ifft2c(crop_readout(fft2c(image), kept))
    assert_close(cropped, image[..., start : start + kept], **EXACT)


def test_the_operator_of_one_frame_is_that_frame_of_the_operator():
    mask = gaussian(FRAMES, 1, 8, 6, seed=1).real > 0
    encoding = CartesianEncoding(gaussian(1, COILS, 8, 6, seed=2), mask)
    x = gaussian(FRAMES, 8, 6, seed=3)
    assert_close(encoding.of_frame(1).forward(x[1]), encoding.forward(x)[1], **EXACT)


@pytest.mark.parametrize("maps_shape", [(4, COILS, 8, 6), (1, 1, 8, 6), (1, COILS, 8, 1)])
def test_maps_that_would_broadcast_the_data_are_refused(maps_shape):
    mask = torch.ones(1, 1, *maps_shape[-2:], dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"maps: shape .* cannot serve data that need"):
        CartesianEncoding(gaussian(*maps_shape), mask).adjoint(gaussian(FRAMES, COILS, 8, 6))


@pytest.mark.parametrize("mask_shape", [(3, 1, 8, 6), (1, 1, 8, 3)])
def test_masks_that_would_broadcast_the_data_are_refused(mask_shape):
    mask = torch.ones(mask_shape, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"mask: shape .* cannot serve data that need"):
        CartesianEncoding(gaussian(1, COILS, 8, 6), mask).forward(gaussian(FRAMES, 8, 6))
