"""The sequence of samples: fixed by its seed, even over protocols, and free of held-out sites."""

from collections import Counter

from mrcli.simulate.recipes import Cohort
from mrcli.simulate.sites import Split
from mrcli.tasks.train_settings import training_sites
from mrcli.training import curriculum
from mrcli.training.curriculum import Curriculum

SITES = training_sites()
OURS = Curriculum(SITES, 7)


def test_the_same_seed_gives_the_same_sequence_and_another_seed_another():
    again, other = Curriculum(SITES, 7), Curriculum(SITES, 8)
    slices = [OURS.slice_of(group) for group in range(40)]
    assert slices == [again.slice_of(group) for group in range(40)]
    assert slices != [other.slice_of(group) for group in range(40)]
    masks = [OURS.mask_of(sample) for sample in range(40)]
    assert masks == [again.mask_of(sample) for sample in range(40)]
    assert masks != [other.mask_of(sample) for sample in range(40)]


def test_a_recipe_depends_on_its_own_number_only():
    late = OURS.slice_of(1000)
    assert Curriculum(SITES, 7).slice_of(1000) == late


def test_cohorts_share_no_draw():
    test = Curriculum(SITES, 7, Cohort.TEST)
    assert [OURS.mask_of(n).seed for n in range(20)] != [test.mask_of(n).seed for n in range(20)]
    assert test.slice_of(0).scan.cohort is Cohort.TEST


def test_modalities_take_even_turns():
    modalities = {protocol.modality for site in SITES for protocol in site.protocols}
    n = len(modalities)
    counts = Counter(OURS.slice_of(g).scan.protocol.modality for g in range(20 * n))
    assert counts == dict.fromkeys(modalities, 20)


def test_every_site_has_its_turn_and_only_with_protocols_that_it_has():
    scans = [OURS.slice_of(group).scan for group in range(400)]
    assert {scan.site.name for scan in scans} == {site.name for site in SITES}
    assert all(scan.protocol in scan.site.protocols for scan in scans)


def test_each_group_has_a_patient_of_its_own():
    patients = [OURS.slice_of(group).scan.patient for group in range(300)]
    assert len(set(patients)) == 300
    assert min(patients) == 1


def test_no_held_out_site_is_ever_drawn():
    assert all(site.split is Split.TRAIN for site in SITES)
    assert all(OURS.slice_of(g).scan.site.split is Split.TRAIN for g in range(200))


def test_every_pattern_is_drawn_about_as_often_as_meant():
    masks = [OURS.mask_of(n) for n in range(2000)]
    share = sum(mask.pattern in curriculum._OTHER_PATTERNS for mask in masks) / 2000
    assert 0.09 < share < 0.15
    assert {mask.acceleration for mask in masks} == set(curriculum._ACCELERATIONS)
    assert {mask.pattern for mask in masks} == {
        *curriculum._PATTERNS,
        *curriculum._OTHER_PATTERNS,
    }
    assert len({mask.seed for mask in masks}) == 2000


def test_another_attempt_is_another_mask():
    assert OURS.mask_of(3).seed != OURS.mask_of(3, attempt=1).seed


def test_a_real_anatomy_is_meant_for_two_fifths_of_the_groups():
    real = [OURS.slice_of(group).uses_real_anatomy for group in range(1000)]
    assert 0.35 < sum(real) / 1000 < 0.45
