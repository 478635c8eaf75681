"""How well an image explains the samples that were measured; needs no reference."""

import math

import torch
from jaxtyping import Complex
from torch import Tensor
from torch.linalg import vector_norm

from mrcli.errors import DataError, NotFinite, ShapeError
from mrcli.physics.encoding import CartesianEncoding


def consistency_residual(
    image: Complex[Tensor, "image_frame y x"],
    encoding: CartesianEncoding,
    kspace: Complex[Tensor, "frame coil y x"],
) -> float:
    """Return ``|M A x - M y| / |M y|`` over all frames.

    `kspace` is in the domain of `encoding` (its readout already transformed if ``encoding.axes``
    says so). Works frame by frame, so that one frame of coil images is the largest array. Raises
    `DataError` where no sample was measured.
    """
    if len(image) != len(kspace):
        raise ShapeError(
            f"an image of {len(image)} frames and k-space of {len(kspace)}, needed are as many"
        )
    residuals, measured = [], []
    for frame, (x, y) in enumerate(zip(image, kspace, strict=True)):
        one = encoding.of_frame(frame)
        acquired = one.mask * y
        residuals.append(_norm(one.forward(x) - acquired))
        measured.append(_norm(acquired))
    return _ratio(math.hypot(*residuals), math.hypot(*measured))


def _norm(values: Tensor) -> float:
    return float(vector_norm(values, dtype=torch.complex128))


def _ratio(residual: float, measured: float) -> float:
    if not (math.isfinite(residual) and math.isfinite(measured)):
        raise NotFinite("the image or the measured samples hold values that are not finite")
    if measured == 0:
        raise DataError("no measured sample is other than zero: consistency has no meaning")
    return residual / measured
