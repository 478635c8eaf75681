"""The image that the network starts from: SENSE, then what changes over frames made sparse.

Frames that miss different lines complete each other where nothing moves. A few iterations of
shrinking the cosines over frames, all but their mean, find most of what the method `cs` finds of
this; what is sparse in space is left to the network.
"""

import math
from collections.abc import Callable

import torch

from mrcli.nn.normal import conjugate_gradients
from mrcli.physics.compressed_sensing import cosine_transform
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
    image, ahead, momentum = start, start, 1.0
    for _ in range(_TIME_ITERATIONS):
        stepped = ahead - (normal(ahead) - combined)
        previous, image = image, _shrink_changes(stepped, cosines, _THRESHOLD * noise_sigma)
        momentum, before = (1 + math.sqrt(1 + 4 * momentum**2)) / 2, momentum
        ahead = image + (before - 1) / momentum * (image - previous)
    return image


def _shrink_changes(image: Image, cosines: torch.Tensor, threshold: float) -> Image:
    components = torch.einsum("kf,fyx->kyx", cosines, image)
    components[1:] = shrink(components[1:], threshold)
    return torch.einsum("kf,kyx->fyx", cosines, components)
