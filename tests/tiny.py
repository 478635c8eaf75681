"""Tiny made-up samples and networks, for trainings that take no time."""

import torch

from mrcli.nn.backbone import BackboneSpec
from mrcli.nn.inputs import N_FACTS, NetworkInput
from mrcli.physics.encoding import Y_ONLY, YX, CartesianEncoding
from mrcli.training.curriculum import MASKS_PER_GROUP
from mrcli.training.pool import Pool, save_sample
from mrcli.training.samples import Sample

SPEC = BackboneSpec(n_cascades=2, fine=8, coarse=8, n_final_iterations=1)


def complex_noise(*shape, seed=0):
    """Return complex numbers of standard deviation one along each axis."""
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def tiny_sample(number=0, site="North/Vida", modality="Cine", *, size=(2, 8, 12), axes=Y_ONLY):
    """Return a sample of a random image behind two random coils, every other line acquired."""
    n_frames, n_y, n_x = size
    maps = complex_noise(2, n_y, n_x, seed=1)
    maps = maps / maps.abs().square().sum(0).sqrt()
    mask = torch.zeros(n_frames, 1, n_y, 1 if axes == Y_ONLY else n_x, dtype=torch.bool)
    mask[:, :, ::2] = True
    encoding = CartesianEncoding(maps.unsqueeze(0), mask, axes)
    target = complex_noise(*size, seed=number)
    combined = encoding.adjoint(encoding.forward(target))
    average = combined.mean(0, keepdim=True)
    facts = torch.zeros(N_FACTS)
    given = NetworkInput(combined, 0.9 * combined, average, maps, mask, axes, facts, 1.0)
    return Sample(given, target, modality, site)


def fill_pool(pool: Pool, numbers):
    """Write tiny samples for some numbers, each of the site and protocol that its number has."""
    for number in numbers:
        scan = pool.curriculum.slice_of(number // MASKS_PER_GROUP).scan
        axes = YX if number % 5 == 0 else Y_ONLY
        sample = tiny_sample(number, scan.site.name, scan.protocol.modality, axes=axes)
        save_sample(sample, pool._path(number))
