"""One row per scan and metric set, and what could not be scored, with its reason."""

import math
from dataclasses import asdict, dataclass

from mrcli.errors import MrcliError
from mrcli.findings import Finding
from mrcli.metrics.image import Quality
from mrcli.metrics.sets import FrameQuality, Scores
from mrcli.site import UNKNOWN_SITE, Site

METRICS = ("psnr_db", "ssim", "nmse")
SMALLER_IS_BETTER = frozenset({"nmse"})


@dataclass(frozen=True)
class Conditions:
    """How a scan was made and reconstructed, as its sidecar says; unknown facts are None."""

    method: str | None = None
    site: Site = UNKNOWN_SITE
    protocol: str | None = None
    pattern: str | None = None
    nominal_acceleration: float | None = None
    true_acceleration: float | None = None


@dataclass(frozen=True)
class Row:
    """What one metric set says about one reconstruction, and against what."""

    scan: str  # its path without the suffix: the same in every folder of reconstructions
    path: str  # below the folder of the report
    metric_set: str
    scores: Scores
    conditions: Conditions
    reference: str  # in words
    findings: tuple[Finding, ...] = ()

    def value(self, metric: str) -> float:
        """Return one of `METRICS`."""
        return float(getattr(self.scores.volume, metric))

    def document(self) -> dict[str, object]:
        """Return the JSON form; a PSNR of null is infinite: the images are identical."""
        worst = self.scores.worst
        return {
            "path": self.path,
            "metric_set": self.metric_set,
            **quality_document(self.scores.volume),
            "worst_frame": worst_document(worst),
            "n_frames": len(self.scores.frames),
            **conditions_document(self.conditions),
            "true_acceleration": self.conditions.true_acceleration,
            "reference": self.reference,
            "findings": [asdict(finding) for finding in self.findings],
        }


@dataclass(frozen=True)
class Unscored:
    """A reconstruction without numbers: of all sets, or of the one that failed."""

    path: str
    error: MrcliError
    metric_set: str | None = None

    def document(self) -> dict[str, object]:
        """Return the JSON form, with the reason."""
        code = type(self.error).__name__
        reason = {"code": code, "message": self.error.message, "hint": self.error.hint}
        return {"path": self.path, "metric_set": self.metric_set, "error": reason}


def conditions_document(conditions: Conditions) -> dict[str, object]:
    """Return what summaries group by: site, protocol, acceleration, pattern and method."""
    return {
        "method": conditions.method,
        "site": asdict(conditions.site),
        "protocol": conditions.protocol,
        "pattern": conditions.pattern,
        "nominal_acceleration": conditions.nominal_acceleration,
    }


def quality_document(quality: Quality) -> dict[str, object]:
    """Return the JSON form of the three numbers."""
    return {metric: finite_or_none(getattr(quality, metric)) for metric in METRICS}


def worst_document(worst: FrameQuality) -> dict[str, object]:
    """Return the JSON form of the worst frame."""
    return {"frame": worst.frame, "slice": worst.slice, **quality_document(worst.quality)}


def finite_or_none(value: float | None) -> float | None:
    """Return the number if JSON can say it."""
    return value if value is not None and math.isfinite(value) else None
