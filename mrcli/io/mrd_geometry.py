"""Where the voxels of an ISMRMRD scan lie in the patient.

The header of each readout gives the position of the slice's origin voxel and three directions, in
millimetres to the left, posterior and superior; an affine counts right, anterior, superior.
"""

import numpy as np

from mrcli.findings import Finding, Severity
from mrcli.io.mrd_readouts import Readouts
from mrcli.scan import Affine

_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_DIRECTION_TOLERANCE = 1e-3  # headers hold single precision, and text with few digits before it

Geometry = tuple[Affine | None, tuple[float, float, float] | None, tuple[Finding, ...]]


def locate(
    readouts: Readouts, matrix: tuple[int, int], voxel: tuple[float, float, float] | None
) -> Geometry:
    """Return the affine of ``(x, y, slice)``, the voxel size, and why one of them is unknown.

    `matrix` is ``(y, x)``. The distance of slices is that of their positions if they stand at
    equal distances along their normal, else the thickness in `voxel`.
    """
    first = np.unique(readouts.slice, return_index=True)[1]
    heads = readouts.heads[first]
    directions = np.stack([heads[name] for name in ("read_dir", "phase_dir", "slice_dir")], axis=2)
    directions = directions.astype(np.float64)
    positions = heads["position"].astype(np.float64)
    if voxel is None:
        return None, None, (_unknown("the header states no field of view"),)
    reason = _why_unknown(directions, positions)
    if reason is not None:
        return None, voxel, (_unknown(reason),)
    step, findings = _slice_step(positions, directions[0], voxel[2])
    affine = np.eye(4)
    affine[:3, :3] = directions[0] * (*voxel[:2], 1.0)
    affine[:3, 2] = step
    n_y, n_x = matrix
    origin_voxel = np.array([n_x // 2, n_y // 2, 0])
    affine[:3, 3] = positions[0] - affine[:3, :3] @ origin_voxel
    affine[:3] = _TO_RAS @ affine[:3]
    return affine, (*voxel[:2], float(np.linalg.norm(step))), findings


def _are_one_frame(directions: np.ndarray) -> bool:
    gram = np.swapaxes(directions, 1, 2) @ directions
    is_orthonormal = np.abs(gram - np.eye(3)).max() < _DIRECTION_TOLERANCE
    return bool(is_orthonormal and np.ptp(directions, axis=0).max() < _DIRECTION_TOLERANCE)


def _slice_step(
    positions: np.ndarray, directions: np.ndarray, thickness_mm: float
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    normal = directions[:, 2]
    steps = np.diff(positions, axis=0)
    if not steps.size:
        return thickness_mm * normal, ()
    distances = steps @ normal
    off = np.abs(steps - distances[:, None] * normal).max()
    tolerance_mm = _DIRECTION_TOLERANCE * np.abs(steps).max()
    is_equal = off <= tolerance_mm and np.ptp(distances) <= tolerance_mm
    if is_equal and np.abs(distances).min() > 0:
        return distances.mean() * normal, ()
    return thickness_mm * normal, (_unequal(),)


def _unequal() -> Finding:
    return Finding(
        "slice-distance-unknown",
        Severity.WARNING,
        "the positions of the slices are not at equal distances along their normal: the slice "
        "thickness stands in for the distance",
        "trust the geometry of the first slice only",
    )


def _why_unknown(directions: np.ndarray, positions: np.ndarray) -> str | None:
    if not (np.isfinite(directions).all() and np.isfinite(positions).all()):
        return "the readouts state a position or direction that is not a number"
    if not directions.any():
        return "the readouts state no directions"
    if not _are_one_frame(directions):
        return "the directions of the slices differ or are not orthonormal"
    return None


def _unknown(reason: str) -> Finding:
    return Finding(
        "geometry-unknown",
        Severity.INFO,
        f"no position in the patient: {reason}",
        "take the geometry from the scanner's own images",
    )
