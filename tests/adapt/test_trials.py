"""Trials: closed forms of their errors, and parts that are what the whole is."""

import pytest
import torch
from torch.testing import assert_close

from bundles import input_of
from mrcli.adapt.trials import Trial, Withheld, decibels, part_of
from mrcli.physics.encoding import CartesianEncoding


def complex_noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def with_target(target):
    return Trial(input_of(len(target), tuple(target.shape[1:])), "Cine", "Uniform8", target=target)


def test_an_error_of_a_tenth_is_minus_twenty_decibels():
    target = complex_noise(3, 10, 9)
    assert float(decibels(with_target(target).error(0.9 * target))) == pytest.approx(-20, abs=1e-3)


def test_a_turned_phase_is_an_error_of_the_image_but_not_of_what_is_seen():
    target = complex_noise(3, 10, 9)
    trial, turned = with_target(target), target * torch.exp(torch.tensor(0.2j))
    assert float(trial.error(turned)) == pytest.approx(4 * torch.sin(torch.tensor(0.1)).item() ** 2)
    cosine = torch.cos(torch.tensor(0.2)).item()
    assert float(trial.visible_error(turned)) == pytest.approx((1 - cosine) ** 2, rel=1e-3)


def test_noise_of_the_target_raises_no_floor_that_an_image_could_learn():
    """The magnitude of noise has a mean; its part in phase with an image has none."""
    truth = torch.full((1, 200, 200), 0.1 + 0j, dtype=torch.complex64)
    noisy = truth + complex_noise(*truth.shape) * 2**0.5 / 2
    trial = with_target(noisy)
    honest = float(trial.visible_error(truth))
    biased = float(trial.visible_error(noisy.abs().mean() + 0 * truth))
    assert honest < biased


def test_withheld_samples_are_what_the_image_predicts_of_them():
    given = input_of()
    image = complex_noise(3, 10, 9)
    mask = ~given.mask
    encoding = CartesianEncoding(given.maps[None], mask, given.axes)
    trial = Trial(given, None, "random", withheld=Withheld(encoding.forward(image), mask))
    assert trial.kind == "withheld"
    assert float(trial.error(image)) < 1e-12
    assert float(trial.error(2 * image)) == pytest.approx(1, rel=1e-5)
    assert_close(trial.visible_error(2 * image), trial.error(2 * image))
    part = part_of(trial, 0.5, 3 * 10 * 4)
    n_columns = part.given.start.shape[-1]
    first = int(0.5 * (9 - n_columns + 1))
    assert float(part.error(image[..., first : first + n_columns])) < 1e-12


def test_a_small_trial_is_its_own_part():
    trial = with_target(complex_noise(3, 10, 9))
    assert part_of(trial, 0.3, 10**6) is trial


@pytest.mark.parametrize("position", [0.0, 0.5, 0.999])
def test_a_part_of_a_wide_trial_keeps_whole_columns_of_all_that_it_holds(position):
    target = complex_noise(2, 6, 80)
    trial = Trial(input_of(2, (6, 80)), "Cine", "Uniform8", target=target)
    part = part_of(trial, position, 2 * 6 * 20)
    first = int(position * 61)
    assert torch.equal(part.target, target[..., first : first + 20])
    assert torch.equal(part.given.maps, trial.given.maps[..., first : first + 20])
    assert torch.equal(part.given.mask, trial.given.mask)
