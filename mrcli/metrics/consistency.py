"""How well an image explains the samples that were measured; needs no reference."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.linalg import vector_norm

from mrcli.errors import DataError, NotFinite, ShapeError
from mrcli.physics.encoding import CartesianEncoding
from mrcli.types import Image, KSpace


def consistency_residual(image: Image, encoding: CartesianEncoding, kspace: KSpace) -> float:
    """Return ``|M A x - M y| / |M y|`` over all frames.

    `image` is ``(frame, y, x)``, `kspace` ``(frame, coil, y, x)`` in the domain of `encoding`
    (its readout already transformed if ``encoding.axes`` says so). Works frame by frame, so that
    one frame of coil images is the largest array. Raises `DataError` where no sample was measured.
    """
    if image.ndim != 3 or kspace.ndim != 4 or image.shape[0] != kspace.shape[0]:
        raise ShapeError(
            f"image of shape {tuple(image.shape)} needs to be (frame, y, x) and k-space of shape "
            f"{tuple(kspace.shape)} (frame, coil, y, x), with as many frames"
        )
    residuals, measured = [], []
    for frame, (x, y) in enumerate(zip(image, kspace, strict=True)):
        one = _encoding_of_frame(encoding, frame)
        acquired = one.mask * y
        residuals.append(_norm(one.forward(x) - acquired))
        measured.append(_norm(acquired))
    return _ratio(math.hypot(*residuals), math.hypot(*measured))


def _encoding_of_frame(encoding: CartesianEncoding, frame: int) -> CartesianEncoding:
    maps, mask = _frame_of(encoding.maps, frame), _frame_of(encoding.mask, frame)
    return replace(encoding, maps=maps, mask=mask)


def _frame_of(shareable: Tensor, frame: int) -> Tensor:
    if shareable.ndim == 3:
        return shareable
    return shareable[frame if shareable.shape[0] > 1 else 0]


def _norm(values: Tensor) -> float:
    return float(vector_norm(values, dtype=torch.complex128))


def _ratio(residual: float, measured: float) -> float:
    if not (math.isfinite(residual) and math.isfinite(measured)):
        raise NotFinite("the image or the measured samples hold values that are not finite")
    if measured == 0:
        raise DataError("no measured sample is other than zero: consistency has no meaning")
    return residual / measured
