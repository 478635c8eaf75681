"""The sites of the program, and how one is chosen."""

import pytest

from mrcli.errors import InputError
from mrcli.simulate.contrast import CONTRASTS
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import Split, choose_sites

SITES = load_sites()
# the folders of CMRxRecon2025
MODALITIES = {
    "BlackBlood",
    "Cine",
    "Flow2d",
    "LGE",
    "Mapping",
    "Perfusion",
    "T1rho",
    "T1w",
    "T2w",
}


def of_split(split):
    return [site for site in SITES if site.split is split]


def test_twelve_sites_or_more_six_to_train_on_and_six_never_seen():
    assert len(SITES) >= 12
    assert len(of_split(Split.TRAIN)) >= 6
    assert len(of_split(Split.HELD_OUT)) >= 6
    assert len({site.name for site in SITES}) == len(SITES)


def test_no_center_is_in_both_splits():
    centers = [{site.center for site in of_split(split)} for split in Split]
    assert not set.intersection(*centers)


@pytest.mark.parametrize("split", list(Split))
def test_all_nine_modalities_are_in_either_split(split):
    found = {protocol.modality for site in of_split(split) for protocol in site.protocols}
    assert found == MODALITIES


def test_every_contrast_is_at_some_site():
    assert {one.contrast for site in SITES for one in site.protocols} == set(CONTRASTS)


def test_held_out_sites_have_fields_and_vendors_that_training_has_not():
    for fact in ("field_strength_t", "vendor"):
        seen, unseen = ({getattr(site, fact) for site in of_split(split)} for split in Split)
        assert unseen - seen
    assert {site.field_strength_t for site in SITES} == {1.5, 3.0, 5.0}


def test_sites_have_odd_and_even_numbers_of_lines_and_scales_over_ten_decades():
    lines = [n_y for site in SITES for protocol in site.protocols for n_y, _ in protocol.matrices]
    assert {n_y % 2 for n_y in lines} == {0, 1}
    lowest, highest = min(site.peak[0] for site in SITES), max(site.peak[1] for site in SITES)
    assert highest / lowest > 1e10


def test_names_and_folders_say_what_a_site_is():
    for site in SITES:
        assert site.name == f"{site.center}/{site.scanner}"
        vendor, field, scanner = site.folder.split("_")
        assert (vendor, scanner) == (site.vendor, site.scanner)
        assert field == {1.5: "15T", 3.0: "30T", 5.0: "50T"}[site.field_strength_t]
        assert (site.site.center, site.site.vendor) == (site.center, site.vendor)
        assert site.scanner.endswith(".sim")  # never taken for a real one


def test_sites_are_chosen_by_name_in_the_order_asked_for_and_once():
    first, last = SITES[0].name, SITES[-1].name
    assert choose_sites(SITES, [last, first, last]) == (SITES[-1], SITES[0])
    assert choose_sites(SITES, []) == ()


def test_a_name_nearly_right_gets_the_right_one_as_a_hint():
    with pytest.raises(InputError, match="no site is called") as failure:
        choose_sites(SITES, [SITES[0].name + "x"])
    assert SITES[0].name in failure.value.hint
    with pytest.raises(InputError) as failure:
        choose_sites(SITES, ["qqq"])
    assert all(site.name in failure.value.hint for site in SITES)


def test_a_protocol_is_found_by_its_contrast_and_the_known_ones_are_listed():
    site = SITES[0]
    for one in site.protocols:
        assert site.protocol(one.contrast) is one
    with pytest.raises(InputError, match="has no protocol 'nothing'") as failure:
        site.protocol("nothing")
    assert all(one.contrast in failure.value.hint for one in site.protocols)


def test_a_protocol_gives_the_signal_equations_its_own_timing():
    one = SITES[0].protocols[0]
    timing = one.timing(7)
    assert (timing.flip_deg, timing.tr_ms, timing.te_ms) == (one.flip_deg, one.tr_ms, one.te_ms)
    assert timing.n_frames == 7
