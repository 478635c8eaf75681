"""Contrast: what a protocol is made for is what its images show.

No constant of a protocol stands here: facts are ratios and orders, or follow from its timing.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate.contrast import _RR_MS, CONTRASTS, Conditions, Timing
from mrcli.simulate.tissues import FAT_SHIFT_PPM, Tissue

MYOCARDIUM, SCAR, FAT, MUSCLE = Tissue.MYOCARDIUM, Tissue.SCAR, Tissue.FAT, Tissue.MUSCLE
LEFT, RIGHT, FLUID = Tissue.LEFT_BLOOD, Tissue.RIGHT_BLOOD, Tissue.FLUID
TIMING = {
    "cine": Timing(45.0, 3.1, 1.55, 2),
    "lge": Timing(22.0, 6.0, 2.4, 2),
    "T1map": Timing(35.0, 2.7, 1.3, 9),
    "T1mappost": Timing(35.0, 2.7, 1.3, 9),
    "T2map": Timing(50.0, 2.8, 1.4, 5),
    "T1rho": Timing(45.0, 2.9, 1.45, 5),
    "perfusion": Timing(12.0, 2.4, 1.1, 50),
    "flow2d": Timing(18.0, 4.8, 2.6, 2),
    "blackblood": Timing(90.0, 800.0, 36.0, 1),
    "T1w": Timing(90.0, 800.0, 9.0, 1),
    "T2w": Timing(90.0, 2000.0, 72.0, 1),
}
for_every_contrast = pytest.mark.parametrize("name", list(CONTRASTS))
at_every_field = pytest.mark.parametrize("field_strength_t", [1.5, 3.0, 5.0])


def place(field_strength_t=3.0, off_resonance_hz=0.0, transmit=1.0):
    one = torch.ones(1, 1)
    return Conditions(field_strength_t, off_resonance_hz * one, transmit * one)


def parts(name, where=None, **timing):
    return CONTRASTS[name](replace(TIMING[name], **timing), where or place())


def signal(name, where=None, **timing):
    """Return the complex signal ``(tissue, frame)`` of a place."""
    found = parts(name, where, **timing)
    return found.preparation * found.readout[:, 0, :]


@for_every_contrast
@at_every_field
def test_every_contrast_has_a_finite_signal_of_every_tissue_in_every_frame(name, field_strength_t):
    where = Conditions(field_strength_t, 100 * torch.randn(4, 5), 0.7 + 0.6 * torch.rand(4, 5))
    found = parts(name, where)
    assert found.preparation.shape == (len(Tissue), TIMING[name].n_frames)
    assert found.readout.shape == (len(Tissue), 4, 5)
    assert bool(found.preparation.isfinite().all())
    assert bool(found.readout.isfinite().all())
    assert float(found.readout.abs().max()) <= 1.5
    assert float(found.readout.abs().amax((1, 2)).min()) > 0


@at_every_field
def test_blood_is_brighter_than_muscle_in_a_cine_and_lungs_are_dark(field_strength_t):
    size = signal("cine", place(field_strength_t)).abs()[:, 0]
    assert float(size[LEFT]) > 1.5 * float(size[MYOCARDIUM])
    assert float(size[RIGHT]) > 1.2 * float(size[MYOCARDIUM])
    assert float(size[MYOCARDIUM]) > 2 * float(size[Tissue.LUNG])


def test_a_cine_has_bands_half_a_turn_per_tr_away_in_still_tissue():
    tr_ms = TIMING["cine"].tr_ms
    on, band = (
        signal("cine", place(off_resonance_hz=hz))[MYOCARDIUM, 0].abs()
        for hz in (0.0, 1000 / (2 * tr_ms))
    )
    assert float(band) < 0.2 * float(on)


@at_every_field
def test_late_enhancement_nulls_healthy_muscle_and_scars_are_bright(field_strength_t):
    size = signal("lge", place(field_strength_t)).abs()
    healthy, scar, blood = (float(size[tissue, 0]) for tissue in (MYOCARDIUM, SCAR, LEFT))
    assert healthy < 0.06 * scar
    assert scar > 0.05
    assert blood > 3 * healthy
    assert float(size[MYOCARDIUM, 1]) > 5 * healthy  # the reference image is not nulled


def test_late_enhancement_keeps_the_sign_so_that_long_t1_is_negative():
    preparation = parts("lge").preparation
    assert float(preparation[FLUID, 0]) < 0 < float(preparation[SCAR, 0])
    assert float(preparation[FLUID, 1]) > 0


@at_every_field
def test_black_blood_has_blood_darker_than_muscle(field_strength_t):
    size = signal("blackblood", place(field_strength_t)).abs()[:, 0]
    assert float(size[[LEFT, RIGHT]].max()) < 0.5 * float(size[MYOCARDIUM])
    assert float(size[FAT]) > float(size[MYOCARDIUM])


@pytest.mark.parametrize(("name", "constant"), [("T2map", "t2_ms"), ("T1rho", "t1rho_ms")])
@at_every_field
def test_prepared_maps_decay_with_one_time_constant_that_is_the_tissues(
    name, constant, field_strength_t
):
    where = place(field_strength_t)
    log = parts(name, where).preparation.double().log()
    assert not log[:, 0].any()  # the first frame is not prepared
    steps = log.diff(dim=1)
    assert_close(steps, steps[:, :1].expand_as(steps), rtol=1e-4, atol=1e-6)
    times = torch.tensor([getattr(where.of(tissue), constant) for tissue in Tissue]).double()
    durations = -log * times[:, None]
    assert_close(durations, durations[:1].expand_as(durations), rtol=1e-3, atol=1e-3)
    assert 30 < float(durations[0, -1]) < 120


def recovery_time_ms(series):
    """Return the time constant of frames three apart, which lie one heart beat apart."""
    early, middle, late = series[0].double(), series[3].double(), series[6].double()
    return -_RR_MS / torch.log((late - middle) / (middle - early))


@at_every_field
def test_a_t1_map_without_flip_recovers_t1(field_strength_t):
    where = place(field_strength_t)
    series = parts("T1map", where, flip_deg=0.05).preparation
    for tissue in (MYOCARDIUM, LEFT, MUSCLE):
        found = float(recovery_time_ms(series[tissue]))
        assert found == pytest.approx(where.of(tissue).t1_ms, rel=5e-3)


def flip_of_recovery_deg(tissue, flip_deg, where):
    """Return the flip angle that ``1/T1* = cos^2(a/2)/T1 + sin^2(a/2)/T2`` needs."""
    one, series = where.of(tissue), parts("T1map", where, flip_deg=flip_deg).preparation[tissue]
    rate = float(1 / recovery_time_ms(series))
    share = (rate - 1 / one.t1_ms) / (1 / one.t2_ms - 1 / one.t1_ms)
    return 2 * math.degrees(math.asin(share**0.5))


@at_every_field
def test_the_apparent_t1_of_a_t1_map_is_that_of_look_locker(field_strength_t):
    where = place(field_strength_t)
    found = {
        (tissue, flip_deg): flip_of_recovery_deg(tissue, flip_deg, where)
        for tissue in (MYOCARDIUM, LEFT, MUSCLE)
        for flip_deg in (20.0, 40.0, 60.0)
    }
    share = found[MYOCARDIUM, 20.0] / 20  # of the flip angle: profiles of slices are no boxes
    assert 0.3 < share < 1.01
    for (_, flip_deg), needed_deg in found.items():
        assert needed_deg == pytest.approx(share * flip_deg, rel=0.03)


def test_t1_maps_start_inverted_and_are_sorted_by_time():
    for name in ("T1map", "T1mappost"):
        series = parts(name, n_frames=8).preparation
        assert bool((series.diff(dim=1) >= 0).all())
        assert float(series[MYOCARDIUM, 0]) < float(series[MYOCARDIUM, -1])
    assert float(parts("T1map").preparation[MYOCARDIUM, 0]) < 0


def test_contrast_agent_shortens_the_recovery_of_blood_scar_and_muscle_in_this_order():
    native, post = (parts(name, flip_deg=0.05).preparation for name in ("T1map", "T1mappost"))
    shorter = [
        1 / float(recovery_time_ms(post[tissue])) - 1 / float(recovery_time_ms(native[tissue]))
        for tissue in (LEFT, SCAR, MYOCARDIUM)
    ]
    assert shorter[0] > shorter[1] > shorter[2] > 0


def test_a_bolus_reaches_the_right_heart_then_the_left_then_the_muscle():
    series = parts("perfusion").preparation
    rise = series - series[:, :1]
    arrival = (rise > 0.2 * rise.amax(1, keepdim=True)).float().argmax(1)
    peak = series.argmax(1)
    for when in (arrival, peak):
        assert int(when[RIGHT]) < int(when[LEFT]) < int(when[MYOCARDIUM])
    assert int(arrival[RIGHT]) > 1  # some frames before the bolus
    assert float(rise[SCAR].amax()) < float(rise[MYOCARDIUM].amax())
    assert float(rise[LEFT].amax()) > float(rise[MYOCARDIUM].amax())
    assert not rise[FAT].any()


@pytest.mark.parametrize("name", ["lge", "perfusion", "flow2d"])
@pytest.mark.parametrize(("turns", "sign"), [(0.5, -1), (1.0, 1)])
def test_fat_is_against_or_with_water_where_its_shift_has_turned_it(name, turns, sign):
    shift_hz = abs(FAT_SHIFT_PPM) * 42.577 * 1.5
    readout = parts(name, place(1.5), te_ms=1000 * turns / shift_hz).readout[:, 0, 0]
    relative = readout[FAT] / readout[MUSCLE]
    assert float(relative.real) * sign > 0
    assert abs(float(relative.imag)) < 1e-3 * abs(float(relative.real))


def test_fat_is_against_water_in_balanced_ssfp_of_one_turn_per_tr():
    shift_hz = abs(FAT_SHIFT_PPM) * 42.577 * 1.5
    opposed = signal("cine", place(1.5), tr_ms=1000 / shift_hz)[:, 0]
    assert float(opposed[FAT].real) < 0 < float(opposed[MUSCLE].real)
    with_it = signal("cine", place(1.5), tr_ms=0.2 * 1000 / shift_hz)[:, 0]
    assert float(with_it[FAT].real) > 0 < float(with_it[MUSCLE].real)


@pytest.mark.parametrize("name", ["lge", "perfusion", "flow2d"])
def test_off_resonance_turns_gradient_echoes_by_the_echo_time(name):
    te_ms, hz = 2.0, 60.0
    on, off = (parts(name, place(off_resonance_hz=f), te_ms=te_ms).readout for f in (0.0, hz))
    angle = torch.tensor(2 * math.pi * hz * te_ms / 1000)
    assert_close(off, on * torch.polar(torch.ones(()), angle), rtol=1e-4, atol=1e-6)


def test_flow_has_blood_bright_by_inflow_in_all_frames_alike():
    found = signal("flow2d", n_frames=4).abs()
    assert_close(found, found[:, :1].expand_as(found))
    still = [tissue for tissue in Tissue if tissue not in (LEFT, RIGHT)]
    assert float(found[[LEFT, RIGHT]].min()) > float(found[still].max())


@pytest.mark.parametrize("name", ["lge", "flow2d", "perfusion"])
def test_a_weak_transmit_field_makes_small_flip_angles_smaller(name):
    full, weak = (parts(name, place(transmit=share)).readout.abs() for share in (1.0, 0.5))
    flip = math.radians(TIMING[name].flip_deg)
    assert_close(weak / full, torch.full_like(full, math.sin(flip / 2) / math.sin(flip)))


def test_spin_echoes_are_weighted_as_they_are_called():
    t1w, t2w = (signal(name).abs()[:, 0] for name in ("T1w", "T2w"))
    assert float(t1w[FAT]) > 1.5 * float(t1w[MYOCARDIUM])
    assert float(t1w[FLUID]) < float(t1w[MUSCLE])
    assert float(t2w[FLUID]) > 1.5 * float(t2w[MUSCLE])
    assert float(t2w[SCAR]) > float(t2w[MYOCARDIUM])


def test_spin_echoes_decay_with_t2_over_the_echo_time():
    early, late = (signal("T2w", te_ms=te_ms).abs()[:, 0] for te_ms in (20.0, 65.0))
    t2_ms = torch.tensor([place().of(tissue).t2_ms for tissue in Tissue])
    assert_close(late / early, torch.exp(-45.0 / t2_ms), rtol=1e-4, atol=0)


def test_spin_echoes_do_not_see_off_resonance():
    on, off = (parts("T1w", place(off_resonance_hz=hz)).readout for hz in (0.0, 150.0))
    assert torch.equal(on, off)


def test_fresh_blood_makes_a_cine_brighter_than_its_steady_state():
    from mrcli.simulate.signals import balanced_ssfp  # noqa: PLC0415

    one, timing = place().of(LEFT), TIMING["cine"]
    values = (timing.flip_deg, timing.tr_ms, one.t1_ms, one.t2_ms, 0.0)
    steady = one.proton_density * balanced_ssfp(*(torch.tensor(value) for value in values)).abs()
    assert float(signal("cine")[LEFT, 0].abs()) > 1.1 * float(steady)
    flowing, still = (float(signal("cine")[tissue, 0].abs()) for tissue in (LEFT, MUSCLE))
    assert flowing > still
