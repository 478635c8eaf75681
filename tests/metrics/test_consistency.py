"""The consistency residual in closed form, frame by frame, in both domains of the encoding."""

import math

import pytest
import torch

from mrcli.errors import DataError, NotFinite, ShapeError
from mrcli.metrics.consistency import consistency_residual
from mrcli.physics.encoding import CartesianEncoding, decouple_readout_

COILS = 3


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def line_mask(n_frames: int, n_y: int, n_x: int) -> torch.Tensor:
    lines = torch.arange(n_y).add(torch.arange(n_frames)[:, None]) % 2 == 0
    return lines[:, None, :, None].expand(n_frames, 1, n_y, n_x)


@pytest.mark.parametrize("matrix", [(8, 6), (7, 5)])
@pytest.mark.parametrize("n_maps", [1, 2])
def test_an_image_a_factor_too_bright_misses_by_that_factor(matrix, n_maps):
    encoding = CartesianEncoding(gaussian(n_maps, COILS, *matrix, seed=1), line_mask(2, *matrix))
    image = gaussian(2, *matrix)
    kspace = encoding.forward(image)
    assert consistency_residual(image, encoding, kspace) == 0
    assert consistency_residual(1.25 * image, encoding, kspace) == pytest.approx(0.25, rel=1e-12)


def test_frames_add_as_energies():
    # frame 0 is right and carries 9 of 25 parts of the energy, frame 1 is zero and misses all of 16
    encoding = CartesianEncoding(torch.ones(1, 1, 4, 4, dtype=torch.complex128), line_mask(1, 4, 4))
    point = torch.zeros(2, 4, 4, dtype=torch.complex128)
    point[0, 2, 2], point[1, 2, 2] = 3, 4
    kspace = encoding.forward(point)
    point[1] = 0
    assert consistency_residual(point, encoding, kspace) == pytest.approx(4 / 5, rel=1e-12)


def test_what_was_not_measured_does_not_count():
    mask = line_mask(2, 6, 5)
    encoding = CartesianEncoding(gaussian(1, COILS, 6, 5, seed=1), mask)
    image = gaussian(2, 6, 5)
    littered = encoding.forward(image) + ~mask * gaussian(2, COILS, 6, 5, seed=2)
    assert consistency_residual(image, encoding, littered) == 0


def test_a_readout_transformed_once_gives_the_same_residual():
    maps, mask = gaussian(1, COILS, 8, 5, seed=1), line_mask(2, 8, 5)
    image, kspace = gaussian(2, 8, 5), gaussian(2, COILS, 8, 5, seed=2)
    in_kspace = consistency_residual(image, CartesianEncoding(maps, mask), kspace)
    hybrid, lines, axes = decouple_readout_(kspace, mask)
    in_hybrid = consistency_residual(image, CartesianEncoding(maps, lines, axes), hybrid)
    assert in_hybrid == pytest.approx(in_kspace, rel=1e-12)


@pytest.mark.parametrize("factor", [1e-30, 1e-9, 1e9, 1e30])
def test_scale_cancels(factor):
    encoding = CartesianEncoding(gaussian(1, COILS, 6, 5, seed=1), line_mask(1, 6, 5))
    image, kspace = gaussian(2, 6, 5), gaussian(2, COILS, 6, 5, seed=2)
    expected = consistency_residual(image, encoding, kspace)
    assert consistency_residual(factor * image, encoding, factor * kspace) == pytest.approx(
        expected, rel=1e-12
    )


def test_nothing_measured_has_no_residual():
    encoding = CartesianEncoding(gaussian(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    with pytest.raises(DataError, match="no measured sample"):
        consistency_residual(gaussian(1, 4, 4), encoding, gaussian(1, 1, 4, 4))


def test_a_value_that_is_not_finite_is_refused():
    encoding = CartesianEncoding(gaussian(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool))
    image = gaussian(1, 4, 4)
    image[0, 1, 1] = math.nan
    with pytest.raises(NotFinite):
        consistency_residual(image, encoding, gaussian(1, 1, 4, 4))


def test_frames_that_do_not_pair_are_refused():
    encoding = CartesianEncoding(gaussian(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match="needed are as many"):
        consistency_residual(gaussian(2, 4, 4), encoding, gaussian(3, 1, 4, 4))
