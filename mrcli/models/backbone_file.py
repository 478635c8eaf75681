"""A backbone as bytes: ``model.json`` and ``backbone.safetensors``; written here, and checked."""

from collections.abc import Mapping
from pathlib import Path

import torch

from mrcli.adapters.card import is_plain_name
from mrcli.adapters.records import Record, is_plain, opened, require_size, sealed, sha256_of_bytes
from mrcli.adapters.tensors import Shapes, parsed_tensors, require_hash, tensor_bytes
from mrcli.errors import ModelError
from mrcli.io.atomic import write_bytes_atomically
from mrcli.nn.backbone import Backbone, BackboneSpec
from mrcli.provenance import NUMERICS_VERSION

CARD_NAME, WEIGHTS_NAME = "model.json", "backbone.safetensors"
SCHEMA_VERSION = 1
MAX_WEIGHT_BYTES = 128 * 2**20
_KEYS = ("schema_version", "name", "spec", "backbone_sha256", "numerics_version", "training")
_RANGES = {
    "n_cascades": (1, 64),
    "fine": (8, 1024),
    "coarse": (8, 1024),
    "n_coarse_blocks": (0, 16),
    "n_final_iterations": (0, 100),
}


def write_backbone(
    folder: Path, backbone: Backbone, name: str, training: Mapping[str, object]
) -> str:
    """Write both files, the weights first, and return the SHA-256 of the weights.

    Existing files are replaced. Raises `ModelError` for what cannot be written so that it is read
    again, `OutputError` for every error of the operating system.
    """
    card, weights = backbone_bytes(backbone, name, training)
    write_bytes_atomically(folder / WEIGHTS_NAME, weights, overwrite=True)
    write_bytes_atomically(folder / CARD_NAME, card, overwrite=True)
    return sha256_of_bytes(weights)


def backbone_bytes(
    backbone: Backbone, name: str, training: Mapping[str, object]
) -> tuple[bytes, bytes]:
    """Return the contents of ``model.json`` and ``backbone.safetensors``; raises `ModelError`."""
    if not is_plain_name(name) or not is_plain(training):
        raise ModelError(f"model {name!a}: its name or its training record is not plain")
    weights = tensor_bytes(backbone.state_dict())
    require_size(weights, MAX_WEIGHT_BYTES, WEIGHTS_NAME)
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "spec": backbone.spec.document(),
        "backbone_sha256": sha256_of_bytes(weights),
        "numerics_version": NUMERICS_VERSION,
        "training": training,
    }
    try:
        content = sealed(document)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"model {name}: its training record is no JSON: {error}") from error
    _stated(content)  # what is written can be read
    return content, weights


def parse_backbone(card: bytes, weights: bytes) -> tuple[Backbone, Mapping[str, object]]:
    """Return the frozen backbone of two files, and what ``model.json`` states.

    Raises `ModelError` unless every byte is as it was written.
    """
    record, spec = _stated(card)
    require_hash(weights, record.digest("backbone_sha256"), WEIGHTS_NAME)
    backbone = blank_backbone(spec)
    shapes: Shapes = {name: tuple(one.shape) for name, one in backbone.state_dict().items()}
    tensors = parsed_tensors(weights, shapes, MAX_WEIGHT_BYTES, WEIGHTS_NAME)
    backbone.load_state_dict(tensors, assign=True)
    backbone.requires_grad_(requires_grad=False).eval()
    return backbone.to(memory_format=torch.channels_last), record.values  # type: ignore[call-overload]


def blank_backbone(spec: BackboneSpec) -> Backbone:
    """Return a backbone without numbers: it has shapes only, and draws nothing by chance."""
    with torch.device("meta"):
        return Backbone(spec)


def _stated(content: bytes) -> tuple[Record, BackboneSpec]:
    record = opened(content, CARD_NAME)
    record.require_version(SCHEMA_VERSION)
    record.require_keys(_KEYS)
    if not is_plain_name(record.text("name")):
        raise ModelError(f"{CARD_NAME}: the name is not one for a folder")
    record.free("training")
    made_for = record.whole("numerics_version", 1, 2**31)
    if made_for > NUMERICS_VERSION:
        raise ModelError(
            f"{CARD_NAME}: made for numerics {made_for}, this program has {NUMERICS_VERSION}",
            hint="upgrade mrcli",
        )
    return record, _spec(record.record("spec"))


def _spec(record: Record) -> BackboneSpec:
    record.require_keys(_RANGES)
    return BackboneSpec(**{key: record.whole(key, *span) for key, span in _RANGES.items()})
