"""The forms that an adapter can have at one slot. All begin as the identity.

    scale-shift   h -> (1 + g) h + b             2 C numbers
    low-rank      h -> h + U V h                 2 r C
    combined      both                           2 C + 2 r C
    bottleneck    h -> h + U act(V h)            2 r C, does not merge

`C` is the number of channels, `r` the rank. Linear forms merge into the convolution before them
(scale and shift: Perez 2018, arXiv:1709.07871; low rank: Hu 2022, arXiv:2106.09685;
bottleneck: Houlsby 2019, arXiv:1902.00751).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional

from mrcli.nn.slots import Features, Kernel, Offset

_SLOPE = 0.1


class ScaleShift(nn.Module):
    """``h -> (1 + g) h + b``."""

    def __init__(self, n_channels: int, rank: int = 0) -> None:
        super().__init__()
        del rank
        self.gain = nn.Parameter(torch.zeros(n_channels))
        self.offset = nn.Parameter(torch.zeros(n_channels))

    def merge(self, weight: Kernel, bias: Offset) -> tuple[Kernel, Offset]:
        """Return weight and bias of the adapted convolution."""
        scale = 1 + self.gain
        return scale[:, None, None, None] * weight, scale * bias + self.offset


class LowRank(nn.Module):
    """``h -> h + U V h``."""

    def __init__(self, n_channels: int, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(n_channels, rank))
        self.down = nn.Parameter(torch.randn(rank, n_channels) / n_channels**0.5)

    def merge(self, weight: Kernel, bias: Offset) -> tuple[Kernel, Offset]:
        """Return weight and bias of the adapted convolution."""
        narrow = (self.down @ weight.flatten(1)).reshape(-1, *weight.shape[1:])
        change = (self.up @ narrow.flatten(1)).reshape(weight.shape)
        return weight + change, bias + self.up @ (self.down @ bias)


class Combined(nn.Module):
    """Scale and shift after low rank."""

    def __init__(self, n_channels: int, rank: int) -> None:
        super().__init__()
        self.low_rank = LowRank(n_channels, rank)
        self.scale_shift = ScaleShift(n_channels)

    def merge(self, weight: Kernel, bias: Offset) -> tuple[Kernel, Offset]:
        """Return weight and bias of the adapted convolution."""
        return self.scale_shift.merge(*self.low_rank.merge(weight, bias))


class Bottleneck(nn.Module):
    """``h -> h + U act(V h)``."""

    def __init__(self, n_channels: int, rank: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.zeros(n_channels, rank))
        self.down = nn.Parameter(torch.randn(rank, n_channels) / n_channels**0.5)

    def forward(self, features: Features) -> Features:
        """Return the adapted features."""
        hidden = functional.conv2d(features, self.down[:, :, None, None])
        hidden = functional.leaky_relu(hidden, _SLOPE)
        return features + functional.conv2d(hidden, self.up[:, :, None, None])


FORMS: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
    {
        "scale-shift": ScaleShift,
        "low-rank": LowRank,
        "combined": Combined,
        "bottleneck": Bottleneck,
    }
)
