"""Sorts the readouts of an ISMRMRD file: which make the image, and where each one belongs.

The flags and counters are those of the ISMRMRD acquisition header (Inati 2017,
doi:10.1002/mrm.26089). Everything is decided from the headers; no sample is read here.
"""

from dataclasses import dataclass

import numpy as np

from mrcli.errors import DataError, MissingField
from mrcli.findings import Finding, Severity

FRAME_COUNTERS = ("contrast", "phase", "repetition", "set")
_NEEDED = ("flags", "number_of_samples", "active_channels", "center_sample", "discard_pre",
           "discard_post", "encoding_space_ref", "sample_time_us", "position", "read_dir",
           "phase_dir", "slice_dir", "idx")  # fmt: skip
_COUNTERS = ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", *FRAME_COUNTERS)


def _flag(*bits: int) -> np.uint64:
    return np.uint64(sum(1 << (bit - 1) for bit in bits))  # the format counts bits from 1


NOISE = _flag(19)
REVERSE = _flag(22)
_CALIBRATION = _flag(20)
_CALIBRATION_AND_IMAGING = _flag(21)
# navigator, phase correction, feedback, dummy, surface coil correction, phase stabilization
_NOT_IMAGING = _flag(23, 24, 26, 27, 28, 29, 30, 31)


@dataclass(frozen=True, eq=False)
class Readouts:
    """The readouts that make the image; all arrays have one entry per readout."""

    rows: np.ndarray  # in the data set
    frame: np.ndarray
    slice: np.ndarray
    step: np.ndarray  # counter along y
    average: np.ndarray
    heads: np.ndarray
    frame_sizes: tuple[tuple[str, int], ...]  # counters that vary, slowest first
    n_slices: int

    @property
    def n_frames(self) -> int:
        """Product of the counters that vary."""
        return int(np.prod([n for _, n in self.frame_sizes], dtype=int))

    @property
    def n_coils(self) -> int:
        """Coils of every readout."""
        return int(self.heads["active_channels"][0])


def require_fields(dtype: np.dtype, label: str) -> None:
    """Raise `MissingField` unless the headers have all that is used here."""
    lacking = [name for name in _NEEDED if name not in (dtype.names or ())]
    if not lacking:
        lacking = [name for name in _COUNTERS if name not in (dtype["idx"].names or ())]
    if lacking:
        raise MissingField(f"{label} has no header field '{lacking[0]}'")


def has_flag(heads: np.ndarray, flag: np.uint64) -> np.ndarray:
    """Say for each readout whether any bit of `flag` is set."""
    return (heads["flags"].astype(np.uint64) & flag) != 0


def noise_rows(heads: np.ndarray) -> np.ndarray:
    """Return the rows of the noise scan."""
    return np.flatnonzero(has_flag(heads, NOISE))


def sort_readouts(heads: np.ndarray, label: str) -> tuple[Readouts, tuple[Finding, ...]]:
    """Select the readouts of the image and number their frames and slices.

    Raises:
        DataError: none there, different encodings or coils, partitions, or two for one line.

    """
    is_kept = ~has_flag(heads, NOISE | _NOT_IMAGING)
    is_extra = is_kept & has_flag(heads, _CALIBRATION) & ~has_flag(heads, _CALIBRATION_AND_IMAGING)
    imaging = np.flatnonzero(is_kept & ~is_extra)
    if imaging.size == 0:
        raise DataError(f"{label} holds no readout of an image among {heads.size}")
    _require_one_encoding(heads[imaging], label)
    extra, findings = _fitting_calibration(heads, imaging, np.flatnonzero(is_extra))
    rows = np.sort(np.concatenate([imaging, extra]))
    _require_same_coils(heads[rows], label)
    readouts = _numbered(rows, heads[rows])
    _require_one_per_line(readouts, label)
    return readouts, (*findings, *_frame_findings(readouts), *_average_findings(readouts))


def _require_one_encoding(heads: np.ndarray, label: str) -> None:
    references = np.unique(heads["encoding_space_ref"])
    if references.size > 1:
        raise DataError(
            f"{label} mixes encodings {references.tolist()}, one is needed",
            hint="split the measurement into one file per encoding",
        )
    partitions = np.unique(heads["idx"]["kspace_encode_step_2"])
    if partitions.size > 1:
        raise DataError(
            f"{label} has {partitions.size} partitions, three-dimensional encoding is not "
            "supported",
            hint="transform along the partitions first and store them as slices",
        )


def _require_same_coils(heads: np.ndarray, label: str) -> None:
    n_coils = np.unique(heads["active_channels"])
    if n_coils.size > 1 or n_coils[0] == 0:
        raise DataError(
            f"{label} has readouts of {' and '.join(map(str, n_coils.tolist()))} coils, one "
            "number above zero is needed"
        )


def _fitting_calibration(
    heads: np.ndarray, imaging: np.ndarray, extra: np.ndarray
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    same = ("encoding_space_ref", "number_of_samples", "center_sample", "active_channels")
    own, first = heads[extra], heads[imaging[0]]
    fits = np.all([own[name] == first[name] for name in same], axis=0)
    for name in (*FRAME_COUNTERS, "slice", "kspace_encode_step_2"):
        fits &= np.isin(own["idx"][name], heads[imaging]["idx"][name])
    fits &= ~_is_line_of(own, heads[imaging])
    if fits.all():
        return extra, ()
    return extra[fits], (_left_out(int((~fits).sum()), extra.size),)


def _left_out(n_left_out: int, n_all: int) -> Finding:
    return Finding(
        "calibration-left-out",
        Severity.INFO,
        f"{n_left_out} of {n_all} calibration readouts have another geometry than the image, or a "
        "line that the image has too, and were left out",
        "nothing, unless the image lacks calibration lines",
    )


def _is_line_of(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say for each readout whether one of `others` has the same line, slice and frame."""
    index = np.concatenate([own, others])["idx"]
    names = ("kspace_encode_step_1", "slice", *FRAME_COUNTERS)
    lines = np.stack([index[name] for name in names], axis=1)
    number = np.unique(lines, axis=0, return_inverse=True)[1].ravel()
    return np.isin(number[: own.size], number[own.size :])


def _numbered(rows: np.ndarray, heads: np.ndarray) -> Readouts:
    index = heads["idx"]
    ranks = {name: np.unique(index[name], return_inverse=True) for name in FRAME_COUNTERS}
    varying = [name for name, (values, _) in ranks.items() if values.size > 1]
    sizes = tuple((name, int(ranks[name][0].size)) for name in varying)
    frame = np.zeros(rows.size, dtype=np.int64)
    for name, n in sizes:
        frame = frame * n + ranks[name][1]
    slices, slice_rank = np.unique(index["slice"], return_inverse=True)
    return Readouts(
        rows=rows,
        frame=frame,
        slice=slice_rank,
        step=index["kspace_encode_step_1"].astype(np.int64),
        average=index["average"].astype(np.int64),
        heads=heads,
        frame_sizes=sizes,
        n_slices=int(slices.size),
    )


def _require_one_per_line(readouts: Readouts, label: str) -> None:
    keys = np.stack([readouts.slice, readouts.frame, readouts.step, readouts.average], axis=1)
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    if counts.max() > 1:
        here = first[counts.argmax()]
        raise DataError(
            f"{label} has {counts.max()} readouts for line {readouts.step[here]} of slice "
            f"{readouts.slice[here]}, frame {readouts.frame[here]}",
            hint="tell repeats apart by the counter average, repetition or set",
        )


def n_averages_per_line(readouts: Readouts) -> np.ndarray:
    """Return how many readouts each acquired line of each slice and frame has."""
    keys = np.stack([readouts.slice, readouts.frame, readouts.step], axis=1)
    counts: np.ndarray = np.unique(keys, axis=0, return_counts=True)[1]
    return counts


def _frame_findings(readouts: Readouts) -> tuple[Finding, ...]:
    if not readouts.frame_sizes:
        return ()
    order = " x ".join(f"{n} {name}" for name, n in readouts.frame_sizes)
    return (
        Finding(
            "frame-order",
            Severity.INFO,
            f"the {readouts.n_frames} frames are {order}, the last one fastest",
            "nothing, if that order is meant",
        ),
    )


def _average_findings(readouts: Readouts) -> tuple[Finding, ...]:
    n_averages = np.unique(readouts.average).size
    if n_averages == 1:
        return ()
    return (
        Finding(
            "averages-combined",
            Severity.INFO,
            f"{n_averages} averages became their complex mean, noise falls by the square root of "
            "their number",
            "nothing, unless the subject moved between them",
        ),
    )
