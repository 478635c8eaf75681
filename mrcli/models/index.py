"""The index of the models that ship, ``index.toml``: every file of each with its SHA-256."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mrcli.adapters.card import is_plain_name
from mrcli.adapters.records import MAX_RECORD_BYTES, sha256_of_bytes
from mrcli.adapters.tensors import require_hash
from mrcli.errors import ModelError
from mrcli.io.atomic import write_text_atomically
from mrcli.models.backbone_file import CARD_NAME, MAX_WEIGHT_BYTES, WEIGHTS_NAME
from mrcli.models.bundle_files import LIMITS
from mrcli.models.reading import files_below, read_within

INDEX_NAME = "index.toml"
SCHEMA_VERSION = 1
VARIABLE = "MRCLI_PRETRAINED"
_HEAD = """# The models that ship and the SHA-256 of their files; `write_index` makes this file.
schema_version = 1
"""
_HASH = re.compile(r"[0-9a-f]{64}")
_MEND = "install again, or set MRCLI_PRETRAINED to another folder"


@dataclass(frozen=True)
class IndexEntry:
    """A model that ships: its folder, and the SHA-256 of each of its files."""

    name: str
    folder: Path
    files: Mapping[str, str]  # path below the folder, with forward slashes

    def contents(self) -> dict[str, bytes]:
        """Return all files, read once; raises `ModelError` unless these are exactly those listed.

        Hidden files do not count.
        """
        for name in sorted(set(files_below(self.folder)) - self.files.keys()):
            raise ModelError(f"{self.name}/{name}: the index does not list it", hint=_MEND)
        return {name: self._content(name, digest) for name, digest in self.files.items()}

    def _content(self, name: str, digest: str) -> bytes:
        content = read_within(self.folder, name, limit_of(name))
        require_hash(content, digest, f"{self.name}/{name}")
        return content


def limit_of(name: str) -> int:
    """Return how many bytes a file of a model has at the most."""
    if name == WEIGHTS_NAME:
        return MAX_WEIGHT_BYTES
    return LIMITS.get(PurePosixPath(name).name, MAX_RECORD_BYTES)


def pretrained_folder() -> Path:
    """Return where the models lie: what MRCLI_PRETRAINED names, the package, or the repository."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    package = Path(__file__).parents[1]
    places = (package / "pretrained", package.parent / "pretrained")
    return next((one for one in places if (one / INDEX_NAME).is_file()), places[0])


def list_models() -> tuple[IndexEntry, ...]:
    """Return the models of the index, in its order; none where no models were installed.

    Raises `ModelError` where the index is corrupt, or absent from the folder that
    MRCLI_PRETRAINED names.
    """
    folder = pretrained_folder()
    if not os.environ.get(VARIABLE) and not (folder / INDEX_NAME).exists():
        return ()
    return read_index(folder)


def read_index(folder: Path) -> tuple[IndexEntry, ...]:
    """Return the models that the index of a folder lists; raises `ModelError`."""
    content = read_within(folder, INDEX_NAME, MAX_RECORD_BYTES)
    try:
        facts = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{INDEX_NAME}: no TOML: {error}", hint=_MEND) from error
    models = facts.get("model", [])
    version = facts.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION or not isinstance(models, list):
        raise ModelError(f"{INDEX_NAME}: needed schema_version 1 and [[model]]", hint=_MEND)
    if facts.keys() - {"schema_version", "model"}:
        raise ModelError(f"{INDEX_NAME}: has keys beside schema_version and model", hint=_MEND)
    entries = tuple(_entry(folder, one) for one in models)
    if len({entry.name for entry in entries}) < len(entries):
        raise ModelError(f"{INDEX_NAME}: a model is listed twice", hint=_MEND)
    return entries


def write_index(folder: Path) -> None:
    """Write the index of the model folders in a folder; raises `ModelError` or `OutputError`.

    A link within a model is refused, as when it is read.
    """
    models = sorted(path.parent for path in folder.glob(f"*/{CARD_NAME}"))
    text = _HEAD + "".join(line for model in models for line in _lines(model))
    write_text_atomically(folder / INDEX_NAME, text, overwrite=True)


def _lines(model: Path) -> Iterator[str]:
    yield f"\n[[model]]\nname = {_quoted(model.name)}\n\n[model.files]\n"
    for name in files_below(model):
        content = read_within(model, name, limit_of(name))
        yield f"{_quoted(name)} = {_quoted(sha256_of_bytes(content))}\n"


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise ModelError(f"{text!a}: the name of a file has odd characters")
    return json.dumps(text, ensure_ascii=False)


def _entry(folder: Path, facts: object) -> IndexEntry:
    if not isinstance(facts, dict) or facts.keys() != {"name", "files"}:
        raise ModelError(f"{INDEX_NAME}: a model has keys beside name and files", hint=_MEND)
    name, files = facts["name"], facts["files"]
    if not isinstance(name, str) or not is_plain_name(name) or not isinstance(files, dict):
        raise ModelError(f"{INDEX_NAME}: the name or the files of a model are odd", hint=_MEND)
    for path, digest in files.items():
        if not _is_below(path) or not isinstance(digest, str) or not _HASH.fullmatch(digest):
            raise ModelError(f"{INDEX_NAME}: {name}: {path!a} is listed wrongly", hint=_MEND)
    return IndexEntry(name, folder / name, files)


def _is_below(path: str) -> bool:
    parts = path.split("/")
    return all(map(is_plain_name, parts))


__all__ = [
    "IndexEntry",
    "list_models",
    "pretrained_folder",
    "read_index",
    "write_index",
]
