"""Which adapters a scan gets, in which order, and the one line that says why."""

from dataclasses import replace

import pytest

from bundles import adapter_of, backbone_of, card_of
from mrcli.adapters.bundle import LoadedAdapter
from mrcli.adapters.selection import choose, site_name
from mrcli.errors import ModelError
from mrcli.site import Site

SHA = "0" * 64
BACKBONE = backbone_of()


def loaded(kind, name):
    card = card_of(SHA, kind, name)
    return LoadedAdapter(name, kind, SHA, adapter_of(BACKBONE, "scale-shift"), card)


PROTOCOLS = {name: loaded("protocol", name) for name in ("Cine", "LGE")}
SITES = {name: loaded("site", name) for name in ("Center001/A", "Center002/B")}
UNIVERSAL = loaded("universal", "universal")


def chosen(protocol, site, wanted="auto", universal=UNIVERSAL):
    found = choose(PROTOCOLS, SITES, universal, protocol=protocol, site=site, wanted=wanted)
    names = tuple(one.name for one in found.chain)
    assert names == tuple(n for n in (found.protocol_adapter, found.site_adapter) if n)
    assert "\n" not in found.reason
    return names, found.reason


@pytest.mark.parametrize(
    ("protocol", "site", "names", "reason"),
    [
        ("Cine", "Center001/A", ("Cine", "Center001/A"), "protocol Cine is known: its adapter"),
        ("Cine", "Center001/A", ("Cine", "Center001/A"), "site Center001/A is known: its adapter"),
        ("LGE", "Center009/X", ("LGE", "universal"), "site Center009/X is unknown: universal"),
        ("LGE", None, ("LGE", "universal"), "the scan states no site: universal"),
        (None, "Center002/B", ("Center002/B",), "the scan states no protocol: no protocol adapter"),
        ("", "", ("universal",), "the scan states no protocol"),
        ("Brain", "Center002/B", ("Center002/B",), "protocol Brain is unknown"),
        ("cine", "center001/a", ("Cine", "Center001/A"), "protocol Cine is known"),
    ],
)
def test_auto_takes_the_protocol_then_the_site_else_universal(protocol, site, names, reason):
    found, why = chosen(protocol, site)
    assert found == names
    assert reason in why


def test_a_model_without_a_universal_adapter_says_so():
    names, reason = chosen("Cine", "Center009/X", universal=None)
    assert names == ("Cine",)
    assert "site Center009/X is unknown and the model has no universal adapter" in reason


@pytest.mark.parametrize(
    ("wanted", "names", "reason"),
    [
        ("none", (), "no adapter was asked for"),
        ("universal", ("Cine", "universal"), "universal adapter universal was asked for"),
        ("LGE", ("LGE", "Center001/A"), "protocol adapter LGE was asked for"),
        ("Center002/B", ("Cine", "Center002/B"), "site adapter Center002/B was asked for"),
    ],
)
def test_a_named_adapter_takes_its_place_in_the_chain(wanted, names, reason):
    found, why = chosen("Cine", "Center001/A", wanted)
    assert found == names
    assert reason in why


def refused(adapter):
    record = {"accepted": False, "gain_db": -0.04}
    return replace(adapter, card=replace(adapter.card, acceptance=record))


def test_auto_leaves_out_an_adapter_that_was_measured_and_not_accepted():
    protocols = PROTOCOLS | {"Cine": refused(PROTOCOLS["Cine"])}
    sites = SITES | {"Center001/A": refused(SITES["Center001/A"])}
    found = choose(protocols, sites, UNIVERSAL, protocol="Cine", site="Center001/A")
    assert (found.protocol_adapter, found.site_adapter) == (None, "universal")
    assert "adapter of protocol Cine was measured and not accepted" in found.reason
    assert "adapter of site Center001/A was measured and not accepted: universal" in found.reason
    found = choose(protocols, sites, refused(UNIVERSAL), protocol="Cine", site="Center009/X")
    assert found.chain == ()
    assert "the universal adapter was not accepted: no site adapter" in found.reason


def test_an_adapter_that_was_accepted_is_taken():
    card = replace(PROTOCOLS["Cine"].card, acceptance={"accepted": True})
    protocols = {"Cine": replace(PROTOCOLS["Cine"], card=card)}
    assert choose(protocols, {}, None, protocol="Cine", site=None).protocol_adapter == "Cine"


def test_who_names_an_adapter_gets_its_whole_chain_accepted_or_not():
    protocols = {"Cine": refused(PROTOCOLS["Cine"])}
    found = choose(
        protocols, {}, refused(UNIVERSAL), protocol="Cine", site=None, wanted="universal"
    )
    assert (found.protocol_adapter, found.site_adapter) == ("Cine", "universal")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match="no adapter called 'Brain'") as caught:
        chosen("Cine", None, "Brain")
    known = "auto, none, universal, Cine, LGE, Center001/A, Center002/B"
    assert caught.value.hint == f"known are {known}"
    with pytest.raises(ModelError, match="no universal adapter"):
        chosen("Cine", None, "universal", universal=None)


def test_names_that_differ_in_case_only_are_told_apart():
    both = {name: loaded("protocol", name) for name in ("Cine", "cine")}
    for name in both:
        found = choose(both, {}, None, protocol=name, site=None, wanted="auto")
        assert found.protocol_adapter == name
    found = choose(both, {}, None, protocol="CINE", site=None, wanted="auto")
    assert found.chain == ()


def test_a_site_has_a_name_where_center_and_scanner_are_stated():
    assert site_name(Site("Center001", "A")) == "Center001/A"
    assert site_name(Site("Center001", None)) is site_name(Site(None, "A")) is None
