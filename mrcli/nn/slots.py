"""Convolutions with a slot: the places where adapters change the network.

A linear adapter acts on the output of a convolution as ``h -> T h + t``, a matrix over channels
and an offset, which is the same as a convolution with other weights. So an adapted network costs
the same time as a plain one, in training as in use, and without adapters it is the plain one, bit
for bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Features = Float[Tensor, "frame channel y x"]
FeaturesOut = Float[Tensor, "frame out y x"]
Kernel = Float[Tensor, "out in ky kx"]
Offset = Float[Tensor, " channel"]


@runtime_checkable
class Linear(Protocol):
    """An adapter of one slot that merges into the convolution before it."""

    def merge(self, weight: Kernel, bias: Offset) -> tuple[Kernel, Offset]:
        """Return weight and bias of the adapted convolution."""


@runtime_checkable
class Nonlinear(Protocol):
    """An adapter of one slot that acts on features."""

    def __call__(self, features: Features) -> Features:
        """Return the adapted features."""


class SlottedConv(nn.Module):
    """A convolution that keeps the size of the image, then its adapters, in their order."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 3, *, slot: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.has_slot = slot
        self.attached: tuple[Linear | Nonlinear, ...] = ()
        nn.init.kaiming_normal_(self.weight, a=0.2)

    @property
    def n_channels(self) -> int:
        """Return how many channels an adapter of this slot sees."""
        return len(self.bias)

    def forward(self, features: Features) -> FeaturesOut:
        """Return the adapted convolution of the features."""
        weight: Kernel = self.weight
        bias: Offset = self.bias
        for adapter in self.attached:
            if isinstance(adapter, Linear):
                weight, bias = adapter.merge(weight, bias)
        out = functional.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)
        for adapter in self.attached:
            if not isinstance(adapter, Linear):
                out = adapter(out)
        return out


SlotAdapters = Mapping[str, Linear | Nonlinear]


def slots(network: nn.Module) -> dict[str, SlottedConv]:
    """Return the slots of a network by name."""
    named = network.named_modules()
    return {name: one for name, one in named if isinstance(one, SlottedConv) and one.has_slot}


@contextmanager
def attached(network: nn.Module, adapters: Sequence[SlotAdapters]) -> Iterator[None]:
    """Let adapters act within the block, first to last; afterwards the network is plain again."""
    places = slots(network)
    try:
        for name, place in places.items():
            place.attached = tuple(one[name] for one in adapters if name in one)
        yield
    finally:
        for place in places.values():
            place.attached = ()
