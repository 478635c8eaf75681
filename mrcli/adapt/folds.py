"""Which patients an adapter learns from, which tell when to stop, and which judge it.

Fixed before anything is learned. Few patients each judge once, by an adapter that has not seen
them (cross-fitting); of many, some are put aside for good.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mrcli.simulate.recipes import generator_of

_MOST_FOLDS = 5
_FEWEST_FOR_VALIDATION = 3  # patients to learn from, of which one can be spared


@dataclass(frozen=True)
class Fold:
    """One division of the patients."""

    training: tuple[str, ...]
    validation: tuple[str, ...]  # of those in training where there are too few to spare one
    judges: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "training": list(self.training),
            "validation": list(self.validation),
            "judges": list(self.judges),
        }


def divide(patients: Sequence[str], holdout: float | None, seed: int) -> tuple[Fold, ...]:
    """Return one fold that puts a share of the patients aside, or folds in which each judges once.

    One patient alone learns and judges nothing: no fold.
    """
    order = _shuffled(sorted(patients), seed)
    if len(order) < 2:
        return ()
    if holdout is not None:
        n_judges = min(max(math.ceil(holdout * len(order)), 1), len(order) - 1)
        return (_fold(order[n_judges:], order[:n_judges]),)
    n_folds = min(len(order), _MOST_FOLDS)
    groups = [order[k::n_folds] for k in range(n_folds)]
    return tuple(_fold([one for one in order if one not in group], group) for group in groups)


def whole(patients: Sequence[str]) -> Fold:
    """Return the division in which all learn; nobody is left to judge."""
    own = tuple(sorted(patients))
    return Fold(own, own, ())


def _fold(others: Sequence[str], judges: Sequence[str]) -> Fold:
    if len(others) < _FEWEST_FOR_VALIDATION:
        return Fold(tuple(others), tuple(others), tuple(judges))
    return Fold(tuple(others[1:]), tuple(others[:1]), tuple(judges))


def _shuffled(patients: Sequence[str], seed: int) -> list[str]:
    order = torch.randperm(len(patients), generator=generator_of(seed, "patients")).tolist()
    return [patients[index] for index in order]
