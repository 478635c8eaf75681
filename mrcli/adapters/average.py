"""The average of adapters of one backbone and one form: of what they do, not of their numbers.

The numbers of two low-rank adapters cannot be averaged: ``U V`` is the same for ``(U M)`` and
``(M^-1 V)``, and two adapters that do the same would cancel. What they do can be, and goes back
into the form with the rank that it has (`mrcli.adapters.effect`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from mrcli.adapters.adapter import Adapter
from mrcli.adapters.bundle import LoadedAdapter, channels_of, fill
from mrcli.adapters.card import UNIVERSAL, AdapterCard
from mrcli.adapters.effect import Effect, effect_of, fitted
from mrcli.errors import ModelError

BY_SCANS, EQUAL = "n_scans", "equal"
_N_SCANS = "n_scans"  # in a training record: how many scans the adapter was fitted to


@dataclass(frozen=True)
class Weights:
    """How much each adapter counts, in all 1, and whether by its scans or all the same."""

    shares: tuple[float, ...]
    by: str  # BY_SCANS or EQUAL
    n_scans: int | None  # of all together, where every one says


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Averaged:
    """An average in single precision, and how much of it its rank does not hold."""

    adapter: Adapter
    share_lost: float  # of the energy of the averaged low-rank parts, over all slots


def weights_of(members: Sequence[LoadedAdapter]) -> Weights:
    """Return weights by the number of scans where every adapter states it, else equal ones."""
    counts = [one.card.training.get(_N_SCANS) for one in members]
    stated = [n for n in counts if isinstance(n, int) and not isinstance(n, bool) and n > 0]
    if len(stated) < len(members):
        return Weights((1 / len(members),) * len(members), EQUAL, None)
    total = sum(stated)
    return Weights(tuple(n / total for n in stated), BY_SCANS, total)


def averaged(members: Sequence[Adapter], shares: Sequence[float]) -> Averaged:
    """Return the average of adapters that have the same form, rank and slots; `shares` sum to 1.

    Raises `ModelError` for adapters that differ in these or are not linear.
    """
    _require_alike(members)
    wanted = {name: _mean(members, shares, name) for name in members[0].names}
    adapter = _fitted(members[0], wanted)
    lost = _share_lost(adapter, wanted)  # before the numbers are rounded
    return Averaged(adapter.float(), lost)


def average(members: Sequence[LoadedAdapter], kind: str, name: str) -> tuple[Averaged, AdapterCard]:
    """Return the average of the adapters of one backbone, and its description.

    The training record says from which adapters it came, with which weights, and what share of the
    energy was lost; nobody has measured it, so it has no acceptance record. Raises `ModelError`
    for adapters of several backbones, and as `averaged`.
    """
    if len({one.card.backbone_sha256 for one in members}) != 1:
        raise ModelError(
            f"adapters of different backbones have no average: {_names(members)}",
            hint="average adapters that were made for the same model",
        )
    weights = weights_of(members)
    found = averaged([one.adapter for one in members], weights.shares)
    training: dict[str, object] = {
        "averaged": [
            {"name": one.name, "sha256": one.sha256, "weight": share}
            for one, share in zip(members, weights.shares, strict=True)
        ],
        "weights": weights.by,
        "share_lost": found.share_lost,
    }
    if weights.n_scans is not None:
        training[_N_SCANS] = weights.n_scans
    return found, AdapterCard(kind, name, members[0].card.backbone_sha256, {}, training)


def kind_of(name: str) -> str:
    """Return the kind of an average: for one site, or for all."""
    return UNIVERSAL if name == UNIVERSAL else "site"


def _require_alike(members: Sequence[Adapter]) -> None:
    if not members:
        raise ModelError("no adapter to average", hint="name at least one")
    shapes = {(one.spec, tuple(channels_of(one).items())) for one in members}
    if len(shapes) > 1:
        forms = sorted({f"{one.spec.form} of rank {one.spec.rank}" for one in members})
        raise ModelError(
            f"adapters that differ in form, rank or slots have no average: {', '.join(forms)}",
            hint="fit them with the same form and rank",
        )


def _mean(members: Sequence[Adapter], shares: Sequence[float], name: str) -> Effect:
    effects = [effect_of(one.by_slot()[name]) for one in members]
    pairs = list(zip(effects, shares, strict=True))
    return Effect(
        _sum(share * one.diagonal for one, share in pairs),
        _sum(share * one.low_rank for one, share in pairs),
        _sum(share * one.offset for one, share in pairs),
    )


def _sum(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(parts)).sum(0)


def _fitted(like: Adapter, wanted: dict[str, Effect]) -> Adapter:
    """Return an adapter of the same shape in double precision that does nearest what is wanted."""
    with torch.device("meta"):
        adapter = Adapter(like.spec, channels_of(like))
    numbers = {
        f"{name}/{key}": one
        for name, effect in wanted.items()
        for key, one in fitted(like.spec.form, effect, like.spec.rank).items()
    }
    fill(adapter, numbers)
    return adapter


def _share_lost(adapter: Adapter, wanted: dict[str, Effect]) -> float:
    found = {name: effect_of(form).matrix for name, form in adapter.by_slot().items()}
    lost = math.fsum(_energy(one.matrix - found[name]) for name, one in wanted.items())
    total = math.fsum(_energy(one.low_rank) for one in wanted.values())
    return lost / total if total else 0.0


def _energy(matrix: torch.Tensor) -> float:
    return float(matrix.square().sum())


def _names(members: Sequence[LoadedAdapter]) -> str:
    return ", ".join(f"{one.name} for {one.card.backbone_sha256[:12]}" for one in members)
