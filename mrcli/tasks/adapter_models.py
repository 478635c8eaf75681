"""Adapters by name or folder, and the models for which they are."""

from pathlib import Path

from mrcli.adapters.bundle import CARD_NAME, LoadedAdapter, stated_backbone
from mrcli.adapters.records import MAX_RECORD_BYTES
from mrcli.errors import ModelError
from mrcli.models.active import with_active
from mrcli.models.index import list_models, pretrained_folder
from mrcli.models.parcel import bundle_at
from mrcli.models.reading import read_within
from mrcli.models.store import Model, load_adapter, load_entry, load_model


def models_named(model: str | None) -> tuple[Model, ...]:
    """Return one model, or all that ship; raises `ModelError`."""
    if model is not None:
        return (load_model(model),)
    return tuple(load_entry(entry) for entry in list_models())


def owner_of(card: bytes, where: str) -> Model:
    """Return the model that ships for which a bundle says it is; raises `ModelError`."""
    stated = stated_backbone(card)
    found = next((one for one in models_named(None) if one.sha256 == stated), None)
    if found is None:
        raise ModelError(
            f"{where}: is for backbone {stated[:12]}, which no model in "
            f"{pretrained_folder().name} has",
            hint="name the model with --model",
        )
    return found


def load_bundle(folder: Path, owner: Model | None) -> tuple[LoadedAdapter, Model]:
    """Return the adapter of a bundle's folder, and its model: `owner`, or one that ships."""
    if owner is None:
        owner = owner_of(read_within(folder, CARD_NAME, MAX_RECORD_BYTES), folder.name)
    return load_adapter(folder, owner), owner


def find_adapter(
    name_or_dir: str, model: str | None = None, registry: Path | None = None
) -> tuple[LoadedAdapter, Model]:
    """Return the adapter of a folder or a name, and its model; raises `ModelError`.

    Of adapters of one name and model, the one that is active is meant.
    """
    bundle = bundle_at(Path(name_or_dir))
    if bundle is not None:
        return load_bundle(bundle, load_model(model) if model else None)
    models = models_named(model)
    pairs = [(one, own) for own in models for one in with_active(own, registry).adapters]
    found = [pair for pair in pairs if pair[0].name == name_or_dir]
    if not found:
        raise ModelError(
            f"no model or adapter is called {name_or_dir!r}", hint="see mrcli adapters list"
        )
    if len(found) > 1:
        owners = " and ".join(own.name for _, own in found)
        raise ModelError(f"{name_or_dir}: in {owners}", hint="choose one with --model")
    return found[0]
