"""The classical methods by name: each turns an encoded slice into its image.

The network is a method too, but has to be loaded first: `mrcli.network_method`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mrcli.physics.compressed_sensing import solve_compressed_sensing
from mrcli.physics.encoding import CartesianEncoding
from mrcli.physics.sense import (
    adjoint_image,
    map_error_regularization,
    solve_sense,
    wiener_regularization,
)
from mrcli.types import Image, KSpace, SamplingMask


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class EncodedSlice:
    """All that a method needs: the encoding, the data in its domain, calibration, noise."""

    encoding: CartesianEncoding
    kspace: KSpace  # (frame, coil, y, x)
    calibrated: SamplingMask  # samples that the maps come from
    noise_sigma: float  # in the units of `kspace`


def zero_filled(data: EncodedSlice) -> Image:
    """Return ``A^H y``: coil-combined, unacquired samples zero."""
    return adjoint_image(data.encoding, data.kspace)


def sense(data: EncodedSlice) -> Image:
    """Return the SENSE image, regularised by noise power over signal power and errors of maps."""
    weight = wiener_regularization(data.encoding, data.kspace, data.noise_sigma, data.calibrated)
    weight += map_error_regularization(data.encoding)
    return solve_sense(data.encoding, data.kspace, weight)


def compressed_sensing(data: EncodedSlice) -> Image:
    """Return the image that is sparse in space and over frames, starting from SENSE."""
    return solve_compressed_sensing(data.encoding, data.kspace, sense(data), data.noise_sigma)


Method = Callable[[EncodedSlice], Image]

METHODS: Mapping[str, Method] = MappingProxyType(
    {"zero-filled": zero_filled, "sense": sense, "cs": compressed_sensing}
)
