"""The fit: only the adapter learns, the best one is kept, and the seed decides."""

from dataclasses import replace

import pytest
import torch

from bundles import backbone_of, input_of
from mrcli.adapt.fit import FitSettings, Frozen, Material, fit
from mrcli.adapt.trials import Trial, decibels
from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.nn.backbone import BackboneSpec

SETTINGS = FitSettings(n_steps=60, peak_rate=0.01, check_every=10, patience=3)
SPEC = BackboneSpec(n_cascades=2, fine=8, coarse=8, n_coarse_blocks=1, n_final_iterations=0)


@pytest.fixture(scope="module")
def site():
    """A site whose images are those of another adapter: there is something to learn."""
    backbone = backbone_of(SPEC)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        hidden = Adapter.of(backbone, AdapterSpec("scale-shift"))
        for one in hidden.parameters():
            one.add_(0.3 * torch.randn_like(one))
    frozen = Frozen(backbone, {})
    trials = []
    for seed in range(6):
        given = input_of(2, (12, 16), seed=seed)
        with torch.no_grad():
            target = frozen.image(hidden, Trial(given, None, "x"))
        trials.append(Trial(given, None, "x", target=target))
    return frozen, Material(tuple(trials[:4]), tuple(trials[4:]))


def first_of(frozen):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Adapter.of(frozen.backbone, AdapterSpec("scale-shift"))


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_what_can_be_learned_is_learned_and_carries_over(site):
    frozen, material = site
    first = first_of(frozen)
    fitted = fit(frozen, first, material, SETTINGS)
    trial = material.validation[0]
    assert fitted.best_step > 0
    assert max(check.gain_db for check in fitted.checks) > 3
    assert frozen.decibels(fitted.adapter, trial) < frozen.decibels(first, trial) - 3


def test_the_backbone_and_the_first_adapter_stay_as_they_are(site):
    frozen, material = site
    first, before = (
        first_of(frozen),
        {k: v.clone() for k, v in frozen.backbone.state_dict().items()},
    )
    untouched = first_of(frozen)
    fit(frozen, first, material, replace(SETTINGS, n_steps=5))
    assert all(torch.equal(v, before[k]) for k, v in frozen.backbone.state_dict().items())
    assert same(first, untouched)


def test_the_same_seed_gives_the_same_adapter_and_another_another(site):
    frozen, material = site
    short = replace(SETTINGS, n_steps=20)
    one, again = (fit(frozen, first_of(frozen), material, short).adapter for _ in range(2))
    other = fit(frozen, first_of(frozen), material, replace(short, seed=1)).adapter
    assert same(one, again)
    assert not same(one, other)


def test_where_nothing_gains_the_start_is_kept_and_the_fit_ends_early(site):
    frozen, material = site
    exact = tuple(replace(t, target=frozen.image(None, t).detach()) for t in material.validation)
    fitted = fit(frozen, first_of(frozen), Material(material.training, exact), SETTINGS)
    assert fitted.best_step == 0
    assert same(fitted.adapter, first_of(frozen))
    assert fitted.n_steps == SETTINGS.check_every * SETTINGS.patience


def test_a_limit_of_time_cuts_and_says_so(site):
    frozen, material = site
    fitted = fit(frozen, first_of(frozen), material, replace(SETTINGS, minutes=0.0))
    assert fitted.was_cut
    assert fitted.n_steps == 1


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_decibels_of_relative_errors_know_no_unit(site, factor):
    _, material = site
    trial = material.training[0]
    scaled = replace(trial, target=trial.target * factor)
    expected = decibels(trial.error(0.9 * trial.target))
    assert float(decibels(scaled.error(0.9 * scaled.target))) == pytest.approx(float(expected))
