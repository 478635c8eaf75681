"""List, show and verify models and adapters; results carry an exit code and print nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mrcli.adapters.bundle import LoadedAdapter, channels_of
from mrcli.adapters.merge import can_merge
from mrcli.errors import ModelError
from mrcli.models.active import with_active
from mrcli.models.index import list_models
from mrcli.models.parcel import bundle_at
from mrcli.models.store import Model, load_entry, load_model
from mrcli.nn.backbone import count_parameters
from mrcli.tasks.adapter_models import find_adapter, load_bundle, models_named
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


def list_adapters(model: str | None = None, registry: Path | None = None) -> ListResult:
    """List one model, or all that ship, with their adapters, as the site uses them.

    An active adapter stands where the one stands that ships with its name. `registry` is that of
    this site where none is named. Raises `ModelError`.
    """
    rows = (row for one in models_named(model) for row in _rows(with_active(one, registry)))
    return ListResult(tuple(rows))


def show_adapter(
    name_or_dir: str, model: str | None = None, registry: Path | None = None
) -> ShowResult:
    """Show the model or the adapter of a name or a folder; raises `ModelError`."""
    is_bundle = bundle_at(Path(name_or_dir)) is not None
    if model is None and not is_bundle and _is_model(name_or_dir):
        owner = load_model(name_or_dir)
        return ShowResult(model_row(owner), dict(owner.card))
    return _shown(*find_adapter(name_or_dir, model, registry))


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
        "activated": None,
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
        "activated": one.activated,
    }


def _rows(model: Model) -> tuple[dict[str, object], ...]:
    return (model_row(model), *(adapter_row(one, model) for one in model.adapters))


def _shown(one: LoadedAdapter, model: Model) -> ShowResult:
    card = one.card.document() | {
        "spec": one.adapter.spec.document(),
        "slots": channels_of(one.adapter),
    }
    return ShowResult(adapter_row(one, model), card)


def _is_model(name_or_dir: str) -> bool:
    is_known = any(entry.name == name_or_dir for entry in list_models())
    return is_known or Path(name_or_dir).is_dir()


def _verified_one(name: str, owner: Model | None) -> VerifiedItem:
    bundle = bundle_at(Path(name))
    if bundle is None:
        return _verified(name, lambda: load_model(name))
    return _verified(name, lambda: load_bundle(bundle, owner)[0])


def _verified(name: str, load: Callable[[], Model | LoadedAdapter]) -> VerifiedItem:
    try:
        found = load()
    except ModelError as error:
        return VerifiedItem(name, error=report_at(error, name))
    return VerifiedItem(name, len(found.adapters) if isinstance(found, Model) else 1)
