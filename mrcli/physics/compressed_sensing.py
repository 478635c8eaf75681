"""Compressed sensing: the image that fits the samples and is sparse in space and time.

    x = argmin 1/2 |A x - y|^2 + sigma |T Psi D x|_1

``D`` is the cosine transform over frames, ``Psi`` the spatial wavelet transform, ``T`` the weights
below (Lustig 2007, doi:10.1002/mrm.21391). ``Psi D`` is orthonormal, so that the proximal step is
one shrinkage, taken in fast iterative shrinkage-thresholding (Beck and Teboulle 2009,
doi:10.1137/080716542). Cosines over frames assume neither a periodic nor a smooth course: they only
say that most pixels change little, be it a beating heart or a series of contrasts.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mrcli.physics.encoding import CartesianEncoding
from mrcli.physics.sense import adjoint_image, normal_operator
from mrcli.physics.wavelet import N_LEVELS, shrink_wavelets
from mrcli.types import Image, KSpace

# Thresholds in units of the noise: the steadiest good ones of the sweep that
# tests/benchmarks/cs_weights.py prints; what changes over frames is sparser than what does not.
_STATIC_WEIGHT = 0.3
_DYNAMIC_OVER_STATIC = 2.0
_ITERATIONS = 50
_SEED_OF_SHIFTS = 0


def solve_compressed_sensing(
    encoding: CartesianEncoding, kspace: KSpace, start: Image, noise_sigma: float
) -> Image:
    """Return the sparse image ``(frame, y, x)``, iterating from `start`.

    Maps of unit RSS and a unitary transform bound the largest eigenvalue of ``A^H A`` by 1, which
    is the step. The same input gives the same output: the wavelets move by a fixed sequence.
    """
    normal, combined = normal_operator(encoding), adjoint_image(encoding, kspace)
    shrink = shrinkage(len(start), _STATIC_WEIGHT * noise_sigma)
    return fast_shrinkage(normal, combined, start, shrink, _ITERATIONS)


def shrinkage(n_frames: int, threshold: float) -> Callable[[Image], Image]:
    """Return the proximal step: ``T Psi D x`` made smaller, the wavelets moved at every call.

    `threshold` is that of what does not change over frames.
    """
    generator = torch.Generator().manual_seed(_SEED_OF_SHIFTS)
    cosines, weights = cosine_transform(n_frames), threshold * _weights(n_frames)

    def shrink(image: Image) -> Image:
        rows, columns = torch.randint(2**N_LEVELS, (2,), generator=generator).tolist()
        return _shrink(image, cosines.to(image), weights.to(image.real), (rows, columns))

    return shrink


def fast_shrinkage(
    normal: Callable[[Image], Image],
    combined: Image,
    start: Image,
    shrink: Callable[[Image], Image],
    n_iterations: int,
) -> Image:
    """Return the image after gradient steps of size 1 on ``|A x - y|^2 / 2``, each then shrunk.

    (Beck and Teboulle 2009, doi:10.1137/080716542)
    """
    image, ahead, momentum = start, start, 1.0
    for _ in range(n_iterations):
        stepped = ahead - (normal(ahead) - combined)
        previous, image = image, shrink(stepped)
        momentum, before = (1 + math.sqrt(1 + 4 * momentum**2)) / 2, momentum
        ahead = image + (before - 1) / momentum * (image - previous)
    return image


def cosine_transform(n_frames: int) -> Float[Tensor, "component frame"]:
    """Return the orthonormal cosine transform over frames; row 0 is the mean.

    (Ahmed 1974, doi:10.1109/T-C.1974.223784)
    """
    frame = torch.arange(n_frames, dtype=torch.float64)
    waves = torch.cos(math.pi * torch.outer(frame, frame + 0.5) / n_frames)
    return waves / waves.norm(dim=1, keepdim=True)


def _weights(n_frames: int) -> Float[Tensor, "component 1 1"]:
    dynamic = torch.full((n_frames - 1,), _DYNAMIC_OVER_STATIC)
    return torch.cat([torch.ones(1), dynamic]).reshape(-1, 1, 1)


def _shrink(image: Image, cosines: Tensor, thresholds: Tensor, shift: tuple[int, int]) -> Image:
    components = torch.einsum("kf,fyx->kyx", cosines, image)
    for component, threshold in zip(components, thresholds, strict=True):  # one fits the cache
        component.copy_(shrink_wavelets(component, threshold, shift))
    return torch.einsum("kf,kyx->fyx", cosines, components)
