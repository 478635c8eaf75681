"""The backbone: cascades of a gradient of data consistency and a learned regulariser.

    x_0     = the sparse image of `mrcli.nn.first_image`
    x_k+1   = x_k - eta_k A^H (A x_k - y) + g_k R_k(x_k, A^H (A x_k - y), h_k)
    x       = argmin |A x - y|^2 + lambda |x - x_K|^2      some iterations, from x_K

Each cascade hands its features ``h`` on to the next; data consistency comes last. How large a
correction is, ``g``, follows what is known of the scan: errors span two decades.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mrcli.nn.inputs import N_FACTS, NetworkInput
from mrcli.nn.normal import NormalOperator, conjugate_gradients
from mrcli.nn.regularizer import (
    MULTIPLE,
    Regularizer,
    Widths,
    from_channels,
    to_channels,
)
from mrcli.types import Image

_N_IMAGES = 2  # that a cascade sees: the image and the gradient of data consistency
_CHANGE = 0.1  # of the image: how large gradients and corrections are
_FIRST_STEP = 0.1  # the first image fits the data already
_STEM_IMAGES = 2  # the first image and the time average


@dataclass(frozen=True)
class BackboneSpec:
    """What has to be known to build a backbone."""

    n_cascades: int = 8
    fine: int = 40
    coarse: int = 80
    n_coarse_blocks: int = 1
    n_final_iterations: int = 3

    def document(self) -> dict[str, int]:
        """Return the JSON form."""
        return asdict(self)


SMALL = BackboneSpec()
BASE = BackboneSpec(n_cascades=12, fine=80, coarse=184, n_coarse_blocks=2)
SPECS = {"small": SMALL, "base": BASE}


class Backbone(nn.Module):
    """The network of one spec; `forward` takes one slice, all frames together."""

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = Widths(spec.fine, spec.coarse, spec.n_coarse_blocks, N_FACTS)
        self.stem = nn.Conv2d(_STEM_IMAGES * 8, spec.fine, 3, padding=1)
        self.cascades = nn.ModuleList(
            Regularizer(_N_IMAGES, widths) for _ in range(spec.n_cascades)
        )
        self.steps = nn.Parameter(torch.full((spec.n_cascades,), _FIRST_STEP))
        self.trust = nn.Linear(N_FACTS, 1)  # log10 lambda of the last step
        self.gains = nn.Linear(N_FACTS, spec.n_cascades)  # log10 g
        nn.init.zeros_(self.trust.weight)
        nn.init.zeros_(self.gains.weight)
        nn.init.zeros_(self.gains.bias)
        nn.init.constant_(self.trust.bias, -1.0)

    def forward(self, given: NetworkInput, dtype: torch.dtype = torch.float32) -> Image:
        """Return the image ``(frame, y, x)`` in the units of `given`, divided by its scale.

        Convolutions run in `dtype`, what belongs to data consistency in single precision. Another
        global phase of the data gives another image: real and imaginary parts are channels.
        """
        normal = NormalOperator.of(given.encoding)
        image, gains = given.start, 10 ** self.gains(given.facts)
        with torch.autocast(image.device.type, dtype, enabled=dtype != torch.float32):
            average = given.average - given.start.mean(0, keepdim=True)
            features = self.stem(_channels(image, average.expand_as(image)))
            for cascade, step, gain in zip(self.cascades, self.steps, gains, strict=True):
                gradient = normal(image) - given.combined
                seen = _channels(image, gradient / _CHANGE)
                change, features = cascade(seen, features, given.facts)
                image = image - step * gradient + _CHANGE * gain * _cropped(change, image)
        return self._consistent(image, given, normal)

    def _consistent(self, image: Image, given: NetworkInput, normal: NormalOperator) -> Image:
        """Return the image that fits the data and stays near `image`."""
        weight = 10 ** self.trust(given.facts)
        return conjugate_gradients(
            lambda one: normal(one) + weight * one,
            given.combined + weight * image,
            image,
            self.spec.n_final_iterations,
        )


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers a network learns."""
    return sum(one.numel() for one in network.parameters())


def _channels(first: Image, second: Image) -> Tensor:
    """Return two images as channels, padded to the sizes that the levels need."""
    n_y, n_x = first.shape[-2:]
    padding = (0, -n_x % MULTIPLE, 0, -n_y % MULTIPLE)
    images = [to_channels(functional.pad(one, padding)) for one in (first, second)]
    return torch.cat(images, 1).contiguous(memory_format=torch.channels_last)


def _cropped(change: Tensor, like: Image) -> Image:
    return from_channels(change)[..., : like.shape[-2], : like.shape[-1]]
