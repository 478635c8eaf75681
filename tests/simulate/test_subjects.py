"""Rendered slices: procedural patients, and images of real ones."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate import anatomy
from mrcli.simulate.anatomy import fine_grid, render
from mrcli.simulate.body import draw_body
from mrcli.simulate.motion import HeartState, over_the_cycle
from mrcli.simulate.planes import Plane, Prescription, plane_of
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.shapes import Points
from mrcli.simulate.subjects import draw_subject, render_subject, tissue_fractions
from mrcli.simulate.tissues import Tissue

BODY = draw_body(generator_of("subjects"))
REST = over_the_cycle(1)


def plane(view="sax"):
    wanted = Prescription(view, (300.0, 640.0), 8.0)
    return plane_of(wanted, BODY, generator_of("plane"))


def assembled(rendering):
    """Return the fractions ``(tissue, frame, y, x)`` of the whole plane."""
    n_frames = rendering.moving.shape[1]
    whole = rendering.still[:, None].repeat(1, n_frames, 1, 1)
    whole[..., rendering.window[0], rendering.window[1]] = rendering.moving
    return whole


@pytest.mark.parametrize("matrix", [(30, 64), (31, 65)])
@pytest.mark.parametrize("view", ["sax", "2ch", "4ch", "lvot", "axial"])
def test_every_voxel_is_filled_at_most_once_and_the_body_fully(view, matrix):
    whole = assembled(render(BODY, plane(view), matrix, over_the_cycle(3)))
    assert whole.shape == (len(Tissue), 3, *fine_grid(matrix))
    filled = whole.sum(0)
    assert float(whole.min()) >= 0
    assert float(filled.max()) <= 1 + 1e-5
    n_y, n_x = fine_grid(matrix)
    assert_close(filled[:, n_y // 2, n_x // 2], torch.ones(3))


@pytest.mark.parametrize("view", ["sax", "2ch", "3ch", "4ch", "axial"])
def test_a_larger_window_changes_nothing_but_fat(view, monkeypatch):
    state = HeartState(
        torch.tensor([0.0, 1.0]).view(2, 1, 1), torch.tensor([1.5, -1.5]).view(2, 1, 1)
    )
    usual = assembled(render(BODY, plane(view), (40, 84), state))
    monkeypatch.setattr(anatomy, "REACH_MM", 500.0)
    everywhere = assembled(render(BODY, plane(view), (40, 84), state))
    assert_close(usual, everywhere, rtol=0, atol=1e-5)


@pytest.mark.parametrize("view", ["sax", "4ch"])
def test_a_view_of_the_heart_holds_muscle_and_blood_of_both_sides(view):
    whole = assembled(render(BODY, plane(view), (60, 128), REST))
    area_mm2 = whole.sum((-2, -1))[:, 0] * (300 / 120) * (640 / 256)
    for tissue in (Tissue.MYOCARDIUM, Tissue.LEFT_BLOOD, Tissue.RIGHT_BLOOD):
        assert float(area_mm2[tissue]) > 500
    for tissue in (Tissue.LUNG, Tissue.FAT, Tissue.MUSCLE, Tissue.BONE):
        assert float(area_mm2[tissue]) > 200


def test_a_thick_slice_is_the_mean_over_its_thickness():
    subject = draw_subject(generator_of("subjects"))
    thin = plane_of(Prescription("sax", (300.0, 640.0), 1e-3), BODY, generator_of("plane"))
    sharp = render_subject(subject, 0, thin, (30, 64), REST)
    thick = render_subject(subject, 0, plane(), (30, 64), REST)
    assert_close(sharp.still, render(subject.body, thin, (30, 64), REST).still, rtol=0, atol=1e-3)
    mixed, edges = (
        int(((one > 0.02) & (one < 0.98)).sum()) for one in (thick.moving, sharp.moving)
    )
    assert mixed > edges
    assert float(thick.moving.sum(0).max()) <= 1 + 1e-5


def test_patients_differ_and_the_same_stream_draws_the_same_one():
    bodies = [draw_body(generator_of("subjects", seed)) for seed in range(20)]
    assert len({one.heart for one in bodies}) == len({one.thorax for one in bodies}) == 20
    again = draw_body(generator_of("subjects", 3))
    assert (again.heart, again.thorax) == (bodies[3].heart, bodies[3].thorax)
    scars = sum(one.heart.scar_half_width_deg > 0 for one in bodies)
    assert 2 < scars < 18


def test_brightness_between_two_tissues_is_a_mixture_of_both():
    brightness = torch.linspace(0, 1, 401)[None, :]
    fractions = tissue_fractions(brightness)
    filled = fractions.sum(0)
    assert float(fractions.min()) >= 0
    assert float(filled[0, 0]) == 0  # air
    assert_close(filled[brightness >= 0.2], torch.ones(int((brightness >= 0.2).sum())))
    assert int((fractions > 1e-5).sum(0).max()) <= 2
    assert float(fractions[Tissue.FAT, 0, -1]) == pytest.approx(1, abs=1e-5)
    steps = fractions.diff(dim=-1).abs()
    assert float(steps.max()) < 0.05  # no jumps


def image_with(size=96):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return 0.2 + 0.6 * ((y - 30) ** 2 + (x - 50) ** 2 < 150).float() + 0.001 * x


def test_images_show_themselves_at_rest_and_shrink_towards_the_center_in_systole():
    images = image_with()[None]
    subject = draw_subject(generator_of("subjects"), images)
    moments = torch.tensor([0.0, 1.0])[:, None, None]
    found = render_subject(subject, 0, plane(), (30, 64), HeartState(moments, 0 * moments))
    rest = found.moving[:, 0]
    assert_close(rest, found.still[:, found.window[0], found.window[1]], rtol=0, atol=1e-5)
    assert float((found.moving[:, 1] - rest).abs().max()) > 0.1


def test_breathing_shows_what_lies_nearer_to_the_head():
    toward_head, left = Points(*torch.tensor([0.0, 0, 1])), Points(*torch.tensor([1.0, 0, 0]))
    center = Points(*torch.zeros(3))
    one = Plane(center, left, toward_head, (100.0, 100.0), 8.0)
    subject = draw_subject(generator_of("subjects"), image_with()[None])
    pixel_mm = 100.0 / 40  # of the fine grid
    shift = torch.tensor([0.0, 2 * pixel_mm])[:, None, None]
    found = render_subject(subject, 0, one, (20, 20), HeartState(0 * shift, shift)).moving
    assert_close(found[:, 1, :-2], found[:, 0, 2:], rtol=0, atol=1e-4)
    turned = replace(one, x_axis=toward_head, y_axis=left)
    across = render_subject(subject, 0, turned, (20, 20), HeartState(0 * shift, shift)).moving
    assert_close(across[:, 1, :, :-2], across[:, 0, :, 2:], rtol=0, atol=1e-4)


def test_images_lie_in_any_of_eight_ways():
    turns = {draw_subject(generator_of("turn", seed)).turn for seed in range(50)}
    assert turns == set(range(8))


def test_images_are_taken_in_turn():
    images = torch.stack([image_with(), image_with().flip(0)])
    subject = draw_subject(generator_of("subjects"), images)
    stills = [render_subject(subject, index, plane(), (24, 48), REST).still for index in range(3)]
    assert torch.equal(stills[0], stills[2])
    assert not torch.equal(stills[0], stills[1])
