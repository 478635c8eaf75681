"""What the program noticed about a scan, as data: code, severity, message, remedy."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"  # a choice that was made, or a fact worth knowing
    WARNING = "warning"  # the result may suffer
    ERROR = "error"  # the scan cannot be used as it is


@dataclass(frozen=True)
class Finding:
    """Something noticed: a stable code, what it means here, and what to do about it."""

    code: str
    severity: Severity
    message: str
    remedy: str
