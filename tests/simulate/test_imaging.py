"""From tissues and contrast to the object that a scanner meets."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate.anatomy import Rendering
from mrcli.simulate.body import draw_body
from mrcli.simulate.contrast import Contrast
from mrcli.simulate.fields import Texture
from mrcli.simulate.imaging import (
    FieldSpread,
    conditions,
    form_image,
    receive_phase,
    saturation,
    systolic_velocity,
)
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.shapes import Points
from mrcli.simulate.tissues import N_TISSUES

BODY = draw_body(generator_of("imaging"))
WITHOUT_GRAIN = replace(BODY, texture=Texture(torch.zeros(1, 1, 3, 3, 3), 150.0))
WINDOW = (slice(2, 6), slice(3, 8))
N_FRAMES, GRID = 4, (9, 12)


def some_points(grid=GRID, step_mm=3.0):
    y, x = torch.meshgrid(*(torch.arange(n) * step_mm - 15 for n in grid), indexing="ij")
    return Points(x, y, torch.full_like(x, 10.0))


def some_rendering(n_moments=N_FRAMES):
    random = generator_of("rendering", n_moments)
    still = torch.rand(N_TISSUES, *GRID, generator=random)
    moving = torch.rand(N_TISSUES, n_moments, 4, 5, generator=random)
    return Rendering(some_points(), still, moving, WINDOW)


def some_contrast():
    random = generator_of("contrast")
    preparation = torch.randn(N_TISSUES, N_FRAMES, generator=random)
    readout = torch.randn(N_TISSUES, *GRID, dtype=torch.complex64, generator=random)
    return Contrast(preparation, readout)


@pytest.mark.parametrize("n_moments", [N_FRAMES, 1])
def test_an_image_is_the_sum_over_tissues_of_fraction_preparation_and_readout(n_moments):
    rendering, contrast = some_rendering(n_moments), some_contrast()
    whole = rendering.still[:, None].repeat(1, N_FRAMES, 1, 1)
    whole[..., WINDOW[0], WINDOW[1]] = rendering.moving
    signal = contrast.preparation[:, :, None, None] * contrast.readout[:, None]
    contraction = torch.linspace(0, 1, n_moments)[:, None, None]
    found = form_image(rendering, contrast, WITHOUT_GRAIN, contraction)
    assert_close(found, (whole * signal).sum(0), rtol=0, atol=1e-5)


def test_grain_changes_the_brightness_a_little_and_moves_with_the_muscle():
    rendering, contrast = some_rendering(1), some_contrast()
    contrast = replace(contrast, preparation=torch.ones(N_TISSUES, 2))
    moments = torch.tensor([0.0, 1.0])[:, None, None]
    rendering = replace(rendering, moving=rendering.moving.repeat(1, 2, 1, 1))
    smooth = form_image(rendering, contrast, WITHOUT_GRAIN, moments)
    grained = form_image(rendering, contrast, BODY, moments)
    change = float((grained - smooth).norm() / smooth.norm())
    assert 0.01 < change < 0.5
    moved = (grained[0] - grained[1]).abs()
    outside = torch.ones(GRID, dtype=torch.bool)
    outside[WINDOW] = False
    assert float(moved[outside].max()) < 1e-6 < float(moved[WINDOW].max())


def test_fields_scatter_as_a_site_states_and_vanish_where_it_states_none():
    axis = torch.arange(-600, 600, 20.0)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    p = Points(x, y, 0.7 * x - 0.4 * y)
    even = conditions(BODY, p, 3.0, FieldSpread(0.0, 0.0))
    assert not even.off_resonance_hz.any()
    assert bool((even.transmit == 1).all())
    uneven = conditions(BODY, p, 3.0, FieldSpread(40.0, 0.1))
    assert float(uneven.off_resonance_hz.std()) == pytest.approx(40, rel=0.25)
    assert float(uneven.transmit.std()) == pytest.approx(0.1, rel=0.25)
    assert float(uneven.transmit.mean()) == pytest.approx(1, abs=0.05)
    assert float(conditions(BODY, p, 3.0, FieldSpread(0.0, 5.0)).transmit.min()) > 0


def test_the_phase_of_the_receiver_changes_no_magnitude():
    phase = receive_phase(BODY, some_points((20, 20), 15.0))
    assert_close(phase.abs(), torch.ones(20, 20))
    assert float(phase.angle().std()) > 0.01


@pytest.mark.parametrize("n_rows", [64, 65])
def test_saturation_spares_the_middle_and_ends_at_the_edge(n_rows):
    weight = saturation(n_rows, "cpu")[:, 0]
    assert bool((weight[n_rows // 4 : 3 * n_rows // 4] == 1).all())
    assert float(weight[0]) < 0.1
    assert bool((weight[: n_rows // 2 + 1].diff() >= 0).all())
    assert bool((weight[n_rows // 2 :].diff() <= 0).all())


def test_blood_is_fastest_in_systole():
    velocities = [systolic_velocity(cycle / 100) for cycle in range(100)]
    peak = velocities.index(max(velocities))
    assert 8 < peak < 30
    assert max(velocities) == pytest.approx(110, rel=0.01)
    assert max(velocities[45:]) < 10
    assert min(velocities) >= 0
