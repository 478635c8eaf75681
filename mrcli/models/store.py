"""Models as they are used: a frozen backbone with all its adapters, every byte checked.

A model is a folder with ``backbone.safetensors``, ``model.json``, ``MODEL_CARD.md`` and the
bundles ``adapters/universal``, ``adapters/protocols/NAME`` and ``adapters/sites/CENTER-SCANNER``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mrcli.adapters import bundle
from mrcli.adapters.bundle import LoadedAdapter, parse_bundle
from mrcli.adapters.card import PROTOCOL, SITE, UNIVERSAL
from mrcli.errors import ModelError
from mrcli.models import backbone_file
from mrcli.models.backbone_file import parse_backbone
from mrcli.models.bundle_files import LIMITS, read_bundle
from mrcli.models.index import (
    IndexEntry,
    limit_of,
    list_models,
    pretrained_folder,
    write_index,
)
from mrcli.models.reading import files_below, read_within
from mrcli.nn.backbone import Backbone

__all__ = [
    "IndexEntry",
    "LoadedAdapter",
    "Model",
    "list_models",
    "load_adapter",
    "load_entry",
    "load_folder",
    "load_model",
    "pretrained_folder",
    "write_index",
]


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Model:
    """A backbone, frozen and channels last, and its adapters by name."""

    name: str
    backbone: Backbone
    sha256: str  # of the backbone's weights
    protocols: Mapping[str, LoadedAdapter]
    sites: Mapping[str, LoadedAdapter]  # "center/scanner"
    universal: LoadedAdapter | None
    card: Mapping[str, object]  # what model.json states

    @property
    def adapters(self) -> tuple[LoadedAdapter, ...]:
        """Return all adapters: the universal one, protocols, sites."""
        own = () if self.universal is None else (self.universal,)
        return (*own, *self.protocols.values(), *self.sites.values())


def load_model(name_or_dir: str | Path) -> Model:
    """Return a model by its name in the index, or of a folder; a name goes before a folder.

    Raises `ModelError` unless all is as it was written; of the index also every hash.
    """
    name = str(name_or_dir)
    entries = {entry.name: entry for entry in list_models()}
    if name in entries:
        return load_entry(entries[name])
    folder = Path(name_or_dir)
    if not folder.is_dir():
        known = ", ".join(entries) or "none yet"
        raise ModelError(
            f"no model is called {name!r}", hint=f"known are {known}, or name a folder"
        )
    return load_folder(folder)


def load_entry(entry: IndexEntry) -> Model:
    """Return a model of the index; raises `ModelError`."""
    contents = entry.contents()
    model = _model_named(entry.name, contents)
    if model.name != entry.name:
        raise ModelError(f"{entry.name}: model.json calls it {model.name}")
    return model


def load_folder(folder: Path) -> Model:
    """Return the model of a folder; raises `ModelError`."""
    own = (backbone_file.CARD_NAME, backbone_file.WEIGHTS_NAME)
    bundles = files_below(folder, "adapters/") if (folder / "adapters").is_dir() else ()
    names = [*own, *(name for name in bundles if PurePosixPath(name).name in LIMITS)]
    contents = {name: read_within(folder, name, limit_of(name)) for name in names}
    return _model_named(folder.name, contents)


def load_adapter(folder: Path, model: Model) -> LoadedAdapter:
    """Return the adapter of a bundle for a model, which stays as it is; raises `ModelError`."""
    return read_bundle(folder, model.backbone, model.sha256)


def adapter_folder(kind: str, name: str) -> str:
    """Return where in a model the bundle of an adapter lies, with forward slashes."""
    if kind == UNIVERSAL:
        return "adapters/universal"
    return f"adapters/{kind}s/{name.replace('/', '-')}"


def _model_named(where: str, contents: Mapping[str, bytes]) -> Model:
    try:
        return _model(contents)
    except ModelError as error:
        raise ModelError(f"{where}: {error.message}", hint=error.hint) from error


def _model(contents: Mapping[str, bytes]) -> Model:
    card = _content(contents, backbone_file.CARD_NAME)
    backbone, facts = parse_backbone(card, _content(contents, backbone_file.WEIGHTS_NAME))
    sha256 = str(facts["backbone_sha256"])
    adapters = [
        _adapter(contents, folder, backbone, sha256) for folder in _bundle_folders(contents)
    ]
    return Model(
        name=str(facts["name"]),
        backbone=backbone,
        sha256=sha256,
        protocols={one.name: one for one in adapters if one.kind == PROTOCOL},
        sites={one.name: one for one in adapters if one.kind == SITE},
        universal=next((one for one in adapters if one.kind == UNIVERSAL), None),
        card=facts,
    )


def _bundle_folders(contents: Mapping[str, bytes]) -> Iterator[str]:
    places = (PurePosixPath(name) for name in contents)
    yield from sorted({str(place.parent) for place in places if place.name in LIMITS})


def _adapter(
    contents: Mapping[str, bytes], folder: str, backbone: Backbone, sha256: str
) -> LoadedAdapter:
    card = _content(contents, f"{folder}/{bundle.CARD_NAME}")
    weights = _content(contents, f"{folder}/{bundle.WEIGHTS_NAME}")
    try:
        one = parse_bundle(card, weights, backbone, sha256)
    except ModelError as error:
        raise ModelError(f"{folder}: {error.message}", hint=error.hint) from error
    if folder != adapter_folder(one.kind, one.name):
        raise ModelError(f"{folder}: holds the {one.kind} adapter {one.name}, not its own")
    return one


def _content(contents: Mapping[str, bytes], name: str) -> bytes:
    if name not in contents:
        raise ModelError(f"{name}: no such file")
    return contents[name]
