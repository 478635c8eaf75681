"""Runs tools of the BART toolbox on arrays in memory, where it is installed.

Arrays travel through files in a temporary folder, in memory where the system has one. BART 0.8
shifts the image along an axis of odd length against its maps: k-space gets one empty line there on
its way in, and the image loses it on its way out.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor
from torch.nn.functional import pad

from mrcli.errors import DataError, ResourceError
from mrcli.physics.encoding import fft2c, ifft2c
from mrcli.types import Image, KSpace

CoilKSpace = Complex[Tensor, "coil y x"]
EvenKSpace = Complex[Tensor, "*batch coil even_y even_x"]  # one longer where a size is odd
EvenMaps = Complex[Tensor, "coil even_y even_x"]
EvenImage = Complex[Tensor, "frame even_y even_x"]
Dimensions = dict[int, int]  # of a BART array: lengths by axis, all others are 1

_N_DIMS = 16
_READOUT, _PHASE, _COIL, _TIME = 0, 1, 3, 10
_MEMORY = Path("/dev/shm")  # a file system in memory, where there is one
_ITEM = np.dtype("<c8")
_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Bart:
    """The program, and how long one run of a tool may take."""

    program: Path
    timeout_s: float = _TIMEOUT_S

    @property
    def version(self) -> str:
        """Return what ``bart version`` says; raises `ResourceError` and `DataError`."""
        return self._run(Path(), "version").strip()

    def ecalib(self, calibration: CoilKSpace) -> EvenMaps:
        """Return one set of ESPIRiT maps from the fully sampled centre of `calibration`.

        The maps are those of the grid that `pics` computes on.
        Raises `DataError` where BART fails, `ResourceError` for too little time or space.
        """
        with self._folder() as folder:
            kspace = _even(calibration)
            dims = _dims(kspace)
            _write(folder / "kspace", kspace, dims)
            self._run(folder, "ecalib", "-m1", "kspace", "maps")
            return _read(folder / "maps", dims)[0]

    def pics(self, kspace: KSpace, maps: EvenMaps, options: tuple[str, ...]) -> Image:
        """Return the image ``(frame, y, x)`` of k-space ``(frame, coil, y, x)``.

        Samples that are exactly zero count as not acquired; `maps` are those of `ecalib`. Raises
        `DataError` where BART fails, `ResourceError` for too little time or space.
        """
        n_y, n_x = kspace.shape[-2:]
        with self._folder() as folder:
            even = _even(kspace)
            dims = _dims(even)
            _write(folder / "kspace", even, dims)
            _write(folder / "maps", maps, _dims(maps))
            self._run(folder, "pics", *options, "kspace", "maps", "image")
            image = _read(folder / "image", dims | {_COIL: 1})
        return _as_before(image[:, 0], n_y, n_x)

    def _run(self, folder: Path, *arguments: str) -> str:
        tool = f"bart {arguments[0]}"
        try:
            done = subprocess.run(
                [str(self.program), *arguments],
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ResourceError(f"{tool} did not end within {self.timeout_s:g} s") from error
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ResourceError(f"{tool} cannot be run: {reason}") from error
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise DataError(f"{tool} ended with {done.returncode}: {last}")
        return done.stdout

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        try:
            with tempfile.TemporaryDirectory(prefix="mrcli-bart-", dir=place) as folder:
                yield Path(folder)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ResourceError(f"the files that BART works on: {reason}") from error


def find_bart() -> Bart | None:
    """Return BART if it is on the search path."""
    program = shutil.which("bart")
    return None if program is None else Bart(Path(program))


def _even(kspace: KSpace) -> EvenKSpace:
    """Put an empty line before axes of odd length: the origin stays in the middle."""
    n_y, n_x = kspace.shape[-2:]
    return pad(kspace, (n_x % 2, 0, n_y % 2, 0))


def _as_before(image: EvenImage, n_y: int, n_x: int) -> Image:
    """Return the image on the grid of the k-space that came in."""
    if image.shape[-2:] == (n_y, n_x):
        return image
    return ifft2c(fft2c(image)[..., -n_y:, -n_x:])


def _dims(kspace: KSpace) -> Dimensions:
    n_frames = len(kspace) if kspace.ndim > 3 else 1
    n_coils, n_y, n_x = kspace.shape[-3:]
    return {_READOUT: n_x, _PHASE: n_y, _COIL: n_coils, _TIME: n_frames}


def _write(path: Path, values: Tensor, dims: Dimensions) -> None:
    sizes = " ".join(str(dims.get(axis, 1)) for axis in range(_N_DIMS))
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{sizes}\n", encoding="ascii")
    # the first axis runs fastest: x, y, coil, frame are our axes in C order
    values.cpu().resolve_conj().numpy().astype(_ITEM).tofile(path.with_suffix(".cfl"))


def _read(path: Path, dims: Dimensions) -> KSpace:
    """Return ``(frame, coil, y, x)``; raises `DataError` unless it has the dimensions needed."""
    header, values = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    if not (header.is_file() and values.is_file()):
        raise DataError(f"bart left no {path.name}")
    lines = header.read_text(encoding="ascii", errors="replace").splitlines()
    found = lines[1].split() if len(lines) > 1 else []
    needed = [str(dims.get(axis, 1)) for axis in range(_N_DIMS)]
    if found != needed:
        sizes = f"{' '.join(found)}, needed are {' '.join(needed)}"
        raise DataError(f"bart left {path.name} with dimensions {sizes}")
    stored, n_values = torch.from_numpy(np.fromfile(values, _ITEM)), prod(dims.values())
    if len(stored) != n_values:
        raise DataError(f"bart left {path.name} with {len(stored)} values, needed are {n_values}")
    return stored.reshape(dims[_TIME], dims[_COIL], dims[_PHASE], dims[_READOUT])
