"""Turns the text and numbers of untrusted headers into facts, or into None."""

import json
from math import isfinite

import numpy as np

from mrcli.errors import DataError
from mrcli.site import Site

MAX_FACT_LENGTH = 120
_SITE_KEYS = frozenset({"center", "scanner", "vendor", "field_strength_t"})


def fact_text(value: object) -> str | None:
    """Return printable text on one line, at most 120 letters; None for anything else."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        return None
    printable = "".join(letter if letter.isprintable() else " " for letter in value)
    return " ".join(printable.split())[:MAX_FACT_LENGTH] or None


def positive(value: object) -> float | None:
    """Return a finite number above zero; None for anything else."""
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) and number > 0 else None


def voxel_size_mm(values: np.ndarray, label: str) -> tuple[float, float, float]:
    """Return ``(x, y, slice)`` in mm; raises `DataError` unless these are three sizes."""
    sizes = [positive(float(value)) for value in values.ravel()[:4].real]
    if len(sizes) != 3 or None in sizes:
        raise DataError(f"{label} holds no three sizes above zero (x, y, slice) in mm")
    x, y, z = (size for size in sizes if size is not None)
    return x, y, z


def site_from_text(text: str, label: str) -> Site:
    """Read a site: the name of a center, or a JSON object with the fields of `Site`."""
    if not text.lstrip().startswith("{"):
        return Site(center=fact_text(text))
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise DataError(f"{label} is no JSON object") from cause
    unknown = sorted(set(fields) - _SITE_KEYS)
    if unknown:
        raise DataError(f"{label} has a key '{unknown[0]}', known are {sorted(_SITE_KEYS)}")
    return Site(
        center=fact_text(fields.get("center")),
        scanner=fact_text(fields.get("scanner")),
        vendor=fact_text(fields.get("vendor")),
        field_strength_t=positive(fields.get("field_strength_t")),
    )
