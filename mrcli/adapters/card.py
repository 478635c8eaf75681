"""What is said about an adapter beside its weights: for whom it is, and how it came to be."""

from collections.abc import Mapping
from dataclasses import dataclass

from mrcli.adapters.records import Record, is_plain
from mrcli.errors import ModelError

PROTOCOL, SITE, UNIVERSAL = "protocol", "site", "universal"
KINDS = (PROTOCOL, SITE, UNIVERSAL)
_N_PARTS = {PROTOCOL: 1, SITE: 2, UNIVERSAL: 1}  # of a name, between slashes


@dataclass(frozen=True)
class AdapterCard:
    """The description of one adapter; free records hold numbers and names of no person."""

    kind: str  # one of KINDS
    name: str  # "Cine", "Center101/umr780.sim", "universal"
    backbone_sha256: str  # of the backbone's weights file
    data_fingerprint: Mapping[str, object]
    training: Mapping[str, object]
    acceptance: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        """Raise `ModelError` where the name does not fit the kind, or a record is not plain."""
        require_name(self.kind, self.name)
        for record in (self.data_fingerprint, self.training, self.acceptance or {}):
            if not is_plain(record):
                raise ModelError(f"adapter {self.name}: a record nests too deep or has odd texts")

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {key: getattr(self, key) for key in CARD_KEYS}

    @staticmethod
    def of(record: Record) -> "AdapterCard":
        """Return the card that a record states; raises `ModelError`."""
        has_acceptance = record.values["acceptance"] is not None
        return AdapterCard(
            kind=record.choice("kind", KINDS),
            name=record.text("name"),
            backbone_sha256=record.digest("backbone_sha256"),
            data_fingerprint=record.free("data_fingerprint"),
            training=record.free("training"),
            acceptance=record.free("acceptance") if has_acceptance else None,
        )


CARD_KEYS = ("kind", "name", "backbone_sha256", "data_fingerprint", "training", "acceptance")


def require_name(kind: str, name: str) -> None:
    """Raise `ModelError` unless a name can belong to an adapter of this kind."""
    parts = name.split("/")
    is_good = len(parts) == _N_PARTS.get(kind, 0) and all(map(is_plain_name, parts))
    if not is_good or (kind == UNIVERSAL) != (name == UNIVERSAL):
        raise ModelError(
            f"an adapter of kind {kind!a} cannot be called {name!a}",
            hint="protocols have one word, sites center/scanner, and one is universal",
        )


def is_plain_name(text: str) -> bool:
    """Say whether a text can be the name of a folder everywhere."""
    odd = any(mark in text for mark in '/\\:*?"<>|') or text.strip(". ") != text
    return bool(text) and len(text) <= 100 and text.isprintable() and not odd
