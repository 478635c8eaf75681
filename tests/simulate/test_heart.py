"""The heart: it pumps what it should, keeps its muscle, and stays where it is looked for."""

from dataclasses import replace
from itertools import takewhile

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate.body import draw_body
from mrcli.simulate.heart import REACH_MM, blood_flow, heart_layers
from mrcli.simulate.motion import HeartState
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.shapes import Points, paint
from mrcli.simulate.tissues import Tissue

STEP_MM = 2.0
BLOOD, MUSCLE = (Tissue.LEFT_BLOOD,), (Tissue.MYOCARDIUM, Tissue.SCAR)
patients = pytest.mark.parametrize("seed", range(4))


def at_contraction(value, shift_mm=0.0):
    one = torch.ones(1, 1, 1)
    return HeartState(value * one, shift_mm * one)


def block(step_mm=STEP_MM):
    """Return a stack of short-axis planes, ``(long, third, septal)``, in the axes of the heart."""
    across, along = torch.arange(-44, 45, step_mm), torch.arange(-62, 35, step_mm)
    long, third, septal = torch.meshgrid(along, across, across, indexing="ij")
    return Points(septal, third, long)


def in_patient(frame, q):
    return frame.septal.times(q.x).plus(frame.third.times(q.y)).plus(frame.long.times(q.z))


def left_ventricle(body, contraction):
    """Return blood and muscle of the left ventricle alone: its layers come before the right."""
    q = block()
    layers = heart_layers(in_patient(body.frame, q), body, at_contraction(contraction))
    own = takewhile(lambda layer: layer.tissue is not Tissue.RIGHT_BLOOD, layers)
    fractions, _ = paint(own, torch.ones(q.z.shape), STEP_MM)
    return q.z, fractions[list(BLOOD)].sum(0), fractions[list(MUSCLE)].sum(0)


@patients
def test_the_left_ventricle_ejects_its_ejection_fraction(seed):
    # trabeculae and papillary muscles do not shrink as the cavity does, hence the tolerance
    body = draw_body(generator_of(seed))
    full, empty = (float(left_ventricle(body, c)[1].sum()) for c in (0.0, 1.0))
    assert 1 - empty / full == pytest.approx(body.heart.ejection_fraction, abs=0.03)
    half = float(left_ventricle(body, 0.5)[1].sum())
    assert half / full == pytest.approx(1 - 0.5 * body.heart.ejection_fraction, abs=0.03)
    assert 40_000 < full * STEP_MM**3 < 250_000  # microlitres: an adult


@patients
def test_the_muscle_of_the_left_ventricle_keeps_its_volume_within_ten_percent(seed):
    body = draw_body(generator_of(seed))
    relaxed, contracted = (float(left_ventricle(body, c)[2].sum()) for c in (0.0, 1.0))
    assert contracted / relaxed == pytest.approx(1, abs=0.10)


@patients
def test_the_apex_stays_and_the_valve_plane_comes_down(seed):
    body = draw_body(generator_of(seed))
    ends = {}
    for contraction in (0.0, 1.0):
        along, blood, muscle = left_ventricle(body, contraction)
        ends[contraction] = [
            float(edge) for one in (blood, muscle) for edge in along[one > 0.5].aminmax()
        ]
    blood_apex, blood_base, muscle_apex, muscle_base = (
        contracted - relaxed for relaxed, contracted in zip(ends[0.0], ends[1.0], strict=True)
    )
    assert abs(blood_apex) <= 2 * STEP_MM
    assert abs(muscle_apex) <= 2 * STEP_MM
    for descent in (blood_base, muscle_base):
        assert -18 < descent < -6


@patients
@pytest.mark.parametrize("contraction", [0.0, 1.0])
def test_a_short_axis_view_shows_a_ring_of_muscle_around_blood(seed, contraction):
    body = draw_body(generator_of(seed))
    sizes = body.heart
    turn = torch.linspace(0, 2 * torch.pi, 61)[None, :]
    out = torch.arange(0, 60, 0.5)[:, None]
    q = Points(out * torch.cos(turn), out * torch.sin(turn), 0 * out * turn)
    layers = heart_layers(in_patient(body.frame, q), body, at_contraction(contraction))
    fractions, _ = paint(layers, torch.ones(1, *q.x.shape), 0.5)
    blood, muscle = (fractions[list(one), 0].sum(0) for one in (BLOOD, MUSCLE))
    assert bool((blood[:8] == 1).all())  # no papillary muscle reaches the middle
    last_blood = (blood > 0.5).float().cumsum(0).argmax(0)
    beyond = [muscle[last + 1 : last + 11, ray].mean() for ray, last in enumerate(last_blood)]
    assert min(beyond) > 0.75  # 5 mm of the wall, whichever way one goes
    squeezed = (1 - sizes.ejection_fraction * contraction) ** 0.5
    cavity_mm = 0.5 * float(last_blood.float().median())
    assert cavity_mm == pytest.approx(sizes.cavity_radius * squeezed, rel=0.2)


@patients
def test_scars_are_muscle_in_the_wall_and_healthy_patients_have_none(seed):
    body = draw_body(generator_of(seed))
    q = block(3.0)
    layers = heart_layers(in_patient(body.frame, q), body, at_contraction(0.0))
    fractions, _ = paint(layers, torch.ones(q.z.shape), 3.0)
    scar, healthy = float(fractions[Tissue.SCAR].sum()), float(fractions[Tissue.MYOCARDIUM].sum())
    assert (scar > 0) == (body.heart.scar_half_width_deg > 0)
    assert scar < 0.5 * healthy


def angle_of_scar_deg(body, long_mm, contraction):
    """Return where the scar lies in a short-axis plane, from its septal side towards the third."""
    axis = torch.arange(-50, 51, 1.0)
    third, septal = torch.meshgrid(axis, axis, indexing="ij")
    q = Points(septal, third, torch.full_like(septal, long_mm))
    layers = heart_layers(in_patient(body.frame, q), body, at_contraction(contraction))
    scar = paint(layers, torch.ones(1, *septal.shape), 1.0)[0][Tissue.SCAR, 0]
    return float(torch.rad2deg(torch.atan2((scar * third).sum(), (scar * septal).sum())))


def test_apex_and_base_lie_as_drawn_in_diastole_and_turn_against_each_other_in_systole():
    body = draw_body(generator_of(0))
    body = replace(
        body, heart=replace(body.heart, scar_angle_deg=40.0, scar_half_width_deg=25.0, twist_deg=15)
    )
    for long_mm in (-20.0, -5.0, 8.0):
        assert angle_of_scar_deg(body, long_mm, 0.0) == pytest.approx(40, abs=3)
    apical, basal = (angle_of_scar_deg(body, long_mm, 1.0) for long_mm in (-24.0, 2.0))
    assert 4 < abs(apical - basal) < 15
    middle = angle_of_scar_deg(body, -5.0, 1.0)
    assert min(apical, basal) < middle < max(apical, basal)


@pytest.mark.parametrize("seed", range(30))
def test_nothing_of_the_heart_lies_outside_the_window_in_which_it_may_move(seed):
    body = draw_body(generator_of(seed))
    direction = torch.randn(3, 1, 6000, generator=generator_of(seed, "directions"))
    outside = Points(*direction).times((REACH_MM + 0.5) / direction.norm(dim=0))
    moments = torch.tensor([0.0, 1.0, 0.4])[:, None, None]
    shift_mm = torch.tensor([0.0, 2.0, -2.0])[:, None, None]
    for layer in heart_layers(outside, body, HeartState(moments, shift_mm)):
        assert not (layer.depth_mm > 0).any()


def test_breathing_moves_the_heart_towards_the_feet_as_a_whole():
    body = draw_body(generator_of(0))
    q = block(6.0)
    p = in_patient(body.frame, q)
    lower = Points(p.x, p.y, p.z - 5)
    shape = torch.ones(q.z.shape)
    rest, _ = paint(heart_layers(p, body, at_contraction(0.3)), shape, 2.0)
    moved, _ = paint(heart_layers(lower, body, at_contraction(0.3, 5.0)), shape, 2.0)
    beating = [tissue for tissue in Tissue if tissue is not Tissue.FAT]  # fat ends at the chest
    assert_close(moved[beating], rest[beating], rtol=0, atol=1e-4)


def test_the_beat_of_many_moments_is_that_of_each():
    body = draw_body(generator_of(1))
    axis = torch.arange(-80, 81, 4.0)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    p = in_patient(body.frame, Points(x, y, torch.zeros_like(x)))
    moments = torch.tensor([0.0, 0.5, 1.0])[:, None, None]
    together, _ = paint(
        heart_layers(p, body, HeartState(moments, 0 * moments)), torch.ones(3, *x.shape), 2.0
    )
    for frame, contraction in enumerate(moments.flatten().tolist()):
        alone, _ = paint(
            heart_layers(p, body, at_contraction(contraction)), torch.ones(1, *x.shape), 2.0
        )
        assert_close(together[:, frame], alone[:, 0], rtol=0, atol=1e-5)


def test_flow_is_fastest_on_the_axis_of_the_vessel_and_zero_at_its_wall():
    body = draw_body(generator_of(2))
    axis = torch.arange(-150, 151, 1.0)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    p = Points(x, y, torch.full_like(x, 40.0))
    for profile in blood_flow(p, body, at_contraction(0.0), 1.0):
        profile = profile.squeeze(0)  # noqa: PLW2901
        assert float(profile.max()) == pytest.approx(1, abs=0.02)
        assert float(profile.min()) == 0
        area = float((profile > 0).sum())
        assert float(profile.sum()) / area == pytest.approx(0.5, abs=0.06)  # of a paraboloid
