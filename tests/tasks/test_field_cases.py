"""The design of the field test: what it covers, and that no patient is in two sets."""

from itertools import product

import pytest

from mrcli.simulate.recipes import Cohort, draw_sizes
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import Split
from mrcli.tasks.field_cases import (
    ACCELERATIONS,
    FULL,
    PATTERNS,
    QUICK,
    FieldDesign,
    Group,
    places_by_modality,
)

SITES = load_sites()
MODALITIES = {one.modality for site in SITES for one in site.protocols}
VERSIONS = pytest.mark.parametrize("version", [FULL, QUICK], ids=lambda one: one.name)


def cells(cases, group):
    return [(c.modality, c.pattern, c.acceleration) for c in cases if c.group is group]


def everything():
    return set(product(MODALITIES, [pattern.value for pattern in PATTERNS], ACCELERATIONS))


@pytest.mark.parametrize("group", Group)
def test_the_full_version_covers_all_81_cells_at_seen_and_unseen_sites(group):
    found = cells(FieldDesign(FULL, 0).test_cases(SITES), group)
    assert len(everything()) == 81
    assert set(found) == everything()


def test_the_full_version_takes_every_protocol_of_every_site_with_nine_conditions():
    cases = FieldDesign(FULL, 0).test_cases(SITES)
    n_protocols = sum(len(site.protocols) for site in SITES)
    assert len(cases) == len({case.name for case in cases}) == 9 * n_protocols == 720


def test_the_quick_version_has_each_cell_once_at_unseen_sites():
    found = cells(FieldDesign(QUICK, 0).test_cases(SITES), Group.UNSEEN)
    assert sorted(found) == sorted(everything())


def test_the_quick_version_pairs_any_two_of_modality_pattern_acceleration_at_seen_sites():
    found = cells(FieldDesign(QUICK, 0).test_cases(SITES), Group.SEEN)
    patterns = [pattern.value for pattern in PATTERNS]
    assert len(found) == 27
    assert {(m, p) for m, p, _ in found} == set(product(MODALITIES, patterns))
    assert {(m, a) for m, _, a in found} == set(product(MODALITIES, ACCELERATIONS))
    assert {(p, a) for _, p, a in found} == set(product(patterns, ACCELERATIONS))


def test_every_site_and_every_protocol_of_an_unseen_site_appears_in_the_quick_version():
    cases = FieldDesign(QUICK, 0).test_cases(SITES)
    assert {case.recipe.site.name for case in cases} == {site.name for site in SITES}
    places = {(case.recipe.site.name, case.recipe.protocol.contrast) for case in cases}
    for site in SITES:
        if site.split is Split.HELD_OUT:
            assert {(site.name, one.contrast) for one in site.protocols} <= places


def test_three_places_see_every_pattern_and_acceleration_in_the_quick_version():
    cases = FieldDesign(QUICK, 0).test_cases(SITES)
    (modality,) = (m for m, p in places_by_modality(SITES, Group.UNSEEN).items() if m == "T2w")
    own = [case for case in cases if case.modality == modality and case.group is Group.UNSEEN]
    for site in {case.recipe.site.name for case in own}:
        at_site = [case for case in own if case.recipe.site.name == site]
        assert {case.pattern for case in at_site} == {pattern.value for pattern in PATTERNS}
        assert {case.acceleration for case in at_site} == set(ACCELERATIONS)


@VERSIONS
def test_no_patient_is_in_two_sets_and_none_is_of_the_training_cohort(version):
    design = FieldDesign(version, 0)
    tuning, test = design.tuning_cases(SITES), design.test_cases(SITES, 2)
    assert {case.recipe.cohort for case in tuning} == {Cohort.TUNE}
    assert {case.recipe.cohort for case in test} == {Cohort.TEST}
    assert not {case.patient for case in tuning} & {case.patient for case in test}


@VERSIONS
def test_weights_are_tuned_at_training_sites_with_every_pattern_and_acceleration(version):
    tuning = FieldDesign(version, 0).tuning_cases(SITES)
    assert {case.recipe.site.split for case in tuning} == {Split.TRAIN}
    conditions = {(case.pattern, case.acceleration) for case in tuning}
    assert conditions == set(product([pattern.value for pattern in PATTERNS], ACCELERATIONS))


@VERSIONS
def test_a_patient_belongs_to_one_protocol_and_more_patients_come_on_top(version):
    design = FieldDesign(version, 0)
    one, three = design.test_cases(SITES), design.test_cases(SITES, 3)
    assert len(three) == 3 * len(one) == len({case.name for case in three})
    assert {case.name for case in one} <= {case.name for case in three}
    protocols = {(case.patient, case.recipe.protocol.contrast) for case in three}
    assert len(protocols) == len({case.patient for case in three})


def test_groups_are_named_after_the_split_of_the_site():
    for case in FieldDesign(QUICK, 0).test_cases(SITES):
        is_training = case.recipe.site.split is Split.TRAIN
        assert case.group is (Group.SEEN if is_training else Group.UNSEEN)


def test_the_quick_version_is_reduced_and_the_full_one_is_not():
    sizes = {}
    for version in (QUICK, FULL):
        case = FieldDesign(version, 0).test_cases(SITES[:1])[0]
        sizes[version.name] = draw_sizes(case.recipe)
    assert sizes["full"].matrix in SITES[0].protocols[0].matrices
    assert sizes["quick"].matrix[0] <= sizes["full"].matrix[0] / 2 + 1
    assert sizes["quick"].n_frames <= 4 < sizes["full"].n_frames
