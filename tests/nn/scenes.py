"""Small scenes and networks for the tests of `mrcli.nn` and `mrcli.adapters`."""

from dataclasses import replace

import torch

from mrcli.nn.backbone import Backbone, BackboneSpec
from mrcli.nn.inputs import prepare
from mrcli.physics.encoding import Y_ONLY, CartesianEncoding

TINY = BackboneSpec(n_cascades=2, fine=16, coarse=24, n_coarse_blocks=2, n_final_iterations=3)


def gaussian(*shape, seed=0, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def unit_maps(n_coils, matrix, dtype=torch.complex128):
    maps = gaussian(1, n_coils, *matrix, seed=2, dtype=dtype)
    return maps / maps.abs().square().sum(1, keepdim=True).sqrt()


def line_mask(n_frames, n_y, readout=1, share=0.5):
    """Random lines or samples, the middle ones always."""
    mask = torch.rand(n_frames, 1, n_y, readout, generator=torch.Generator().manual_seed(3)) < share
    mask[:, :, n_y // 2 - n_y // 8 : n_y // 2 + 1] = True
    return mask


def scene(n_frames=3, n_coils=4, matrix=(12, 10), *, axes=Y_ONLY, shared=False, sigma=0.01):
    """Return encoding, noisy data, calibrated samples and sigma, in single precision."""
    n_y, n_x = matrix
    mask = line_mask(1 if shared else n_frames, n_y, 1 if axes == Y_ONLY else n_x)
    calibrated = mask.all(0, keepdim=True)
    encoding = CartesianEncoding(unit_maps(n_coils, matrix, torch.complex64), mask, axes)
    image = 1 + 0.3 * gaussian(n_frames, *matrix, seed=4, dtype=torch.complex64)
    kspace = encoding.forward(image)
    noise = sigma * gaussian(*kspace.shape, seed=5, dtype=torch.complex64)
    return encoding, kspace + mask * noise, calibrated, sigma


def given(*args, **kwargs):
    with torch.no_grad():
        return prepare(*scene(*args, **kwargs))


def in_double(one):
    """Return a network input in double precision."""
    wide = {
        name: value.to(torch.promote_types(value.dtype, torch.float64))
        for name, value in vars(one).items()
        if isinstance(value, torch.Tensor) and value.dtype != torch.bool
    }
    return replace(one, **wide)


def perturbed(network, size=0.05, seed=0):
    """Return the network with noise on every weight: what begins at zero is seen by tests."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in network.parameters():
            one.add_(size * torch.randn(one.shape, generator=generator))
    return network


def new_backbone(spec=TINY, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Backbone(spec)


def trained(spec=TINY):
    """Return a backbone whose every weight acts."""
    return perturbed(new_backbone(spec))
