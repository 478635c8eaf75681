"""Random fields: they belong to places, not to pixels."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate.fields import draw_smooth_field, draw_texture
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.shapes import Points


def places(n=20_000, size_mm=2000.0, seed=0):
    random = generator_of("places", seed)
    return Points(*((torch.rand(3, n, generator=random) - 0.5) * size_mm))


@pytest.mark.parametrize("seed", range(3))
def test_a_smooth_field_has_mean_zero_and_standard_deviation_one(seed):
    field = draw_smooth_field(generator_of(seed), 90, 400)
    values = field.at(places())
    assert float(values.mean()) == pytest.approx(0, abs=0.1)
    assert float(values.std()) == pytest.approx(1, abs=0.1)


def test_the_periods_of_a_smooth_field_lie_where_asked():
    field = draw_smooth_field(generator_of(0), 90, 400, n_waves=50)
    periods = 1 / field.wave_vectors.norm(dim=1)
    assert 90 <= float(periods.min()) < float(periods.max()) <= 400


def test_texture_repeats_after_its_period_in_every_direction():
    texture = draw_texture(generator_of(0), 150.0)
    p = places(500, 140.0)
    for step in ((150.0, 0, 0), (0, -150.0, 0), (0, 0, 300.0)):
        moved = p.plus(Points(*torch.tensor(step)))
        assert_close(texture.at(moved), texture.at(p), rtol=0, atol=2e-3)


def test_texture_has_mean_zero_standard_deviation_one_and_no_steps():
    texture = draw_texture(generator_of(1))
    assert float(texture.block.mean()) == pytest.approx(0, abs=0.05)
    assert float(texture.block.std()) == pytest.approx(1, abs=0.05)
    line = torch.linspace(-300, 300, 60_001)
    values = texture.at(Points(line, 0 * line, 0 * line))
    assert float(values.diff().abs().max()) < 0.02


def test_a_finer_texture_is_the_same_at_places_closer_together():
    texture = draw_texture(generator_of(2))
    p = places(200, 100.0)
    assert_close(texture.at(p.times(0.5), scale=2.0), texture.at(p), rtol=0, atol=1e-3)


def test_the_axes_of_texture_are_not_exchanged():
    texture = draw_texture(generator_of(3), 150.0)
    step = 150.0 / 64
    for axis in range(3):  # x, y, z: the last axis of the block first
        at = torch.zeros(3, 1)
        at[axis] = 7 * step
        index = [0, 0, 0]
        index[2 - axis] = 7
        expected = texture.block[(0, 0, *index)]
        assert float(texture.at(Points(*at))) == pytest.approx(float(expected), abs=1e-4)
