"""The gate: is an adapter better on patients that it has not seen? Limits are set beforehand.

Patients are independent, slices and samplings of one patient are not: a patient counts once, with
the mean of its gains. The interval is Student's, two-sided.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student

_FEWEST_PATIENTS = 3
_MOST_PATIENTS = 1000  # for a number that would be enough


@dataclass(frozen=True)
class Limits:
    """What an adapter has to reach, in decibels over what is used without it."""

    min_gain_db: float = 0.05  # below the lower end of the interval of the mean
    max_worst_loss_db: float = 0.2  # of any scan
    confidence: float = 0.95

    def document(self) -> dict[str, float]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """Whether the limits hold, the numbers, and the reason in one line."""

    reason: str
    n_patients: int
    accepted: bool = False
    mean_db: float | None = None
    ci95_db: tuple[float, float] | None = None  # of the mean
    worst_db: float | None = None  # of a scan
    n_needed: int | None = None  # patients for a verdict, if gains stay as they are

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return asdict(self)


def judge(gains: Mapping[str, Mapping[str, float]], limits: Limits) -> Verdict:
    """Return the verdict on gains in decibels, by patient and then by scan."""
    of_patients = [sum(scans.values()) / len(scans) for scans in gains.values()]
    n = len(of_patients)
    if n < _FEWEST_PATIENTS:
        reason = f"{n} patients to judge by, needed at least {_FEWEST_PATIENTS}"
        return Verdict(reason, n, n_needed=_FEWEST_PATIENTS)
    mean, deviation = _moments(of_patients)
    half = _half_width(deviation, n, limits.confidence)
    worst = min(min(scans.values()) for scans in gains.values())
    interval = (mean - half, mean + half)
    accepted, reason = _decide(interval[0], worst, limits)
    needed = None if accepted else _needed(mean, deviation, limits)
    return Verdict(reason, n, accepted, mean, interval, worst, needed)


def _decide(lower: float, worst: float, limits: Limits) -> tuple[bool, str]:
    if not lower > limits.min_gain_db:
        return False, (
            f"the mean gain may be as low as {lower:+.3f} dB, needed more than "
            f"{limits.min_gain_db:+.3f} dB"
        )
    if worst < -limits.max_worst_loss_db:
        return False, f"one scan loses {-worst:.3f} dB, allowed {limits.max_worst_loss_db:.3f} dB"
    return True, (
        f"the mean gain is at least {lower:+.3f} dB and the worst scan has {worst:+.3f} dB"
    )


def _moments(values: list[float]) -> tuple[float, float]:
    """Return mean and standard deviation of a sample."""
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((one - mean) ** 2 for one in values) / (len(values) - 1))


def _half_width(deviation: float, n: int, confidence: float) -> float:
    return float(student.ppf((1 + confidence) / 2, n - 1)) * deviation / math.sqrt(n)


def half_width(gains: Sequence[float], confidence: float) -> float:
    """Return half the interval of the mean of patients; one patient alone has none: 0."""
    if len(gains) < 2:
        return 0.0
    return _half_width(_moments(list(gains))[1], len(gains), confidence)


def _needed(mean: float, deviation: float, limits: Limits) -> int | None:
    """Return from how many patients on the interval would be narrow enough; None for never."""
    room = mean - limits.min_gain_db
    if room <= 0:
        return None
    counts = np.arange(_FEWEST_PATIENTS, _MOST_PATIENTS)
    quantiles = student.ppf((1 + limits.confidence) / 2, counts - 1)
    enough = counts[quantiles * deviation / np.sqrt(counts) < room]
    return int(enough[0]) if len(enough) else None
