"""A scan as a recipe: everything that decides it, from which the same seed makes the same bytes.

Patients belong to one site and one set of data, so that none is ever shared between sites, or
between training and test.
"""

import hashlib
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import torch
from torch import Generator

from mrcli.simulate.sites import ProtocolSpec, SiteSpec

Choice = TypeVar("Choice")

_LARGEST_SEED = 2**63 - 1


class Cohort(StrEnum):
    """Which set of patients: one is in one set only."""

    TRAIN = "train"
    TUNE = "tune"
    TEST = "test"


@dataclass(frozen=True)
class Reduction:
    """What makes a scan smaller than its site's: for quick runs, never silently."""

    matrix: float = 1.0  # factor on lines and samples
    max_frames: int | None = None
    max_slices: int | None = None


FULL_SIZE = Reduction()


@dataclass(frozen=True)
class ScanRecipe:
    """One scan of one patient at one site."""

    site: SiteSpec
    protocol: ProtocolSpec
    patient: int
    seed: int
    cohort: Cohort = Cohort.TRAIN
    view: str | None = None  # None: drawn
    reduction: Reduction = field(default=FULL_SIZE)

    def random(self, purpose: str) -> Generator:
        """Return a generator of its own for one purpose of this scan."""
        return generator_of(*self._patient_key(), self.protocol.contrast, self.view or "", purpose)

    def patient_random(self) -> Generator:
        """Return the generator of the patient, the same in every scan of that patient."""
        return generator_of(*self._patient_key())

    def _patient_key(self) -> tuple[str | int, ...]:
        return self.seed, self.site.name, self.cohort.value, self.patient


@dataclass(frozen=True)
class ScanSizes:
    """The sizes that a scan has, drawn from those of its site."""

    view: str
    matrix: tuple[int, int]  # (y, x)
    n_frames: int
    n_slices: int


def generator_of(*key: str | int) -> Generator:
    """Return a generator whose seed is the hash of a key: streams of other keys are others."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") & _LARGEST_SEED)


def draw_sizes(recipe: ScanRecipe) -> ScanSizes:
    """Draw view, matrix, frames and slices of a scan; long-axis views have one slice."""
    random, protocol, less = recipe.random("sizes"), recipe.protocol, recipe.reduction
    view = recipe.view or _one_of(protocol.views, random)
    n_y, n_x = _one_of(protocol.matrices, random)
    n_frames = _one_of(protocol.n_frames, random)
    n_slices = _one_of(protocol.n_slices, random) if view in {"sax", "axial"} else 1
    return ScanSizes(
        view,
        (_reduced(n_y, less.matrix), _reduced(n_x, less.matrix)),
        min(n_frames, less.max_frames or n_frames),
        min(n_slices, less.max_slices or n_slices),
    )


def draw_log_uniform(extent: tuple[float, float], random: Generator) -> float:
    """Draw a number whose logarithm is uniform between two."""
    low, high = (math.log(one) for one in extent)
    return math.exp(low + (high - low) * float(torch.rand(1, generator=random)))


def _reduced(n: int, factor: float) -> int:
    """Return a smaller size that is odd where `n` is odd."""
    smaller = max(16, round(n * factor))
    return smaller if (smaller - n) % 2 == 0 else smaller + 1


def _one_of(choices: tuple[Choice, ...], random: Generator) -> Choice:
    return choices[int(torch.randint(len(choices), (1,), generator=random))]
