"""Which adapters a scan gets, and why, in one line.

A chain is a protocol adapter, if there is one, and then a site adapter or, for a site that the
model does not know, the universal one: that is how they were trained together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mrcli.adapters.bundle import LoadedAdapter
from mrcli.adapters.card import UNIVERSAL
from mrcli.errors import ModelError
from mrcli.site import Site

AUTO, NONE = "auto", "none"
Adapters = Mapping[str, LoadedAdapter]


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Selection:
    """The adapters in the order in which they act, their names, and the reason."""

    chain: tuple[LoadedAdapter, ...]
    protocol_adapter: str | None
    site_adapter: str | None  # "universal" where that one stands in
    reason: str


def choose(
    model_protocols: Adapters,
    model_sites: Adapters,
    universal: LoadedAdapter | None,
    *,
    protocol: str | None,
    site: str | None,
    wanted: str = AUTO,
) -> Selection:
    """Return the adapters for a scan of a protocol at a site, ``center/scanner``.

    `wanted` is auto, none, universal, or the name of an adapter, which takes its place in the
    chain; the other place is filled as by auto. Auto alone leaves out what its acceptance record
    says does not help, unless the site activated it. Raises `ModelError` for a name that is
    unknown.
    """
    if wanted == NONE:
        return Selection((), None, None, "no adapter was asked for")
    named_protocol, named_site = _named(model_protocols, wanted), _named(model_sites, wanted)
    if wanted == UNIVERSAL:
        named_site = _asked_universal(universal)
    elif wanted != AUTO and named_protocol is None and named_site is None:
        raise _unknown(wanted, model_protocols, model_sites, universal)
    refused = _was_refused if wanted == AUTO else _never
    first, why_first = _chosen(named_protocol) or _by_protocol(model_protocols, protocol, refused)
    second, why_second = _chosen(named_site) or _by_site(model_sites, site, universal, refused)
    chain = tuple(one for one in (first, second) if one is not None)
    return Selection(chain, _name(first), _name(second), f"{why_first}; {why_second}")


def site_name(site: Site) -> str | None:
    """Return ``center/scanner``, or None where a scan does not state both."""
    return f"{site.center}/{site.scanner}" if site.center and site.scanner else None


Choice = tuple[LoadedAdapter | None, str]
Refusal = Callable[[LoadedAdapter], bool]


def _chosen(named: LoadedAdapter | None) -> Choice | None:
    return None if named is None else (named, f"{named.kind} adapter {named.name} was asked for")


def _by_protocol(adapters: Adapters, protocol: str | None, refused: Refusal) -> Choice:
    if not protocol:
        return None, "the scan states no protocol: no protocol adapter"
    found = _named(adapters, protocol)
    if found is None:
        return None, f"protocol {protocol} is unknown: no protocol adapter"
    if refused(found):
        return None, f"the adapter of protocol {found.name} was measured and not accepted"
    return found, _taken("protocol", found)


def _by_site(
    adapters: Adapters, site: str | None, universal: LoadedAdapter | None, refused: Refusal
) -> Choice:
    found = _named(adapters, site or "")
    if found is not None and not refused(found):
        return found, _taken("site", found)
    what = f"site {site} is unknown" if site else "the scan states no site"
    if found is not None:
        what = f"the adapter of site {found.name} was measured and not accepted"
    if universal is None:
        return None, f"{what} and the model has no universal adapter: no site adapter"
    if refused(universal):
        return None, f"{what} and the universal adapter was not accepted: no site adapter"
    since = f", activated {universal.activated}" if universal.activated else ""
    return universal, f"{what}: universal{since}"


def _taken(what: str, one: LoadedAdapter) -> str:
    if one.activated:
        return f"{what} {one.name} has an active adapter, activated {one.activated}: it"
    return f"{what} {one.name} is known: its adapter"


def _was_refused(adapter: LoadedAdapter) -> bool:
    """Say whether a measurement found that the adapter does not help; none is no objection.

    What a site activated all the same, it wants.
    """
    acceptance = adapter.card.acceptance
    is_unhelpful = acceptance is not None and acceptance.get("accepted") is False
    return is_unhelpful and adapter.activated is None


def _never(adapter: LoadedAdapter) -> bool:
    """Refuse nothing: who asks for an adapter by name gets the chain that it was trained in."""
    del adapter
    return False


def _named(adapters: Adapters, name: str) -> LoadedAdapter | None:
    """Return the adapter of a name; case matters only where two differ in nothing else."""
    if name in adapters:
        return adapters[name]
    alike = [one for key, one in adapters.items() if key.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def _asked_universal(universal: LoadedAdapter | None) -> LoadedAdapter:
    if universal is None:
        raise ModelError("the model has no universal adapter", hint="choose auto or none")
    return universal


def _unknown(
    wanted: str, protocols: Adapters, sites: Adapters, universal: LoadedAdapter | None
) -> ModelError:
    own = [UNIVERSAL] if universal else []
    known = ", ".join([AUTO, NONE, *own, *sorted(protocols), *sorted(sites)])
    return ModelError(f"the model has no adapter called {wanted!r}", hint=f"known are {known}")


def _name(adapter: LoadedAdapter | None) -> str | None:
    return None if adapter is None else adapter.name
