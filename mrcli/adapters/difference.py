"""How far apart two adapters of one backbone are, in what they do at each slot."""

import torch
from jaxtyping import Float
from torch import Tensor

from mrcli.adapters.adapter import Adapter
from mrcli.adapters.bundle import channels_of
from mrcli.adapters.effect import Effect, effect_of

Change = Float[Tensor, " number"]


def differences(one: Adapter, other: Adapter) -> dict[str, float]:
    """Return, for each slot that either has, how large the difference of the two is.

    It is relative to the larger of the two changes of the features, matrix and offset together:
    0 where both do the same, 1 where one does nothing, 2 where they do the opposite. Raises
    `ModelError` for forms that are not linear.
    """
    pairs = _changes(one, other)
    return {name: relative(*pair) for name, pair in pairs.items()}


def total_difference(one: Adapter, other: Adapter) -> float:
    """Return the same over all slots together; raises `ModelError`."""
    pairs = _changes(one, other).values()
    return relative(torch.cat([own for own, _ in pairs]), torch.cat([own for _, own in pairs]))


def relative(one: Change, other: Change) -> float:
    """Return ``|one - other|`` over the larger of the two, 0 where both are zero."""
    largest = max(float(one.norm()), float(other.norm()))
    return float((one - other).norm()) / largest if largest else 0.0


def _changes(one: Adapter, other: Adapter) -> dict[str, tuple[Change, Change]]:
    channels = channels_of(one) | channels_of(other)
    return {name: (_change(one, name, n), _change(other, name, n)) for name, n in channels.items()}


def _change(adapter: Adapter, name: str, n_channels: int) -> Change:
    """Return what a slot adds to the features: its matrix less the identity, and its offset."""
    form = adapter.by_slot().get(name)
    effect = Effect.identity(n_channels) if form is None else effect_of(form)
    change = effect.diagonal.sub(1).diag() + effect.low_rank
    return torch.cat([change.flatten(), effect.offset])
