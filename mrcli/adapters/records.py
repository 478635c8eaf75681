"""JSON records whose bytes prove themselves: there is one way to write each, and its hash is in it.

A record that differs in a single byte from what `sealed` writes is refused: a blank, the order of
keys, a key that stands twice, a number written otherwise, NaN. The hash guards against damage and
edits, not against who can compute hashes: what a record states is checked all the same.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mrcli.errors import ModelError

SEAL = "card_sha256"
MAX_RECORD_BYTES = 2**20
_MAX_DEPTH = 8
_HASH = re.compile(r"[0-9a-f]{64}")
_AGAIN = "fetch or make the file again"


def sha256_of_bytes(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sealed(document: Mapping[str, object]) -> bytes:
    """Return the bytes of a record, its hash among its keys; `ValueError` for what JSON lacks."""
    return _canonical({**document, SEAL: sha256_of_bytes(_canonical(document))})


def seal_of(content: bytes) -> str:
    """Return the hash that a record carries; `content` is as `sealed` wrote it."""
    return str(json.loads(content)[SEAL])


def opened(content: bytes, where: str) -> "Record":
    """Return the record in `content` without its hash.

    Raises `ModelError` unless every byte is as `sealed` writes it.
    """
    require_size(content, MAX_RECORD_BYTES, where)
    try:
        document = json.loads(content.decode("utf-8"))
        is_whole = isinstance(document, dict) and _is_sealed(document, content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: no JSON record of this program", hint=_AGAIN) from error
    if not is_whole:
        raise ModelError(f"{where}: changed after it was written", hint=_AGAIN)
    return Record(where, {key: one for key, one in document.items() if key != SEAL})


def require_size(content: bytes, limit: int, where: str) -> None:
    """Raise `ModelError` where there are more bytes than `limit`."""
    if len(content) > limit:
        raise ModelError(f"{where}: {len(content)} bytes, at most {limit} are read")


def _canonical(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, sort_keys=True, allow_nan=False, indent=1) + "\n").encode("ascii")


def _is_sealed(document: Mapping[str, object], content: bytes) -> bool:
    return sealed({key: one for key, one in document.items() if key != SEAL}) == content


@dataclass(frozen=True)
class Record:
    """The keys of a record, each asked for by its kind; all raise `ModelError`."""

    where: str
    values: Mapping[str, object]

    def require_keys(self, needed: Iterable[str]) -> None:
        """Accept exactly these keys."""
        wanted = set(needed)
        for key in sorted(wanted - self.values.keys()):
            raise ModelError(f"{self.where}: the key {key!r} is missing")
        for key in sorted(self.values.keys() - wanted):
            raise ModelError(f"{self.where}: the key {key!r} is unknown")

    def require_version(self, version: int) -> None:
        """Accept exactly this version of the file."""
        found = self.values.get("schema_version")
        if type(found) is not int or found != version:
            raise ModelError(
                f"{self.where}: schema_version is {found!r}, needed {version}",
                hint="use the version of mrcli that wrote it, or a newer one",
            )

    def whole(self, key: str, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        found = self.values[key]
        if type(found) is not int or not least <= found <= most:
            raise self._misfit(key, f"a whole number from {least} to {most}")
        return found

    def choice(self, key: str, known: Iterable[str]) -> str:
        """Return one of some texts."""
        found, texts = self.values[key], tuple(known)
        if not isinstance(found, str) or found not in texts:
            raise self._misfit(key, f"one of {', '.join(texts)}")
        return found

    def text(self, key: str, longest: int = 200) -> str:
        """Return a text of printable characters that is not empty."""
        found = self.values[key]
        if not isinstance(found, str) or not found.isprintable() or not 0 < len(found) <= longest:
            raise self._misfit(key, f"a printable text of 1 to {longest} characters")
        return found

    def digest(self, key: str) -> str:
        """Return a SHA-256 in hexadecimal."""
        found = self.values[key]
        if not isinstance(found, str) or not _HASH.fullmatch(found):
            raise self._misfit(key, "a sha256 of 64 hexadecimal digits")
        return found

    def record(self, key: str) -> "Record":
        """Return an object within this one."""
        found = self.values[key]
        if not isinstance(found, dict):
            raise self._misfit(key, "an object")
        return Record(f"{self.where}: {key}", found)

    def free(self, key: str) -> Mapping[str, object]:
        """Return an object whose keys are free: flat enough, and its texts printable."""
        found = self.record(key).values
        if not is_plain(found):
            raise self._misfit(key, f"printable texts, {_MAX_DEPTH} levels deep at most")
        return found

    def _misfit(self, key: str, needed: str) -> ModelError:
        found = ascii(self.values[key])
        shown = found if len(found) <= 40 else f"{found[:40]}..."
        return ModelError(f"{self.where}: {key} is {shown}, needed {needed}")


def is_plain(value: object, depth: int = 0) -> bool:
    """Say whether a JSON value nests few levels and holds printable texts only."""
    if isinstance(value, str):
        return value.isprintable()
    if isinstance(value, Mapping | list):
        parts = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        return depth < _MAX_DEPTH and all(is_plain(one, depth + 1) for one in parts)
    return True
