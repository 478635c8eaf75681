"""How the heart moves over a beat and over many."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate.motion import (
    beat_after_beat,
    breathing_drift,
    contraction_at,
    over_the_cycle,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_contraction_is_none_at_the_trigger_full_once_and_never_beyond():
    cycle = torch.linspace(0, 1, 2001, dtype=torch.float64)
    contraction = contraction_at(cycle)
    assert float(contraction[0]) == 0
    assert float(contraction[-1]) == pytest.approx(0, abs=1e-12)
    assert float(contraction.max()) == pytest.approx(1, abs=1e-6)
    assert float(contraction.min()) >= 0
    systole = int(contraction.argmax())
    assert bool((contraction[: systole + 1].diff() >= 0).all())
    assert bool((contraction[systole:].diff() <= 1e-12).all())
    assert 0.25 < float(cycle[systole]) < 0.45


def test_contraction_repeats_every_beat_without_a_step():
    cycle = torch.linspace(-1, 2, 3001, dtype=torch.float64)
    contraction = contraction_at(cycle)
    assert_close(contraction[:1000], contraction[1000:2000], rtol=0, atol=1e-9)
    assert float(contraction.diff().abs().max()) < 0.01


@pytest.mark.parametrize("n_frames", [1, 7, 12])
def test_frames_of_a_cine_are_equally_spaced_with_the_breath_held(n_frames):
    state = over_the_cycle(n_frames)
    assert state.contraction.shape == state.shift_mm.shape == (n_frames, 1, 1)
    expected = contraction_at(torch.arange(n_frames) / n_frames)
    assert_close(state.contraction.flatten(), expected)
    assert not state.shift_mm.any()


@pytest.mark.parametrize("n", [1, 2, 9, 50])
@pytest.mark.parametrize("seed", range(5))
def test_breathing_has_mean_zero_and_stays_within_its_size(n, seed):
    shift = breathing_drift(n, generator(seed), 3.0)
    assert float(shift.mean()) == pytest.approx(0, abs=1e-5)
    assert float(shift.abs().max()) <= 2 * 3.0


def test_breathing_grows_in_proportion_to_its_size():
    small, large = (breathing_drift(12, generator(3), size) for size in (1.0, 4.0))
    assert_close(large, 4 * small)
    assert float(large.std()) > 0.1
    assert not breathing_drift(12, generator(3), 0.0).any()


def test_beats_without_jitter_see_the_heart_in_one_state():
    steady = beat_after_beat(20, generator(), drift_mm=0.0, mistrigger=0.0, cycle=0.8)
    assert_close(steady.contraction, contraction_at(torch.full((20, 1, 1), 0.8)))
    assert not steady.shift_mm.any()
    moved = beat_after_beat(20, generator(), drift_mm=2.0, mistrigger=0.5, cycle=0.5)
    assert float(moved.contraction.std()) > 0
    assert float(moved.shift_mm.std()) > 0
