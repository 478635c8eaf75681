"""A model as this site uses it: active adapters go before those that ship with the same name."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mrcli.adapters.bundle import LoadedAdapter
from mrcli.adapters.card import PROTOCOL, SITE, UNIVERSAL
from mrcli.errors import ModelError
from mrcli.models.audit import Activation
from mrcli.models.bundle_files import read_bundle
from mrcli.models.registry import bundle_folder, read_snapshot, registry_folder
from mrcli.models.store import Model


def with_active(model: Model, root: Path | None = None) -> Model:
    """Return the model with the adapters that are active for its backbone.

    `root` is the registry, by default that of this site. Raises `ModelError` where the registry,
    or a bundle that is active for this backbone, is not as it was written.
    """
    active = active_adapters(model, root)
    if not active:
        return model
    universal = next((one for one in active if one.kind == UNIVERSAL), model.universal)
    return replace(
        model,
        protocols=_before(active, PROTOCOL, model.protocols),
        sites=_before(active, SITE, model.sites),
        universal=universal,
    )


def active_adapters(model: Model, root: Path | None = None) -> tuple[LoadedAdapter, ...]:
    """Return the adapters that are active for the backbone of a model; raises `ModelError`."""
    folder = registry_folder() if root is None else root
    if folder is None:
        return ()
    active = read_snapshot(folder).active(model.sha256)
    return tuple(_loaded(folder, model, name, one) for name, one in active.items())


def _loaded(root: Path, model: Model, name: str, active: Activation) -> LoadedAdapter:
    try:
        one = read_bundle(bundle_folder(root, active.sha256), model.backbone, model.sha256)
        _require_same(one, name, active.sha256)
    except ModelError as error:
        raise ModelError(
            f"the registry is broken: the active adapter of {name}: {error.message}",
            hint="activate its bundle again, or roll it back",
        ) from error
    return replace(one, activated=active.time)


def _require_same(one: LoadedAdapter, name: str, sha256: str) -> None:
    if (one.name, one.sha256) != (name, sha256):
        raise ModelError(f"{sha256[:12]}: the folder holds another bundle")


def _before(
    active: tuple[LoadedAdapter, ...], kind: str, shipped: Mapping[str, LoadedAdapter]
) -> dict[str, LoadedAdapter]:
    own = {one.name: one for one in active if one.kind == kind}
    # a scan finds its adapter whatever the case: two that differ in nothing else would hide it
    taken = {name.casefold() for name in own}
    return {name: one for name, one in shipped.items() if name.casefold() not in taken} | own
