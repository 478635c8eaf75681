"""The outcome of an adaptation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mrcli.adapt.gate import Verdict
from mrcli.errors import PartialFailure, QualityError
from mrcli.findings import Finding
from mrcli.tasks.adapt_folds import Score
from mrcli.tasks.results import ErrorReport, report_error


@dataclass(frozen=True)
class AdaptResult:
    """Whether an adapter was accepted, by which numbers, and where the files are."""

    verdict: Verdict
    site: str
    baseline: tuple[str, ...]
    scores: tuple[Score, ...]
    n_scans: Mapping[str, int]
    trained_parameters: int
    parameter_fraction: float
    backbone_sha256: str
    bundle: Path | None
    evidence: Path
    failed: tuple[tuple[str, ErrorReport], ...]
    findings: tuple[Finding, ...]
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0; 8 where an adapter was accepted without some scans; 9 where none was accepted."""
        if not self.verdict.accepted:
            return QualityError.exit_code
        return PartialFailure.exit_code if self.failed else 0

    @property
    def reasons(self) -> tuple[ErrorReport, ...]:
        """Return the refusal, if there is one, and why scans could not be used."""
        own = tuple(report for _, report in self.failed)
        if self.verdict.accepted:
            return own
        return (report_error(QualityError(f"not accepted: {self.verdict.reason}", hint=self._hint)),
                *own)  # fmt: skip

    @property
    def _hint(self) -> str:
        needed = self.verdict.n_needed
        if needed is not None and needed > self.verdict.n_patients:
            return f"a verdict needs about {needed} patients; the evidence is in {self.evidence}"
        return f"go on without an adapter; the evidence is in {self.evidence}"

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        mean = {"mean": self.verdict.mean_db, "ci95": self.verdict.ci95_db}
        scans = [{"path": name, "error": report.document()} for name, report in self.failed]
        return {
            "accepted": self.verdict.accepted,
            "reason": self.verdict.reason,
            "site": self.site,
            "baseline": _side([s.baseline_db for s in self.scores], list(self.baseline)),
            "candidate": _side([s.candidate_db for s in self.scores], []),
            "gain_db": {**mean, "worst": self.verdict.worst_db},
            "n_scans": {
                "train": self.n_scans["used"],
                "holdout": self.n_scans["holdout"],
                "given": self.n_scans["given"],
            },
            "n_patients": self.verdict.n_patients,
            "n_needed": self.verdict.n_needed,
            "trained_parameters": self.trained_parameters,
            "parameter_fraction": self.parameter_fraction,
            "backbone_sha256": self.backbone_sha256,
            "bundle": None if self.bundle is None else str(self.bundle),
            "evidence": str(self.evidence),
            "failed": scans,
            "findings": [asdict(finding) for finding in self.findings],
            "seconds": self.seconds,
        }


def _side(errors: list[float], reasons: list[str]) -> dict[str, object]:
    mean = sum(errors) / len(errors) if errors else None
    return {"error_db": mean, "adapters": reasons}
