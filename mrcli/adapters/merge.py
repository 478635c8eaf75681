"""A backbone with linear adapters in its own convolutions: an adapted network at no cost."""

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import nn

from mrcli.adapters.adapter import Adapter
from mrcli.adapters.bundle import require_fits
from mrcli.errors import ModelError
from mrcli.nn.backbone import Backbone
from mrcli.nn.slots import Linear, SlottedConv, slots


def merged(backbone: Backbone, chain: Sequence[Adapter]) -> Backbone:
    """Return a copy whose weights contain the adapters, first to last; the original stays.

    Nothing is attached to the copy. Raises `ModelError` for forms that do not merge, and for
    adapters of another backbone.
    """
    for adapter in chain:
        require_fits(adapter, backbone)
    copy = deepcopy(backbone)
    with torch.no_grad():
        for name, place in slots(copy).items():
            place.attached = ()
            for form in _forms(chain, name):
                _merge(place, form)
    return copy


def can_merge(adapter: Adapter) -> bool:
    """Say whether an adapter can become part of the weights."""
    return all(isinstance(form, Linear) for form in adapter.by_slot().values())


def _forms(chain: Sequence[Adapter], name: str) -> Iterator[nn.Module]:
    for adapter in chain:
        form = adapter.by_slot().get(name)
        if form is not None:
            yield form


def _merge(place: SlottedConv, form: nn.Module) -> None:
    if not isinstance(form, Linear):
        raise ModelError(
            f"an adapter of form {type(form).__name__.lower()} does not merge into weights",
            hint="attach it instead",
        )
    weight, bias = form.merge(place.weight, place.bias)
    place.weight.copy_(weight)
    place.bias.copy_(bias)
