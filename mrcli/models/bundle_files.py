"""Adapter bundles as folders: written whole or not at all, read once."""

import os
from pathlib import Path

from mrcli.adapters.adapter import Adapter
from mrcli.adapters.bundle import (
    CARD_NAME,
    MAX_WEIGHT_BYTES,
    WEIGHTS_NAME,
    LoadedAdapter,
    bundle_bytes,
    parse_bundle,
)
from mrcli.adapters.card import AdapterCard
from mrcli.adapters.records import MAX_RECORD_BYTES
from mrcli.errors import ModelError, OutputError
from mrcli.io.atomic import write_bytes_atomically
from mrcli.io.staging import staging_folder
from mrcli.models.reading import read_within
from mrcli.nn.backbone import Backbone

LIMITS = {CARD_NAME: MAX_RECORD_BYTES, WEIGHTS_NAME: MAX_WEIGHT_BYTES}


def write_bundle(folder: Path, adapter: Adapter, card: AdapterCard) -> None:
    """Write a bundle; the folder takes its name when both files are whole, and replaces an old one.

    Raises `OutputError` where the folder holds something else or cannot be written, `ModelError`
    for what could not be read again.
    """
    _require_bundle_or_nothing(folder)
    contents = dict(zip((CARD_NAME, WEIGHTS_NAME), bundle_bytes(adapter, card), strict=True))
    with staging_folder(folder.parent) as stage:
        for name, content in contents.items():
            write_bytes_atomically(stage / "new" / name, content, overwrite=False)
        swap(stage, folder)


def read_bundle(folder: Path, backbone: Backbone, backbone_sha256: str) -> LoadedAdapter:
    """Return the adapter of a folder for a backbone, which stays as it is; raises `ModelError`."""
    card = read_within(folder, CARD_NAME, LIMITS[CARD_NAME])
    weights = read_within(folder, WEIGHTS_NAME, LIMITS[WEIGHTS_NAME])
    try:
        return parse_bundle(card, weights, backbone, backbone_sha256)
    except ModelError as error:
        raise ModelError(f"{folder.name}: {error.message}", hint=error.hint) from error


def _require_bundle_or_nothing(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    is_folder = folder.is_dir() and not folder.is_symlink()
    odd = {path.name for path in folder.iterdir()} - LIMITS.keys() if is_folder else {folder.name}
    if odd:
        raise OutputError(
            f"{folder.name}: holds {min(odd)}, which is no part of an adapter bundle",
            hint="choose another folder",
        )


def swap(stage: Path, folder: Path) -> None:
    """Let ``stage/new`` take the place of a folder; the old one comes back if that fails."""
    old = stage / "old"
    if folder.exists():
        folder.rename(old)
    try:
        (stage / "new").rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
