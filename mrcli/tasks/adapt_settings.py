"""What decides an adaptation; a later call goes on only where all of it is the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mrcli.adapt.fit import FitSettings
from mrcli.adapt.gate import Limits
from mrcli.adapters.adapter import AdapterSpec
from mrcli.adapters.card import is_plain_name
from mrcli.errors import InputError
from mrcli.physics.pattern_names import parse_pattern

AUTO, FULL, NONE = "auto", "full", "none"
REFERENCES = (AUTO, FULL, NONE)
DEFAULT_PATTERNS = ("Uniform8", "ktGaussian8", "Uniform16", "ktRadial16")
CROSS_FITTED_BELOW = 10  # patients: too few to put some aside for good
_HOLDOUT = 0.4


@dataclass(frozen=True)
class AdaptSettings:
    """What one adaptation is."""

    out_dir: Path
    center: str
    scanner: str | None = None
    protocol: str | None = None
    model: str | None = None
    reference: str = AUTO
    patterns: tuple[str, ...] = DEFAULT_PATTERNS
    holdout: float | None = None  # share of the patients; None: by their number
    limits: Limits = field(default_factory=Limits)
    fit: FitSettings = field(default_factory=FitSettings)
    spec: AdapterSpec = field(default_factory=AdapterSpec)
    minutes: float = math.inf
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    reader: str | None = None
    axes: str | None = None
    with_curve: bool = False

    @property
    def evidence(self) -> Path:
        """Return the folder of the record."""
        return self.out_dir / "evidence"

    @property
    def bundle(self) -> Path:
        """Return the folder of the adapter, there only if it was accepted."""
        return self.out_dir / "bundle"

    @property
    def work(self) -> Path:
        """Return the folder of what an interrupted call has finished."""
        return self.out_dir / "work"

    def share_of_holdout(self, n_patients: int) -> float | None:
        """Return which share of patients is put aside; None: each is, in turn."""
        if self.holdout is not None:
            return self.holdout
        return None if n_patients < CROSS_FITTED_BELOW else _HOLDOUT

    def document(self) -> Mapping[str, object]:
        """Return what decides the numbers, for the record."""
        fit = self.fit
        return {
            "reference": self.reference,
            "patterns": list(self.patterns),
            "holdout": self.holdout,
            "limits": self.limits.document(),
            "steps": fit.n_steps,
            "peak_rate": fit.peak_rate,
            "pixels_per_step": fit.most_pixels,
            "form": self.spec.document(),
            "minutes": None if math.isinf(self.minutes) else self.minutes,
            "seed": self.seed,
            "precision": self.precision,
        }


def require_valid(settings: AdaptSettings) -> None:
    """Raise `InputError` for values that no adaptation has."""
    if settings.reference not in REFERENCES:
        raise InputError(f"reference is {settings.reference}", hint=f"known are {REFERENCES}")
    if settings.holdout is not None and not 0 < settings.holdout < 1:
        raise InputError(f"holdout is {settings.holdout}, needed a share between 0 and 1")
    for name in (settings.center, settings.scanner or "x"):
        if not is_plain_name(name):
            raise InputError(f"{name!r} cannot be the name of a center or a scanner")
    for pattern in settings.patterns:
        parse_pattern(pattern)
    if settings.limits.max_worst_loss_db < 0:
        raise InputError("the loss that is allowed is below 0")
