"""The gate: Student's interval of patients, the worst scan, and how many would be enough."""

import math

import pytest
import torch

from mrcli.adapt.gate import Limits, half_width, judge

LIMITS = Limits(0.05, 0.2)


def patients(*gains):
    return {f"patient {n}": {"scan": gain} for n, gain in enumerate(gains)}


def test_gains_that_agree_are_accepted():
    verdict = judge(patients(0.3, 0.31, 0.29, 0.3), LIMITS)
    assert verdict.accepted
    assert verdict.mean_db == pytest.approx(0.3)
    assert verdict.worst_db == pytest.approx(0.29)
    assert verdict.n_needed is None


def test_the_interval_is_students_of_patients():
    """Of 1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.3027."""
    verdict = judge(patients(1, 2, 3), LIMITS)
    half = 4.302652729749464 / math.sqrt(3)
    assert verdict.ci95_db == pytest.approx((2 - half, 2 + half))
    assert half_width([1, 2, 3], 0.95) == pytest.approx(half)
    assert not verdict.accepted


def test_scans_of_one_patient_count_once():
    many = {"a": {str(n): 0.3 for n in range(50)}, "b": {"1": 0.1}, "c": {"1": 0.2}}
    assert judge(many, LIMITS).mean_db == pytest.approx(0.2)
    assert judge(many, LIMITS).n_patients == 3


def test_a_large_mean_does_not_excuse_one_scan_that_loses():
    gains = {str(n): {"a": 1.0, "b": 1.0} for n in range(6)} | {"7": {"a": 2.21, "b": -0.21}}
    verdict = judge(gains, LIMITS)
    assert verdict.mean_db == pytest.approx(1)
    assert not verdict.accepted
    assert "one scan loses 0.210 dB" in verdict.reason


def test_a_scan_may_lose_what_is_allowed():
    gains = {str(n): {"a": 1.0, "b": 1.0} for n in range(6)} | {"7": {"a": 2.2, "b": -0.2}}
    assert judge(gains, LIMITS).accepted


@pytest.mark.parametrize("gain", [0.0, 0.05, -0.3])
def test_no_gain_above_the_limit_is_never_accepted(gain):
    verdict = judge(patients(*[gain] * 8), LIMITS)
    assert not verdict.accepted
    assert verdict.n_needed is None


def test_too_few_patients_are_told_how_many_are_needed():
    verdict = judge(patients(0.4, 0.5), LIMITS)
    assert (verdict.accepted, verdict.n_needed, verdict.mean_db) == (False, 3, None)
    assert judge({}, LIMITS).n_needed == 3


def test_the_number_needed_is_the_least_whose_interval_is_narrow_enough():
    verdict = judge(patients(0.0, 0.2, 0.4), LIMITS)
    n = verdict.n_needed
    assert not verdict.accepted
    assert n > 3

    def half(count):
        """Half the interval if the deviation, 0.2, stays."""
        spread = 0.2 * math.sqrt((count - 1) / count)
        return half_width([0.2 + spread, 0.2 - spread] * (count // 2), 0.95)

    assert half(2 * n) < 0.15


def share_accepted(mean, deviation, n_patients, n_runs=1000):
    """Return how often the gate accepts, if gains of patients are Gaussian."""
    gains = torch.randn(n_runs, n_patients, generator=torch.Generator().manual_seed(0))
    gains = (mean + deviation * gains).tolist()
    return sum(judge(patients(*run), LIMITS).accepted for run in gains) / n_runs


@pytest.mark.parametrize("n_patients", [3, 5, 10])
@pytest.mark.parametrize("deviation", [0.02, 0.05, 0.2])
def test_of_adapters_that_gain_nothing_at_most_one_in_forty_is_accepted(n_patients, deviation):
    assert share_accepted(0.0, deviation, n_patients) < 0.025


@pytest.mark.parametrize(("n_patients", "least"), [(5, 0.9), (10, 0.95)])
def test_half_a_decibel_is_seen_through_the_scatter_of_patients(n_patients, least):
    assert share_accepted(0.5, 0.15, n_patients) > least
