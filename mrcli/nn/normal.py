"""The normal operator ``A^H A`` as the network uses it: all frames at once, differentiable.

The shifts that center a transform commute with pixel-wise products: images, maps and mask are
shifted once on the way in. Inside, y lies last in memory, where transforms along it are fastest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.fft import fftn, fftshift, ifftn, ifftshift

from mrcli.physics.encoding import Axes, CartesianEncoding
from mrcli.types import Image

PerFrame = Float[Tensor, "frame 1 1"]

ImageYLast = Complex[Tensor, "frame x y"]
MapsYLast = Complex[Tensor, "coil x y"]
MaskYLast = Float[Tensor, "mask_frame 1 readout y"]

_FRAMES_AT_ONCE = 4  # coil images of more need memory and save no time


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class NormalOperator:
    """``A^H A`` of one slice, for images ``(frame, y, x)``."""

    maps: MapsYLast  # origin first, as all that follows
    conjugate: MapsYLast
    mask: MaskYLast
    axes: Axes  # of images ``(frame, y, x)``

    @staticmethod
    def of(encoding: CartesianEncoding) -> "NormalOperator":
        """Return the operator of an encoding whose maps are shared by all frames."""
        maps = _y_last(encoding.maps.flatten(0, -4)[0], encoding.axes)
        mask = _y_last(encoding.mask.flatten(0, -4), encoding.axes).to(maps.real.dtype)
        return NormalOperator(maps, maps.conj().resolve_conj(), mask, encoding.axes)

    def __call__(self, image: Image) -> Image:
        """Return ``A^H A x``."""
        shifted = _y_last(image, self.axes)
        masks = torch.split(self.mask.expand(len(image), -1, -1, -1), _FRAMES_AT_ONCE)
        frames = torch.split(shifted, _FRAMES_AT_ONCE)
        parts = [self._some(some, mask) for some, mask in zip(frames, masks, strict=True)]
        return fftshift(torch.cat(parts).mT, dim=self.axes)

    def _some(self, image: ImageYLast, mask: MaskYLast) -> ImageYLast:
        axes = tuple(-3 - axis for axis in self.axes)  # -2 and -1 have changed places
        kspace = fftn(self.maps * image[:, None], dim=axes, norm="ortho").mul_(mask)
        return ifftn(kspace, dim=axes, norm="ortho").mul_(self.conjugate).sum(1)


def _y_last(centered: Tensor, axes: Axes) -> Tensor:
    return ifftshift(centered, dim=axes).mT.contiguous()


def conjugate_gradients(
    operator: Callable[[Image], Image], right: Image, start: Image, n_iterations: int
) -> Image:
    """Return the image after some iterations on ``operator(x) = right``, frame by frame.

    The number of iterations is fixed: the result is differentiable, and costs the same for all
    (Hestenes and Stiefel 1952, doi:10.6028/jres.049.044).
    """
    solution, residual = start, right - operator(start)
    direction, power = residual, _product(residual, residual)
    for _ in range(n_iterations):
        image = operator(direction)
        step = _ratio(power, _product(direction, image))
        solution = solution + step * direction
        residual = residual - step * image
        previous, power = power, _product(residual, residual)
        direction = residual + _ratio(power, previous) * direction
    return solution


def _product(left: Image, right: Image) -> PerFrame:
    return (left.conj() * right).real.sum((-2, -1), keepdim=True)


def _ratio(numerator: PerFrame, denominator: PerFrame) -> PerFrame:
    positive = denominator > 0
    return torch.where(positive, numerator / torch.where(positive, denominator, 1), 0)
