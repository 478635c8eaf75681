"""A bundle and the evidence for it, as they travel: into the registry, into a file and out of it.

``mrcli adapt`` writes ``OUT/bundle`` and ``OUT/evidence``; the registry has the evidence in a
folder within that of the bundle. All is read once: what is checked is what is copied.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mrcli.adapters.bundle import CARD_NAME, WEIGHTS_NAME, LoadedAdapter, parse_bundle
from mrcli.errors import ModelError
from mrcli.io.atomic import write_bytes_atomically
from mrcli.models.bundle_files import LIMITS
from mrcli.models.reading import files_below, read_within
from mrcli.models.store import Model

BUNDLE, EVIDENCE = "bundle", "evidence"
_MIB = 2**20
EVIDENCE_LIMITS = {
    "change.json": 4 * _MIB,
    "protocol.json": 4 * _MIB,
    "impact.json": 4 * _MIB,
    "SOUP.json": 4 * _MIB,
    "index.html": 32 * _MIB,
}


@dataclass(frozen=True)
class Parcel:
    """The bytes of a bundle and of the evidence for it, by name."""

    card: bytes
    weights: bytes
    evidence: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()  # names beside the evidence that nobody knows

    def files(self, bundle: str = "") -> dict[str, bytes]:
        """Return all contents by path with forward slashes; `bundle` is the bundle's folder."""
        prefix = f"{bundle}/" if bundle else ""
        own = {f"{prefix}{CARD_NAME}": self.card, f"{prefix}{WEIGHTS_NAME}": self.weights}
        return own | {f"{EVIDENCE}/{name}": one for name, one in self.evidence.items()}

    def loaded(self, where: str, model: Model) -> LoadedAdapter:
        """Return the adapter for a model, which stays as it is; raises `ModelError`."""
        try:
            return parse_bundle(self.card, self.weights, model.backbone, model.sha256)
        except ModelError as error:
            raise ModelError(f"{where}: {error.message}", hint=error.hint) from error


def bundle_at(folder: Path) -> Path | None:
    """Return where the bundle of a folder lies: in it, or in its folder ``bundle``; else None."""
    places = (folder, folder / BUNDLE)
    return next((place for place in places if (place / CARD_NAME).is_file()), None)


def read_parcel(folder: Path) -> Parcel:
    """Return the bundle of a folder with its evidence; raises `ModelError`."""
    bundle = bundle_at(folder)
    if bundle is None:
        raise ModelError(
            f"{folder.name}: holds no adapter bundle", hint=f"a bundle has a file {CARD_NAME}"
        )
    card, weights = (read_within(bundle, name, LIMITS[name]) for name in (CARD_NAME, WEIGHTS_NAME))
    evidence = _evidence_of(bundle)
    if evidence is None:
        return Parcel(card, weights, {})
    names = files_below(evidence)
    known = {n: read_within(evidence, n, EVIDENCE_LIMITS[n]) for n in names if n in EVIDENCE_LIMITS}
    return Parcel(card, weights, known, tuple(n for n in names if n not in known))


def write_parcel(parcel: Parcel, folder: Path, bundle: str = "") -> None:
    """Write all files below a folder; raises `OutputError`."""
    for name, content in parcel.files(bundle).items():
        write_bytes_atomically(folder / name, content, overwrite=False)


def _evidence_of(bundle: Path) -> Path | None:
    """Return the folder of the evidence: within the bundle's, or beside one called ``bundle``."""
    own = bundle.absolute()
    beside = [own.parent / EVIDENCE] if own.name == BUNDLE else []
    return next((one for one in (own / EVIDENCE, *beside) if os.path.lexists(one)), None)
