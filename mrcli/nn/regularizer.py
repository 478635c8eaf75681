"""The regulariser of one cascade: a two-level network on features at half resolution.

Pixels of 2 x 2 become channels, so that a convolution costs a quarter. Time enters by exchange of
channels between neighbouring frames and with the mean of all frames, which costs no arithmetic and
leaves one frame what it is.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional

from mrcli.nn.slots import Features, SlottedConv

Context = Float[Tensor, " fact"]
ImageChannels = Float[Tensor, "frame image y x"]
OneAsChannels = Float[Tensor, "frame 8 half_y half_x"]

_SLOPE = 0.1
_SHUFFLE = 2  # pixels along each axis that become channels
MULTIPLE = 4  # sizes that the two levels need


@dataclass(frozen=True)
class Widths:
    """The sizes of a regulariser."""

    fine: int  # channels at half resolution
    coarse: int  # channels at a quarter
    n_coarse_blocks: int
    n_facts: int  # numbers that describe the acquisition


class ResidualBlock(nn.Module):
    """``h + conv(act(conv(exchange(h))))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = SlottedConv(width, width)
        self.second = SlottedConv(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Features) -> Features:
        """Return the features, refined."""
        hidden = functional.leaky_relu_(self.first(exchange_frames(features)), _SLOPE)
        return features + self.second(hidden)


class Regularizer(nn.Module):
    """From images and carried features to a correction of the image and new features."""

    def __init__(self, n_images: int, widths: Widths) -> None:
        super().__init__()
        fine, coarse = widths.fine, widths.coarse
        n_in = n_images * 2 * _SHUFFLE**2
        self.head = SlottedConv(n_in + fine, fine)
        self.facts = nn.Linear(widths.n_facts, 2 * fine)
        self.before = ResidualBlock(fine)
        self.down = nn.Conv2d(fine, coarse, 2, stride=2)
        self.coarse = nn.Sequential(*(ResidualBlock(coarse) for _ in range(widths.n_coarse_blocks)))
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.after = ResidualBlock(fine)
        self.tail = SlottedConv(fine, 2 * _SHUFFLE**2, slot=False)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.facts.weight)
        nn.init.zeros_(self.facts.bias)

    def forward(
        self, images: ImageChannels, carried: Features, facts: Context
    ) -> tuple[OneAsChannels, Features]:
        """Return a correction ``(frame, 2 * 4, y / 2, x / 2)`` and the features to carry on."""
        gain, offset = self.facts(facts)[:, None, None].chunk(2)
        hidden = self.head(torch.cat([images.to(carried.dtype), carried], 1))
        fine = carried + functional.leaky_relu_(hidden * (1 + gain) + offset, _SLOPE)
        fine = self.before(fine)
        coarse = self.coarse(functional.leaky_relu_(self.down(fine), _SLOPE))
        fine = self.after(fine + functional.pixel_shuffle(self.up(coarse), 2))
        return self.tail(fine), fine


def exchange_frames(features: Features) -> Features:
    """Move an eighth of the channels one frame on, one back, and replace one by its mean.

    At the first and last frame the frame itself takes the place of the missing neighbour
    (shifts: Lin 2019, doi:10.1109/ICCV.2019.00718).
    """
    if len(features) == 1:
        return features
    n = features.shape[1] // 8
    before, after, mean, own = torch.split(features, [n, n, n, features.shape[1] - 3 * n], 1)
    before = torch.cat([before[:1], before[:-1]])
    after = torch.cat([after[1:], after[-1:]])
    mean = mean.mean(0, keepdim=True).expand_as(mean)
    mean = mean.contiguous(memory_format=torch.channels_last)  # else all would lose this layout
    return torch.cat([before, after, mean, own], 1)


def to_channels(image: Complex[Tensor, "frame y x"]) -> OneAsChannels:
    """Return real and imaginary parts of 2 x 2 pixels as 8 channels."""
    parts = torch.view_as_real(image).permute(0, 3, 1, 2)
    return functional.pixel_unshuffle(parts, _SHUFFLE)


def from_channels(channels: OneAsChannels) -> Complex[Tensor, "frame y x"]:
    """Return the image of 8 channels; inverse of `to_channels`."""
    at_least_single = channels.to(torch.promote_types(channels.dtype, torch.float32))
    parts = functional.pixel_shuffle(at_least_single, _SHUFFLE)
    return torch.view_as_complex(parts.permute(0, 2, 3, 1).contiguous())
