"""Where a scan was made: the facts that a file or a folder convention states, never guesses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """A hospital (`center`) and its scanner; unknown facts are None."""

    center: str | None = None
    scanner: str | None = None
    vendor: str | None = None
    field_strength_t: float | None = None


UNKNOWN_SITE = Site()
