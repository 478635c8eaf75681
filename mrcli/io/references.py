"""Finds the fully sampled scan that an undersampled one can be measured against."""

from collections.abc import Iterator
from pathlib import Path

from mrcli.io.cmrxrecon_tree import full_sample_candidates

_LEAST_PARTS = 2  # patient and view: the view alone is the same for everybody


def find_reference(path: Path, root: Path | None) -> Path | None:
    """Return the fully sampled k-space of `path` by the CMRxRecon convention, if it exists.

    Without `root`, that is ``FullSample`` in the same set of data or in its training set; with
    `root`, the file there that shares the most folders with those, at least that of the patient.
    """
    candidates = full_sample_candidates(path)
    if root is not None:
        candidates = (below for path in candidates for below in _mirrored(path, root))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _mirrored(path: Path, root: Path) -> Iterator[Path]:
    parts = path.parts[1:]  # without the anchor
    for first in range(len(parts) - _LEAST_PARTS + 1):
        yield root.joinpath(*parts[first:])
