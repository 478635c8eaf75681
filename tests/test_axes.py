"""Where the energy of k-space lies: in the middle of the axes, unless something is wrong."""

import pytest
import torch

from mrcli.axes import gathering
from mrcli.findings import Severity
from planted import faults, found, phantom

TO_CORNER = {"dim": (-2, -1)}


def point_object(matrix=(64, 80), size=3):
    """K-space of a bright square of a few pixels, with noise."""
    y, x = (torch.arange(n) - n // 2 for n in matrix)
    square = (y.abs()[:, None] <= size // 2) & (x.abs() <= size // 2)
    image = square.to(torch.complex64).expand(1, 1, 2, *matrix)
    kspace = torch.fft.fftshift(
        torch.fft.fft2(torch.fft.ifftshift(image, **TO_CORNER)), **TO_CORNER
    )
    random = torch.Generator().manual_seed(0)
    return kspace + 0.01 * torch.randn(kspace.shape, dtype=torch.complex64, generator=random)


@pytest.mark.parametrize(("n", "n_middle"), [(64, 17), (65, 17), (9, 3), (7, 3), (128, 33)])
def test_the_middle_is_a_quarter_of_an_axis_and_the_origin(n, n_middle):
    for reach, expected in ((n_middle // 2, 1.0), (n_middle // 2 + 1, -n_middle / (n - n_middle))):
        for side in (-reach, reach):
            energy = torch.zeros(n, dtype=torch.float64)
            energy[n // 2 + side] = 2.5
            assert float(gathering(energy)) == pytest.approx(expected)


def test_even_energy_gathers_nowhere():
    assert gathering(torch.ones(40, dtype=torch.float64)) == pytest.approx(0)
    assert gathering(torch.ones(1, dtype=torch.float64)) == 0


def test_k_space_of_a_point_object_is_no_image():
    assert "image-space-data" not in faults(point_object())


@pytest.mark.parametrize("level", [2.0, 50.0])
def test_a_spike_above_the_echo_is_a_spike_and_no_origin(level):
    kspace = phantom()
    kspace[2, 1, :, 3, 50] = level * kspace.abs().amax()
    codes = faults(kspace)
    assert "spike" in codes
    assert "origin-off-center" not in codes


def test_an_echo_in_the_corner_is_no_spike():
    kspace = torch.fft.ifftshift(phantom(), **TO_CORNER)
    kspace[..., 0, 0] *= 20  # a smooth object: the origin stands far above its neighbors
    assert faults(kspace) == {"origin-off-center"}
    finding = found(kspace)["origin-off-center"]
    assert finding.severity is Severity.WARNING
    assert "y 0, x 0" in finding.message
