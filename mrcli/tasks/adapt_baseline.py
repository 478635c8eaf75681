"""What a site uses before it has an adapter of its own: the baseline that a new one has to beat."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch

from mrcli.adapt.fit import Frozen
from mrcli.adapt.trials import Trial
from mrcli.adapters.adapter import Adapter
from mrcli.adapters.card import PROTOCOL
from mrcli.adapters.selection import AUTO, choose
from mrcli.models.store import Model
from mrcli.precision import DTYPES
from mrcli.tasks.adapt_settings import AdaptSettings


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Baseline:
    """The frozen network of a site that nobody knows, by modality, and why it is this one."""

    frozen: Frozen
    universal: Adapter | None  # that a new adapter takes the place of
    reasons: tuple[str, ...]

    def first(self, settings: AdaptSettings) -> Adapter:
        """Return what a new adapter starts as: the universal one, else the identity."""
        if self.universal is not None:
            return deepcopy(self.universal).requires_grad_(requires_grad=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            first = Adapter.of(self.frozen.backbone, settings.spec)
        return first.to(settings.device)

    def decibels(self, trial: Trial) -> float:
        """Return the error of a trial without the new adapter."""
        return self.frozen.decibels(self.universal, trial)


def baseline_of(
    model: Model, modalities: Iterable[str | None], precision: str, device: str
) -> Baseline:
    """Return what `recon --adapter auto` takes for an unknown site, moved to a device."""
    before: dict[str | None, tuple[Adapter, ...]] = {}
    reasons: list[str] = []
    universal: Adapter | None = None
    for modality in sorted(set(modalities), key=str):
        found = choose(
            model.protocols, {}, model.universal, protocol=modality, site=None, wanted=AUTO
        )
        before[modality] = tuple(
            one.adapter.to(device) for one in found.chain if one.kind == PROTOCOL
        )
        others = [one.adapter.to(device) for one in found.chain if one.kind != PROTOCOL]
        universal = others[0] if others else None
        reasons.append(f"{modality or 'no protocol'}: {found.reason}")
    frozen = Frozen(model.backbone.to(device), before, DTYPES[precision])
    return Baseline(frozen, universal, tuple(reasons))
