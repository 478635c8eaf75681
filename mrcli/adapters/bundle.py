"""An adapter bundle as bytes: ``adapter.json`` and ``adapter.safetensors``.

Nothing here touches a file, so what is checked is what is used; `mrcli.models.bundle_files` reads
and writes. The record seals itself and states the hash of the weights: a change of any byte of
either is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.card import CARD_KEYS, AdapterCard
from mrcli.adapters.forms import FORMS
from mrcli.adapters.records import Record, opened, require_size, seal_of, sealed, sha256_of_bytes
from mrcli.adapters.tensors import Shapes, parsed_tensors, require_hash, tensor_bytes
from mrcli.errors import ModelError
from mrcli.nn.backbone import Backbone
from mrcli.nn.slots import slots

CARD_NAME, WEIGHTS_NAME = "adapter.json", "adapter.safetensors"
SCHEMA_VERSION = 1
MAX_WEIGHT_BYTES = 8 * 2**20
_MAX_RANK, _MAX_CASCADES = 64, 64
_KEYS = ("schema_version", *CARD_KEYS, "spec", "slots", "weights_sha256")
_SPEC_KEYS = ("form", "rank", "n_cascades")


@dataclass(frozen=True, eq=False)  # a network has no truth value to compare
class LoadedAdapter:
    """An adapter that was checked; `sha256` is that of its record, which covers the weights."""

    name: str
    kind: str
    sha256: str
    adapter: Adapter
    card: AdapterCard
    activated: str | None = None  # when this site did, in UTC; None: it was not asked to


def bundle_bytes(adapter: Adapter, card: AdapterCard) -> tuple[bytes, bytes]:
    """Return the contents of ``adapter.json`` and ``adapter.safetensors``; raises `ModelError`."""
    weights = tensor_bytes(_tensors(adapter))
    require_size(weights, MAX_WEIGHT_BYTES, WEIGHTS_NAME)
    facts = {
        "schema_version": SCHEMA_VERSION,
        "spec": adapter.spec.document(),
        "slots": channels_of(adapter),
        "weights_sha256": sha256_of_bytes(weights),
    }
    try:
        content = sealed(card.document() | facts)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"adapter {card.name}: a record is no JSON: {error}") from error
    _stated(content)  # what is written can be read
    return content, weights


def parse_bundle(
    card: bytes, weights: bytes, backbone: Backbone, backbone_sha256: str
) -> LoadedAdapter:
    """Return the adapter of two files for a backbone, which stays as it is.

    Raises `ModelError` unless every byte is as it was written, for exactly this backbone.
    """
    record, own, spec = _stated(card)
    _require_backbone(own, backbone_sha256)
    require_hash(weights, record.digest("weights_sha256"), WEIGHTS_NAME)
    adapter = blank_adapter(backbone, spec)
    if record.record("slots").values != channels_of(adapter):
        raise ModelError(f"{CARD_NAME}: the slots are not those of the backbone")
    fill(adapter, parsed_tensors(weights, layout(adapter), MAX_WEIGHT_BYTES, WEIGHTS_NAME))
    return LoadedAdapter(own.name, own.kind, seal_of(card), adapter, own)


def stated_backbone(card: bytes) -> str:
    """Return for which backbone a bundle says it is; raises `ModelError`."""
    return _stated(card)[1].backbone_sha256


def blank_adapter(backbone: Backbone, spec: AdapterSpec) -> Adapter:
    """Return an adapter without numbers: it has shapes only, and draws nothing by chance."""
    with torch.device("meta"):
        return Adapter.of(backbone, spec)


def layout(adapter: Adapter) -> Shapes:
    """Return the names and shapes of an adapter's tensors, as its file has them."""
    return {name: tuple(one.shape) for name, one in _tensors(adapter).items()}


def channels_of(adapter: Adapter) -> dict[str, int]:
    """Return how many channels each slot has, by its name."""
    return {name: len(next(form.parameters())) for name, form in adapter.by_slot().items()}


def fill(adapter: Adapter, tensors: Mapping[str, Tensor]) -> None:
    """Give an adapter its numbers and freeze it; `tensors` fit its layout."""
    for name, form in adapter.by_slot().items():
        own = {key: tensors[f"{name}/{key}"] for key in form.state_dict()}
        form.load_state_dict(own, assign=True)
    adapter.requires_grad_(requires_grad=False).eval()


def require_fits(adapter: Adapter, backbone: Backbone) -> None:
    """Raise `ModelError` unless an adapter has the slots of a backbone, in its sizes."""
    unknown = set(adapter.names) - slots(backbone).keys()
    if unknown or layout(adapter) != layout(blank_adapter(backbone, adapter.spec)):
        raise ModelError("the adapter was made for a backbone of another shape")


def _tensors(adapter: Adapter) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": one
        for name, form in adapter.by_slot().items()
        for key, one in form.state_dict().items()
    }


def _stated(content: bytes) -> tuple[Record, AdapterCard, AdapterSpec]:
    record = opened(content, CARD_NAME)
    record.require_version(SCHEMA_VERSION)
    record.require_keys(_KEYS)
    return record, AdapterCard.of(record), _spec(record.record("spec"))


def _spec(record: Record) -> AdapterSpec:
    record.require_keys(_SPEC_KEYS)
    everywhere = record.values["n_cascades"] is None
    return AdapterSpec(
        form=record.choice("form", FORMS),
        rank=record.whole("rank", 1, _MAX_RANK),
        n_cascades=None if everywhere else record.whole("n_cascades", 1, _MAX_CASCADES),
    )


def _require_backbone(card: AdapterCard, needed: str) -> None:
    if card.backbone_sha256 != needed:
        raise ModelError(
            f"{CARD_NAME}: {card.name} is for backbone {card.backbone_sha256[:12]}, "
            f"this one is {needed[:12]}",
            hint="name the model that it was made for",
        )
