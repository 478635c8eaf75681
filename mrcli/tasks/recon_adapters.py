"""Which adapters the scans of a run choose from: of the site, the model, and one of a folder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mrcli.adapters.card import PROTOCOL, SITE, UNIVERSAL
from mrcli.adapters.selection import AUTO, NONE, Selection, choose, site_name
from mrcli.models.active import with_active
from mrcli.models.store import LoadedAdapter, Model, load_adapter
from mrcli.scan import ScanHeader


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Adapters:
    """All adapters at hand, and what is wanted of them, as `choose` takes it."""

    protocols: Mapping[str, LoadedAdapter]
    sites: Mapping[str, LoadedAdapter]
    universal: LoadedAdapter | None
    wanted: str

    @staticmethod
    def of(model: Model, wanted: str) -> "Adapters":
        """Return those of a model, and that of the folder that `wanted` is, if it is no name.

        What this site activated for the model goes before what ships. Raises `ModelError` for an
        adapter that is not there or is refused, or a broken registry, before any scan is read.
        """
        used = model if wanted == NONE else with_active(model)
        own = Adapters(used.protocols, used.sites, used.universal, wanted)
        if wanted not in own.names and Path(wanted).is_dir():
            return own.with_bundle(load_adapter(Path(wanted), model))
        own.select(None, None)
        return own

    @property
    def names(self) -> frozenset[str]:
        """Return what can be wanted by name."""
        return frozenset({AUTO, NONE, UNIVERSAL, *self.protocols, *self.sites})

    def with_bundle(self, one: LoadedAdapter) -> "Adapters":
        """Return the same with one more, which is the one that is wanted."""
        if one.kind == PROTOCOL:
            return replace(self, protocols={**self.protocols, one.name: one}, wanted=one.name)
        if one.kind == SITE:
            return replace(self, sites={**self.sites, one.name: one}, wanted=one.name)
        return replace(self, universal=one, wanted=UNIVERSAL)

    def choose(self, header: ScanHeader) -> Selection:
        """Return the adapters of a scan, and why these."""
        return self.select(header.protocol, site_name(header.site))

    def select(self, protocol: str | None, site: str | None) -> Selection:
        """Return the adapters for a protocol at a site; raises `ModelError`."""
        return choose(
            self.protocols,
            self.sites,
            self.universal,
            protocol=protocol,
            site=site,
            wanted=self.wanted,
        )


def selection_document(selection: Selection) -> dict[str, object]:
    """Return the JSON form: the names as one text, each adapter with its hash, and the reason."""
    chain = [{"name": one.name, "kind": one.kind, "sha256": one.sha256} for one in selection.chain]
    name = " + ".join(one.name for one in selection.chain) or NONE
    return {"name": name, "chain": chain, "reason": selection.reason}
