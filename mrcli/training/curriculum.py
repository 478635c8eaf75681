"""Which scan is which sample: a fixed, endless sequence, the same for everybody with one seed.

Samples of one *group* share a simulated slice and differ in their mask. Modalities, then sites that
have them, take even turns, so that no site and no protocol is learned more than another.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Generator

from mrcli.physics.sampling import Pattern
from mrcli.simulate.recipes import Cohort, Reduction, ScanRecipe, generator_of
from mrcli.simulate.sites import ProtocolSpec, SiteSpec

Choice = TypeVar("Choice")

MASKS_PER_GROUP = 4
_FIRST_PATIENT = 1
_REAL_ANATOMY_SHARE = 0.4
_REMOVES_OVERSAMPLING = 0.85
_PATTERNS = (Pattern.UNIFORM, Pattern.KT_GAUSSIAN, Pattern.KT_RADIAL)
_OTHER_PATTERNS = (Pattern.SHIFTED_UNIFORM, Pattern.RANDOM)
_OTHER_SHARE = 0.12
_ACCELERATIONS = (4, 8, 8, 12, 16, 16, 20, 24, 24)
_ACS_LINES = (16, 20, 20, 20, 24)
_MATRIX_FACTORS = (0.5, 0.5, 0.5, 0.65, 0.8, 1.0)
_MOST_FRAMES = (2, 4, 4, 4, 6, 8)

# What a model of this curriculum is for: `recon --method auto` takes it within these limits.
# Samples have up to 8 frames; longer series are scored in docs/adr/0008. Single coils were never
# seen, nor full sampling. Accelerations are true ones, ACS included.
TRAINED_FOR = {"max_frames": 64, "n_coils": [4, 64], "acceleration": [1.2, 14]}


@dataclass(frozen=True)
class SliceRecipe:
    """Whose slice, and how it is simulated."""

    scan: ScanRecipe
    position: float  # of the slice in its stack, 0 to 1
    uses_real_anatomy: bool
    removes_oversampling: bool


@dataclass(frozen=True)
class MaskRecipe:
    """How a slice is undersampled."""

    pattern: Pattern
    acceleration: int
    n_acs: int
    seed: int


@dataclass(frozen=True)
class Curriculum:
    """The sequence of samples over some sites; sample `n` is a mask of group ``n // 4``."""

    sites: tuple[SiteSpec, ...]
    seed: int
    cohort: Cohort = Cohort.TRAIN

    def slice_of(self, group: int) -> SliceRecipe:
        """Return the recipe of a group's slice."""
        random = self._random("slice", group)
        by_modality = self._places()
        modality = sorted(by_modality)[group % len(by_modality)]
        site, protocol = _one_of(by_modality[modality], random)
        reduction = Reduction(_one_of(_MATRIX_FACTORS, random), _one_of(_MOST_FRAMES, random))
        patient = _FIRST_PATIENT + group
        scan = ScanRecipe(site, protocol, patient, self.seed, self.cohort, reduction=reduction)
        position, real, removes = torch.rand(3, generator=random).tolist()
        return SliceRecipe(
            scan, position, real < _REAL_ANATOMY_SHARE, removes < _REMOVES_OVERSAMPLING
        )

    def mask_of(self, sample: int, attempt: int = 0) -> MaskRecipe:
        """Return the recipe of a sample's mask; another attempt is another mask."""
        random = self._random(f"mask {attempt}", sample)
        is_other = float(torch.rand(1, generator=random)) < _OTHER_SHARE
        pattern = _one_of(_OTHER_PATTERNS if is_other else _PATTERNS, random)
        acceleration, n_acs = _one_of(_ACCELERATIONS, random), _one_of(_ACS_LINES, random)
        return MaskRecipe(pattern, acceleration, n_acs, random.initial_seed())

    def _random(self, purpose: str, number: int) -> Generator:
        return generator_of(self.seed, self.cohort.value, purpose, number)

    def _places(self) -> dict[str, list[tuple[SiteSpec, ProtocolSpec]]]:
        places: dict[str, list[tuple[SiteSpec, ProtocolSpec]]] = defaultdict(list)
        for site in self.sites:
            for protocol in site.protocols:
                places[protocol.modality].append((site, protocol))
        return places


def _one_of(choices: Sequence[Choice], random: Generator) -> Choice:
    return choices[int(torch.randint(len(choices), (1,), generator=random))]
