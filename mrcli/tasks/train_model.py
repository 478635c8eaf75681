"""The models that training starts from and ends with."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.card import PROTOCOL, SITE, UNIVERSAL, AdapterCard
from mrcli.adapters.family import Family
from mrcli.errors import InputError
from mrcli.models.backbone_file import CARD_NAME, write_backbone
from mrcli.models.bundle_files import write_bundle
from mrcli.models.store import Model, adapter_folder, load_folder, load_model
from mrcli.nn.backbone import SPECS, Backbone
from mrcli.simulate.sites import SiteSpec
from mrcli.tasks.train_record import Draw, fingerprint
from mrcli.tasks.train_settings import TrainSettings


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Member:
    """One adapter of a family, and the draws that it learned from."""

    kind: str
    name: str
    adapter: Adapter
    draws: tuple[Draw, ...]


def new_backbone(size: str, seed: int) -> Backbone:
    """Return an untrained backbone; the same seed gives the same one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = Backbone(SPECS[size])
    return backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def first_backbone(settings: TrainSettings) -> tuple[Backbone, dict[str, str]]:
    """Return the backbone that training starts from, and which one it is, if it was trained.

    Raises `InputError` where the model named is of another size.
    """
    if settings.model_dir is None:
        return new_backbone(settings.size, settings.seed), {}
    model = load_model(settings.model_dir)
    if model.backbone.spec != SPECS[settings.size]:
        raise InputError(
            f"{settings.model_dir}: is not of size {settings.size}", hint="name its own size"
        )
    backbone = deepcopy(model.backbone).requires_grad_(requires_grad=True).train()
    return backbone, {"first_backbone_sha256": model.sha256}


def new_family(settings: TrainSettings, backbone: Backbone, sites: Iterable[SiteSpec]) -> Family:
    """Return untrained adapters for protocols and sites; the same seed gives the same ones."""
    own = tuple(sites)
    protocols = {protocol.modality for site in own for protocol in site.protocols}
    names = [site.name for site in own]
    spec = AdapterSpec(settings.form, settings.rank)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Family(backbone, spec, protocols=protocols, sites=names)


def base_model(settings: TrainSettings) -> Model:
    """Return the model whose backbone gets adapters.

    Raises `InputError` where OUT/model holds another backbone, which would be lost.
    """
    model = load_model(settings.model_dir or _trained(settings.model))
    if (settings.model / CARD_NAME).exists():
        found = load_folder(settings.model)
        if found.sha256 != model.sha256:
            raise InputError(
                f"{settings.model}: holds another backbone", hint="choose another output folder"
            )
    return model


def _trained(folder: Path) -> Path:
    if not (folder / CARD_NAME).exists():
        raise InputError(
            f"{folder}: no model to learn adapters for",
            hint="train the backbone first, or name a model",
        )
    return folder


def members_of(family: Family, draws: Iterable[Draw]) -> tuple[Member, ...]:
    """Return the adapters that learned from at least one draw, each with its draws."""
    own = tuple(draws)
    everything = _members(family, own)
    return tuple(member for member in everything if member.draws)


def _members(family: Family, draws: tuple[Draw, ...]) -> Iterator[Member]:
    universal = tuple(draw for draw in draws if draw.takes_universal)
    yield Member(UNIVERSAL, UNIVERSAL, family.universal, universal)
    for name, adapter in family.protocols.items():
        yield Member(PROTOCOL, name, adapter, tuple(d for d in draws if d.protocol == name))
    for name, adapter in family.sites.items():
        own = tuple(d for d in draws if d.site == name and not d.takes_universal)
        yield Member(SITE, name, adapter, own)


def write_adapters(
    folder: Path, base: Model, members: Iterable[Member], training: Mapping[str, object]
) -> tuple[str, ...]:
    """Write the backbone and the bundles of its adapters; return the names of the adapters."""
    facts = dict(base.card)["training"]
    sha256 = write_backbone(folder, base.backbone, base.name, facts)  # type: ignore[arg-type]
    own = tuple(members)
    for member in own:
        card = AdapterCard(
            kind=member.kind,
            name=member.name,
            backbone_sha256=sha256,
            data_fingerprint=fingerprint(member.draws),
            training={**training, "steps_of_its_own": len(member.draws)},
        )
        write_bundle(folder / adapter_folder(member.kind, member.name), member.adapter, card)
    return tuple(member.name for member in own)
