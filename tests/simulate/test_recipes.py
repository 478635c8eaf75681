"""Recipes: streams of random numbers, cohorts, and the sizes that scans draw."""

import itertools

import pytest
import torch

from mrcli.simulate.recipes import (
    Cohort,
    Reduction,
    ScanRecipe,
    draw_log_uniform,
    draw_sizes,
    generator_of,
)
from mrcli.simulate.site_file import load_sites

SITES = load_sites()
for_every_site = pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)


def recipe(patient=0, seed=0, site=SITES[0], protocol=0, **more):
    return ScanRecipe(site, site.protocols[protocol], patient, seed, **more)


def first_numbers(random):
    return tuple(torch.rand(4, generator=random).tolist())


def test_a_stream_is_the_same_whenever_it_is_asked_for_and_not_a_shared_one():
    one = recipe()
    first, second = one.random("gains"), one.random("gains")
    torch.rand(10, generator=first)
    assert first_numbers(second) == first_numbers(one.random("gains"))


def test_streams_of_other_purposes_patients_seeds_sites_and_protocols_differ():
    one = recipe()
    streams = [
        one.random("gains"),
        one.random("beats"),
        one.random("noise 0"),
        one.random("noise 1"),
        one.patient_random(),
        recipe(patient=1).random("gains"),
        recipe(seed=1).random("gains"),
        recipe(site=SITES[1]).random("gains"),
        recipe(protocol=1).random("gains"),
        recipe(cohort=Cohort.TEST).random("gains"),
        recipe(view="sax").random("gains"),
    ]
    assert len({first_numbers(random) for random in streams}) == len(streams)


def test_keys_do_not_run_into_one_another():
    keys = [("ab", "c"), ("a", "bc"), ("abc",), (1, 23), (12, 3), ("1", "2", "3"), ()]
    assert len({first_numbers(generator_of(*key)) for key in keys}) == len(keys)


def test_no_patient_is_in_two_sets_at_two_sites_or_drawn_twice():
    patients = [
        first_numbers(recipe(patient, seed, site, cohort=cohort).patient_random())
        for site, cohort, patient, seed in itertools.product(SITES, Cohort, range(6), (0, 1))
    ]
    assert len(set(patients)) == len(patients)


def test_a_patient_is_the_same_in_every_protocol_view_and_reduction():
    numbers = {
        first_numbers(one.patient_random())
        for one in (recipe(), recipe(protocol=1), recipe(view="4ch"), recipe(reduction=SMALL))
    }
    assert len(numbers) == 1


SMALL = Reduction(matrix=0.5, max_frames=2, max_slices=1)


@for_every_site
def test_sizes_are_those_of_the_site(site):
    for index, protocol in enumerate(site.protocols):
        for patient in range(12):
            sizes = draw_sizes(recipe(patient, site=site, protocol=index))
            assert sizes.matrix in protocol.matrices
            assert sizes.n_frames in protocol.n_frames
            assert sizes.view in protocol.views
            is_stack = sizes.view in {"sax", "axial"}
            assert sizes.n_slices in (protocol.n_slices if is_stack else (1,))


def test_all_sizes_and_views_of_a_protocol_are_drawn_sooner_or_later():
    site = max(SITES, key=lambda one: len(one.protocols[0].views))
    protocol = site.protocols[0]
    drawn = [draw_sizes(recipe(patient, site=site)) for patient in range(120)]
    assert {one.matrix for one in drawn} == set(protocol.matrices)
    assert {one.view for one in drawn} == set(protocol.views)


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch", "lvot"])
def test_a_long_axis_view_that_is_asked_for_has_one_slice(view):
    for patient in range(20):
        sizes = draw_sizes(recipe(patient, view=view))
        assert (sizes.view, sizes.n_slices) == (view, 1)


@for_every_site
@pytest.mark.parametrize("factor", [0.9, 0.5, 0.25, 0.01])
def test_a_smaller_matrix_is_odd_where_the_full_one_is(site, factor):
    for index in range(len(site.protocols)):
        full = draw_sizes(recipe(site=site, protocol=index)).matrix
        small = draw_sizes(
            recipe(site=site, protocol=index, reduction=Reduction(matrix=factor))
        ).matrix
        for n, n_small in zip(full, small, strict=True):
            assert n_small % 2 == n % 2
            assert abs(n_small - max(16, factor * n)) <= 1.5


def test_frames_and_slices_are_limited_and_never_raised():
    for patient in range(20):
        full = draw_sizes(recipe(patient))
        limited = draw_sizes(recipe(patient, reduction=Reduction(max_frames=5, max_slices=1000)))
        assert limited.n_frames == min(5, full.n_frames)
        assert limited.n_slices == full.n_slices
        assert limited.matrix == full.matrix


def test_a_peak_is_drawn_evenly_over_the_decades():
    random = generator_of("peaks")
    drawn = torch.tensor([draw_log_uniform((1e-3, 1e8), random) for _ in range(4000)]).double()
    assert 1e-3 <= float(drawn.min()) < float(drawn.max()) <= 1e8
    decades = drawn.log10()
    assert float(decades.mean()) == pytest.approx(2.5, abs=0.2)
    assert float(decades.std()) == pytest.approx(11 / 12**0.5, rel=0.05)
    assert draw_log_uniform((5.0, 5.0), random) == pytest.approx(5)
