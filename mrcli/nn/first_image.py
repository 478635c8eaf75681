"""The image that the network starts from: SENSE, then some iterations of the method `cs`.

Frames that miss different lines complete each other where nothing moves; what little the prior of
`cs` knows needs no network. Spokes take more iterations than lines to fill what they leave out.
"""

from collections.abc import Callable

import torch

from mrcli.nn.normal import conjugate_gradients
from mrcli.physics.compressed_sensing import fast_shrinkage, shrinkage
from mrcli.physics.encoding import Y_ONLY, Axes
from mrcli.types import Image

_SENSE_ITERATIONS = 8
_ITERATIONS_OF_LINES, _ITERATIONS_OF_POINTS = 16, 32
# In units of the noise. Twice that of `cs` for lines: what they fold is taken off sooner, and the
# network brings back what was taken too much (`docs/adr/0010`).
_THRESHOLD_OF_LINES, _THRESHOLD_OF_POINTS = 0.6, 0.3


def sense_image(normal: Callable[[Image], Image], combined: Image, regularization: float) -> Image:
    """Return SENSE after some iterations of conjugate gradients from zero."""
    return conjugate_gradients(
        lambda image: normal(image) + regularization * image,
        combined,
        torch.zeros_like(combined),
        _SENSE_ITERATIONS,
    )


def sparse_image(
    normal: Callable[[Image], Image], combined: Image, start: Image, noise_sigma: float, axes: Axes
) -> Image:
    """Return the image after some iterations of fast shrinkage from `start`."""
    is_lines = axes == Y_ONLY
    n_iterations = _ITERATIONS_OF_LINES if is_lines else _ITERATIONS_OF_POINTS
    threshold = _THRESHOLD_OF_LINES if is_lines else _THRESHOLD_OF_POINTS
    shrink = shrinkage(len(start), threshold * noise_sigma)
    return fast_shrinkage(normal, combined, start, shrink, n_iterations)
