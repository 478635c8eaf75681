"""Tissues: what was measured is reproduced, what was not follows a power law."""

import pytest

from mrcli.simulate.tissues import _MEASURED, Tissue, relaxation

for_every_tissue = pytest.mark.parametrize("tissue", list(Tissue))


@for_every_tissue
def test_the_times_at_clinical_fields_are_the_measured_ones(tissue):
    for index, field_strength_t in enumerate((1.5, 3.0)):
        found = relaxation(tissue, field_strength_t)
        assert found.t1_ms == pytest.approx(_MEASURED[tissue].t1_ms[index], rel=1e-12)
        assert found.t2_ms == pytest.approx(_MEASURED[tissue].t2_ms[index], rel=1e-12)


@for_every_tissue
@pytest.mark.parametrize("name", ["t1_ms", "t2_ms"])
def test_every_doubling_of_the_field_multiplies_a_time_by_the_same_factor(tissue, name):
    low, middle, high = (getattr(relaxation(tissue, field), name) for field in (1.5, 3.0, 6.0))
    assert high / middle == pytest.approx(middle / low, rel=1e-12)
    between = [getattr(relaxation(tissue, field), name) for field in (3.0, 5.0, 6.0)]
    assert between in (sorted(between), sorted(between, reverse=True))


@for_every_tissue
def test_t1_grows_with_the_field(tissue):
    times = [relaxation(tissue, field).t1_ms for field in (0.55, 1.5, 3.0, 5.0, 7.0)]
    assert times == sorted(set(times))


@for_every_tissue
@pytest.mark.parametrize("field_strength_t", [0.55, 1.5, 3.0, 5.0])
def test_magnetisation_decays_faster_than_it_recovers(tissue, field_strength_t):
    one = relaxation(tissue, field_strength_t)
    assert 0 < one.t2_ms < one.t1rho_ms < one.t1_ms
    assert 0 < one.proton_density <= 1


def test_contrast_agent_gathers_in_scars_and_fat_is_the_tissue_that_is_shifted():
    shares = {tissue: relaxation(tissue, 3.0).contrast_share for tissue in Tissue}
    assert shares[Tissue.MYOCARDIUM] < shares[Tissue.SCAR] < shares[Tissue.LEFT_BLOOD] == 1
    shifts = {tissue: relaxation(tissue, 3.0).shift_ppm for tissue in Tissue}
    assert min(shifts, key=shifts.get) is Tissue.FAT
    assert shifts[Tissue.MYOCARDIUM] == shifts[Tissue.LEFT_BLOOD] == 0
