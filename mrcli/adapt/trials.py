"""Trials: what a network is given of a scan, and what tells how good its image is.

A trial with a *target* knows the coil-combined image of full sampling; one with *withheld* samples
knows k-space that the network was not given. Both are complex: noise moves them about the truth and
biases neither, which the magnitude of noisy coils would be. What a reader sees is the magnitude;
its error is judged by the part of the target that is in phase with the image, which has no noise
floor either: an adapter that only turns phases gains nothing.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mrcli.nn.inputs import NetworkInput
from mrcli.physics.encoding import Y_ONLY, CartesianEncoding
from mrcli.types import Image, SamplingMask

Scalar = Float[Tensor, ""]
VirtualKSpace = Complex[Tensor, "frame virtual y x"]

FEWEST_COLUMNS = 16


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Withheld:
    """Samples that the network was not given, in the units of its input."""

    kspace: VirtualKSpace
    mask: SamplingMask

    def to(self, device: str) -> "Withheld":
        """Return the same on a device."""
        return Withheld(self.kspace.to(device), self.mask.to(device))


@dataclass(frozen=True, eq=False)
class Trial:
    """One slice of one scan under one sampling; exactly one of target and withheld is there."""

    given: NetworkInput
    modality: str | None
    condition: str  # the sampling in words, such as Uniform8
    target: Image | None = None
    withheld: Withheld | None = None

    def to(self, device: str) -> "Trial":
        """Return the same on a device."""
        return replace(
            self,
            given=self.given.to(device),
            target=None if self.target is None else self.target.to(device),
            withheld=None if self.withheld is None else self.withheld.to(device),
        )

    @property
    def classical_db(self) -> float:
        """Return the error of the classical twin: the image that the network starts from."""
        return self.decibels_of(self.given.start)

    @property
    def kind(self) -> str:
        """Return what judges: ``target`` or ``withheld``."""
        return "withheld" if self.target is None else "target"

    def error(self, image: Image) -> Scalar:
        """Return the energy of the complex error over that of what is known, noise included."""
        difference, known = self._difference(image)
        return difference.abs().square().sum() / known.abs().square().sum()

    def visible_error(self, image: Image) -> Scalar:
        """Return the same of the magnitude; withheld samples tell of the complex error only."""
        if self.target is None:
            return self.error(image)
        in_phase = (self.target * image.detach().sgn().conj()).real
        difference = (image.abs() - in_phase).square().sum()
        return difference / self.target.abs().square().sum()

    def loss(self, image: Image) -> Scalar:
        """Return what fitting makes small: both errors in decibels."""
        if self.target is None:
            return decibels(self.error(image))
        return decibels(self.error(image)) + decibels(self.visible_error(image))

    def decibels_of(self, image: Image) -> float:
        """Return the error of the magnitude in decibels; nothing is learned from it."""
        with torch.inference_mode():
            return float(decibels(self.visible_error(image)))

    def _difference(self, image: Image) -> tuple[Tensor, Tensor]:
        if self.withheld is None:
            assert self.target is not None
            return image - self.target, self.target
        given, mask = self.given, self.withheld.mask
        encoding = CartesianEncoding(given.maps.unsqueeze(0), mask, given.axes)
        return encoding.forward(image) - self.withheld.kspace, self.withheld.kspace


def part_of(trial: Trial, position: float, most_pixels: int) -> Trial:
    """Return as much of a trial as `most_pixels` allow, at a position of 0 to 1.

    Where whole lines were acquired that is some columns, each its own problem; else some frames.
    """
    n_frames, n_y, n_x = trial.given.start.shape
    if n_frames * n_y * n_x <= most_pixels:
        return trial
    if trial.given.axes == Y_ONLY:
        n_kept = min(max(most_pixels // (n_frames * n_y), FEWEST_COLUMNS), n_x)
        first = int(position * (n_x - n_kept + 1))
        return _columns(trial, slice(first, first + n_kept))
    n_kept = max(most_pixels // (n_y * n_x), 1)
    first = int(position * (n_frames - n_kept + 1))
    return _frames(trial, slice(first, first + n_kept))


def _columns(trial: Trial, kept: slice) -> Trial:
    given = trial.given.columns(kept)
    if trial.withheld is None:
        assert trial.target is not None
        return replace(trial, given=given, target=trial.target[..., kept])
    withheld = replace(trial.withheld, kspace=trial.withheld.kspace[..., kept])
    return replace(trial, given=given, withheld=withheld)


def _frames(trial: Trial, kept: slice) -> Trial:
    given = trial.given.frames(kept)
    if trial.withheld is None:
        assert trial.target is not None
        return replace(trial, given=given, target=trial.target[kept])
    own = trial.withheld
    mask = own.mask if len(own.mask) == 1 else own.mask[kept]
    return replace(trial, given=given, withheld=Withheld(own.kspace[kept], mask))


def decibels(error: Scalar) -> Scalar:
    """Return ``10 log10``; what is exact is as good as single precision tells."""
    return 10 * torch.log10(error + torch.finfo(torch.float32).eps ** 2)
