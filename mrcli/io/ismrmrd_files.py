"""Writes ISMRMRD files by the ISMRMRD package: a noise scan, then the acquired lines of a scan.

The package defines headers and table; our reader goes through h5py alone (ADR 0002), so that each
checks the other. Readouts are appended a slice at a time: one by one takes 25 times as long.
"""

import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
from jaxtyping import Bool, Complex64

from mrcli.errors import DataError, InputError, ShapeError
from mrcli.io.atomic import require_space, write_bytes_atomically
from mrcli.io.mrd_xml import mrd_xml, require_countable
from mrcli.io.scan_facts import KSpaceShape, ScanFacts

SliceArray = Complex64[np.ndarray, "frame coil y x"]
LineMask = Bool[np.ndarray, "mask_frame 1 mask_y readout"]  # frame and readout may be 1: shared
NoiseArray = Complex64[np.ndarray, "noise_coil sample"]

_GROUP = "dataset"
_DIRECTIONS = {"read_dir": (1, 0, 0), "phase_dir": (0, 1, 0), "slice_dir": (0, 0, 1)}
_NOISE_SAMPLES = 512  # of one readout of the noise scan


def write_ismrmrd_h5(
    path: Path,
    facts: ScanFacts,
    slices: Iterable[SliceArray],
    mask: LineMask,
    noise: NoiseArray | None,
) -> None:
    """Write the lines of every slice that `mask` says were acquired; an older file is replaced.

    Frames count as phases. Samples cover the encoded field of view, which is larger than that of
    the image by the readout oversampling. The file is built in memory.

    Raises:
        ShapeError: no slice, slices of different shapes, or a mask or noise that does not fit.
        DataError: the mask varies along the readout, or leaves a frame without a line.
        InputError: the ISMRMRD package is not installed.
        OutputError: the file cannot be written.

    """
    package, acquired = _package(), _acquired_lines(mask, path.name)
    buffer = io.BytesIO()  # in memory: a full disk under an open HDF5 file can end the process
    with h5py.File(buffer, "w") as file:
        group = file.create_group(_GROUP)
        table = _Table(group, package, facts, path.name)
        shape = table.append_all(slices, acquired, noise)
        xml = np.array([mrd_xml(facts, shape)], object)
        group.create_dataset("xml", data=xml, dtype=h5py.string_dtype("ascii"))
    content = buffer.getvalue()
    require_space(path, len(content))
    write_bytes_atomically(path, content, overwrite=True)


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # what the package says while it loads is for its makers
            return import_module("ismrmrd")
    except ImportError as cause:
        raise InputError(
            "ISMRMRD files are written by the package 'ismrmrd', which is not installed",
            hint="pip install 'mrcli-recon[ismrmrd]'",
        ) from cause


def _acquired_lines(mask: LineMask, label: str) -> Bool[np.ndarray, "mask_frame mask_y"]:
    lines: np.ndarray = mask[:, 0, :, 0]
    if (mask[:, 0] != lines[..., None]).any():
        raise DataError(
            f"{label}: the mask varies along the readout, ISMRMRD files hold whole lines",
            hint="write a container of arrays, or a mask of lines",
        )
    n_empty = int((~lines.any(axis=1)).sum())
    if n_empty:
        raise DataError(
            f"{label}: {n_empty} of {len(lines)} frames of the mask have no line, ISMRMRD files "
            "cannot hold such a frame"
        )
    return lines


@dataclass(frozen=True, eq=False)
class _Table:
    """The readouts of a file: makes them by the package and appends them."""

    group: h5py.Group
    package: ModuleType
    facts: ScanFacts
    label: str

    def append_all(
        self,
        slices: Iterable[SliceArray],
        acquired: Bool[np.ndarray, "mask_frame mask_y"],
        noise: NoiseArray | None,
    ) -> KSpaceShape:
        """Append noise scan and slices; return the shape of the scan."""
        shape: tuple[int, ...] = ()
        index = -1
        for index, kspace in enumerate(slices):
            if index == 0:
                shape = kspace.shape
                _require_fit(shape, acquired, noise, self.label)
                self._append([] if noise is None else self._noise(noise))
            _require_same(kspace.shape, shape, f"{self.label}: slice {index}")
            self._append(self._lines(index, kspace, acquired))
        if index < 0:
            raise ShapeError(f"{self.label}: no slice of k-space to write")
        n_frames, n_coils, n_y, n_x = shape
        return (n_frames, index + 1, n_coils, n_y, n_x)

    def _append(self, readouts: Sequence[object]) -> None:
        container = self.package.file.Container(self.group)
        if not readouts:
            return
        if container.has_acquisitions():
            container.acquisitions.extend(readouts)
        else:
            container.acquisitions = readouts

    def _noise(self, noise: NoiseArray) -> list[object]:
        starts = range(0, noise.shape[1], _NOISE_SAMPLES)
        flag = 1 << (self.package.ACQ_IS_NOISE_MEASUREMENT - 1)  # flags are counted from 1
        blocks = [noise[:, start : start + _NOISE_SAMPLES] for start in starts]
        return [self._readout(block, flags=flag) for block in blocks]

    def _lines(
        self, index: int, kspace: SliceArray, acquired: Bool[np.ndarray, "mask_frame mask_y"]
    ) -> list[object]:
        n_frames, _, n_y, n_x = kspace.shape
        place = {
            "center_sample": n_x // 2,
            "position": (0, 0, index * self.facts.voxel_size_mm[2]),
            **_DIRECTIONS,
        }
        lines = np.argwhere(np.broadcast_to(acquired, (n_frames, n_y))).tolist()
        return [
            self._readout(kspace[frame, :, y], idx=self._counters(y, index, frame), **place)
            for frame, y in lines
        ]

    def _counters(self, y: int, index: int, frame: int) -> object:
        counters: object = self.package.EncodingCounters(
            kspace_encode_step_1=y, slice=index, phase=frame
        )
        return counters

    def _readout(self, samples: Complex64[np.ndarray, "coil n"], **head: object) -> object:
        readout: object = self.package.Acquisition.from_array(
            samples, sample_time_us=self.facts.dwell_us, **head
        )
        return readout


def _require_fit(
    shape: tuple[int, ...],
    acquired: Bool[np.ndarray, "mask_frame mask_y"],
    noise: NoiseArray | None,
    label: str,
) -> None:
    n_frames, n_coils, n_y, n_x = shape
    require_countable((n_frames, 1, n_coils, n_y, n_x))
    if acquired.shape not in {(n_frames, n_y), (1, n_y)}:
        raise ShapeError(
            f"{label}: the mask has (frame, y) {acquired.shape}, k-space has {(n_frames, n_y)}"
        )
    if noise is not None and (noise.shape[0] != n_coils or noise.size == 0):
        raise ShapeError(
            f"{label}: noise (coil, sample) has shape {noise.shape}, k-space has {n_coils} coils"
        )


def _require_same(found: tuple[int, ...], needed: tuple[int, ...], label: str) -> None:
    if found != needed:
        raise ShapeError(
            f"{label} (frame, coil, y, x) has shape {found}, the first one has {needed}"
        )
