"""List, show and verify models and adapters; results carry an exit code and print nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mrcli.adapters.bundle import CARD_NAME, LoadedAdapter, channels_of, stated_backbone
from mrcli.adapters.merge import can_merge
from mrcli.adapters.records import MAX_RECORD_BYTES
from mrcli.errors import ModelError
from mrcli.models.index import list_models, pretrained_folder
from mrcli.models.reading import read_within
from mrcli.models.store import Model, load_adapter, load_entry, load_model
from mrcli.nn.backbone import count_parameters
from mrcli.tasks.results import ErrorReport, report_at


@dataclass(frozen=True)
class ListResult:
    """Models and their adapters, a row each."""

    rows: tuple[dict[str, object], ...]
    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"models": list(self.rows)}


@dataclass(frozen=True)
class ShowResult:
    """All that is known of one model or adapter."""

    row: dict[str, object]
    card: dict[str, object]
    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"shown": self.row, "card": self.card}


@dataclass(frozen=True)
class VerifiedItem:
    """One model, or one adapter by itself, and why it is refused if it is."""

    name: str
    n_adapters: int = 0
    error: ErrorReport | None = None

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        status = "ok" if self.error is None else "refused"
        error = None if self.error is None else self.error.document()
        found = {"name": self.name, "status": status, "n_adapters": self.n_adapters}
        return {**found, "error": error}


@dataclass(frozen=True)
class VerifyResult:
    """What was verified."""

    items: tuple[VerifiedItem, ...]

    @property
    def exit_code(self) -> int:
        """0, or the code for a model or an adapter that is refused."""
        return ModelError.exit_code if self.reasons else 0

    @property
    def reasons(self) -> tuple[ErrorReport, ...]:
        """Return why each refused item is refused."""
        return tuple(item.error for item in self.items if item.error is not None)

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"verified": [item.document() for item in self.items]}


def list_adapters(model: str | None = None) -> ListResult:
    """List one model, or all that ship, with their adapters; raises `ModelError`."""
    rows = (row for one in _models(model) for row in _rows(one))
    return ListResult(tuple(rows))


def show_adapter(name_or_dir: str, model: str | None = None) -> ShowResult:
    """Show the model or the adapter of a name or a folder; raises `ModelError`."""
    if _is_bundle(name_or_dir):
        owner = load_model(model) if model else _owner(Path(name_or_dir))
        return _shown(load_adapter(Path(name_or_dir), owner), owner)
    if model is None and _is_model(name_or_dir):
        owner = load_model(name_or_dir)
        return ShowResult(model_row(owner), dict(owner.card))
    pairs = [(one, own) for own in _models(model) for one in own.adapters]
    found = [pair for pair in pairs if pair[0].name == name_or_dir]
    if not found:
        raise ModelError(
            f"no model or adapter is called {name_or_dir!r}", hint="see mrcli adapters list"
        )
    if len(found) > 1:
        owners = " and ".join(own.name for _, own in found)
        raise ModelError(f"{name_or_dir}: in {owners}", hint="choose one with --model")
    return _shown(*found[0])


def verify_adapters(names: Sequence[str], model: str | None = None) -> VerifyResult:
    """Check every byte of models and adapters, all that ship where none is named.

    Raises `ModelError` only where the index itself, or the model of `model`, is refused.
    """
    if names:
        owner = load_model(model) if model else None
        return VerifyResult(tuple(_verified_one(name, owner) for name in names))
    if model is not None:
        return VerifyResult((_verified(model, lambda: load_model(model)),))
    items = (_verified(entry.name, partial(load_entry, entry)) for entry in list_models())
    return VerifyResult(tuple(items))


def model_row(model: Model) -> dict[str, object]:
    """Return the facts of a model."""
    return {
        "model": model.name,
        "name": model.name,
        "kind": "backbone",
        "form": None,
        "merges": None,
        "n_parameters": count_parameters(model.backbone),
        "share": 1.0,
        "backbone_sha256": model.sha256,
        "sha256": model.sha256,
    }


def adapter_row(one: LoadedAdapter, model: Model) -> dict[str, object]:
    """Return the facts of an adapter; its share is that of the backbone's parameters."""
    n_parameters = count_parameters(one.adapter)
    return {
        "model": model.name,
        "name": one.name,
        "kind": one.kind,
        "form": one.adapter.spec.form,
        "merges": can_merge(one.adapter),
        "n_parameters": n_parameters,
        "share": n_parameters / count_parameters(model.backbone),
        "backbone_sha256": model.sha256,
        "sha256": one.sha256,
    }


def _rows(model: Model) -> tuple[dict[str, object], ...]:
    return (model_row(model), *(adapter_row(one, model) for one in model.adapters))


def _shown(one: LoadedAdapter, model: Model) -> ShowResult:
    card = one.card.document() | {
        "spec": one.adapter.spec.document(),
        "slots": channels_of(one.adapter),
    }
    return ShowResult(adapter_row(one, model), card)


def _models(model: str | None) -> tuple[Model, ...]:
    if model is not None:
        return (load_model(model),)
    return tuple(load_entry(entry) for entry in list_models())


def _is_bundle(name_or_dir: str) -> bool:
    return (Path(name_or_dir) / CARD_NAME).is_file()


def _is_model(name_or_dir: str) -> bool:
    is_known = any(entry.name == name_or_dir for entry in list_models())
    return is_known or Path(name_or_dir).is_dir()


def _owner(folder: Path) -> Model:
    """Return the model that ships for which a bundle says it is."""
    stated = stated_backbone(read_within(folder, CARD_NAME, MAX_RECORD_BYTES))
    found = next((one for one in _models(None) if one.sha256 == stated), None)
    if found is None:
        raise ModelError(
            f"{folder.name}: is for backbone {stated[:12]}, which no model in "
            f"{pretrained_folder().name} has",
            hint="name the model with --model",
        )
    return found


def _verified_one(name: str, owner: Model | None) -> VerifiedItem:
    if not _is_bundle(name):
        return _verified(name, lambda: load_model(name))
    folder = Path(name)
    return _verified(name, lambda: load_adapter(folder, owner or _owner(folder)))


def _verified(name: str, load: Callable[[], Model | LoadedAdapter]) -> VerifiedItem:
    try:
        found = load()
    except ModelError as error:
        return VerifiedItem(name, error=report_at(error, name))
    return VerifiedItem(name, len(found.adapters) if isinstance(found, Model) else 1)
