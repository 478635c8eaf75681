"""The image that the network starts from: SENSE, then what changes over frames made sparse.

Frames that miss different lines complete each other where nothing moves. A few iterations of
shrinking the cosines over frames, all but their mean, find most of what the method `cs` finds of
this; what is sparse in space is left to the network.
"""

from collections.abc import Callable

import torch

from mrcli.nn.normal import conjugate_gradients
from mrcli.physics.compressed_sensing import cosine_transform, fast_shrinkage
from mrcli.physics.wavelet import shrink
from mrcli.types import Image

_SENSE_ITERATIONS = 8
_TIME_ITERATIONS = 12
_THRESHOLD = 0.6  # of the noise, as `cs` has it for what changes


def sense_image(normal: Callable[[Image], Image], combined: Image, regularization: float) -> Image:
    """Return SENSE after some iterations of conjugate gradients from zero."""
    return conjugate_gradients(
        lambda image: normal(image) + regularization * image,
        combined,
        torch.zeros_like(combined),
        _SENSE_ITERATIONS,
    )


def sparse_over_time(
    normal: Callable[[Image], Image], combined: Image, start: Image, noise_sigma: float
) -> Image:
    """Return the image after some iterations of fast shrinkage from `start`.

    One frame is returned as it is (Beck and Teboulle 2009, doi:10.1137/080716542).
    """
    if len(start) == 1:
        return start
    cosines = cosine_transform(len(start)).to(start)

    def shrink_changes(image: Image) -> Image:
        return _shrink_changes(image, cosines, _THRESHOLD * noise_sigma)

    return fast_shrinkage(normal, combined, start, shrink_changes, _TIME_ITERATIONS)


def _shrink_changes(image: Image, cosines: torch.Tensor, threshold: float) -> Image:
    components = torch.einsum("kf,fyx->kyx", cosines, image)
    components[1:] = shrink(components[1:], threshold)
    return torch.einsum("kf,kyx->fyx", cosines, components)
