"""Say whether this machine is ready: one finding and one fix per check.

A check is a function that returns a `Check` and raises nothing; `CHECKS` is their list.
"""

import importlib.metadata
import locale
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import h5py
import torch

from mrcli.errors import ModelError, MrcliError, ResourceError
from mrcli.io.atomic import write_bytes_atomically
from mrcli.io.lock import output_lock
from mrcli.models.index import INDEX_NAME, list_models, pretrained_folder
from mrcli.models.store import load_entry
from mrcli.tasks.results import ErrorReport, report_error

_OLDEST_PYTHON = (3, 11)
# before this release, HDF5 has published vulnerabilities that opening a prepared file exploits
_SAFE_HDF5 = (2, 2, 0)
_FLOORS = {"torch": (2, 8), "numpy": (2, 0), "scipy": (1, 14), "h5py": (3, 13), "nibabel": (5, 3)}
_GIB = 2**30
_LOW_MEMORY_BYTES, _LOW_DISK_BYTES = 4 * _GIB, 5 * _GIB
_MATRIX = (10, 444, 198)  # coils, y, x of a common cine slice


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"  # it works, with a limit worth knowing
    FAIL = "fail"  # work will fail here


@dataclass(frozen=True)
class Check:
    """What one check found and, unless all is well, what to do."""

    name: str
    status: Status
    message: str
    fix: str | None = None


@dataclass(frozen=True)
class DoctorResult:
    """All checks of this machine."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0, or the code for a machine that does not suffice."""
        failed = any(check.status is Status.FAIL for check in self.checks)
        return ResourceError.exit_code if failed else 0

    @property
    def reasons(self) -> tuple[ErrorReport, ...]:
        """Return what fails, each with its fix."""
        failed = (check for check in self.checks if check.status is Status.FAIL)
        errors = (ResourceError(f"{one.name}: {one.message}", hint=one.fix) for one in failed)
        return tuple(map(report_error, errors))

    def document(self) -> dict[str, object]:
        """Return the checks as JSON."""
        return {"checks": [asdict(check) for check in self.checks]}


def examine(device: str) -> DoctorResult:
    """Run every check; the arithmetic runs on `device`."""
    local = (check() for check in CHECKS)
    return DoctorResult((*local, *library_checks(), check_gpu(device), check_arithmetic(device)))


def version_of(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, ``2.13.0+cpu`` as (2, 13, 0)."""
    leading = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()


def check_python() -> Check:
    """Compare the Python version with the oldest supported one."""
    found = platform.python_version()
    if sys.version_info[:2] >= _OLDEST_PYTHON:
        return Check("python", Status.OK, found)
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    return Check("python", Status.FAIL, found, f"install Python {oldest} or newer")


def library_checks() -> tuple[Check, ...]:
    """Compare the libraries with the oldest versions that are supported."""
    return tuple(check_library(name, floor) for name, floor in _FLOORS.items())


def check_library(name: str, floor: tuple[int, ...]) -> Check:
    """Compare one library with the oldest supported version."""
    needed = f"{name}>={'.'.join(map(str, floor))}"
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, Status.FAIL, "not installed", f"pip install '{needed}'")
    if version_of(found) < floor:
        return Check(name, Status.FAIL, found, f"pip install '{needed}'")
    return Check(name, Status.OK, found)


def check_hdf5(found: str = h5py.version.hdf5_version) -> Check:
    """Compare the HDF5 library with its known vulnerabilities."""
    if version_of(found) >= _SAFE_HDF5:
        return Check("hdf5", Status.OK, found)
    safe = ".".join(map(str, _SAFE_HDF5))
    message = f"{found}: before {safe} a prepared file can exploit published vulnerabilities"
    remedy = f"open only files you trust, and upgrade h5py once it brings HDF5 {safe}"
    return Check("hdf5", Status.WARN, message, remedy)


def check_cores() -> Check:
    """Compare the threads of the arithmetic with the cores of the machine."""
    n_threads, n_cores = torch.get_num_threads(), os.cpu_count() or 1
    message = f"{n_threads} threads on {n_cores} cores"
    if n_threads > n_cores:
        return Check("threads", Status.WARN, message, f"set OMP_NUM_THREADS={n_cores}")
    return Check("threads", Status.OK, message)


def check_memory() -> Check:
    """Look at the memory that is free."""
    free_bytes = free_memory_bytes()
    if free_bytes is None:
        return Check("memory", Status.OK, "this system does not say how much is free")
    if free_bytes < _LOW_MEMORY_BYTES:
        return Check("memory", Status.WARN, _gib(free_bytes), "close other programs")
    return Check("memory", Status.OK, _gib(free_bytes))


def free_memory_bytes() -> int | None:
    """Return the memory that programs can still have, None where the system does not say."""
    facts = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", facts.read_text()) if facts.exists() else None
    return 1024 * int(found[1]) if found else None


def check_temporary_folder() -> Check:
    """Write into the folder for temporary files."""
    return check_folder("temporary folder", Path(tempfile.gettempdir()), "set TMPDIR")


def check_current_folder() -> Check:
    """Write into the current folder."""
    return check_folder("current folder", Path(), "change to another folder")


def check_folder(name: str, folder: Path, remedy: str) -> Check:
    """Write a file as outputs are written, and look at the space that is left."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".mrcli-") as scratch:
            write_bytes_atomically(Path(scratch) / "probe", b"probe", overwrite=False)
        free_bytes = shutil.disk_usage(folder).free
    except (OSError, MrcliError) as error:
        return Check(name, Status.FAIL, reason_of(error), remedy)
    if free_bytes < _LOW_DISK_BYTES:
        return Check(name, Status.WARN, _gib(free_bytes), f"free space, or {remedy}")
    return Check(name, Status.OK, _gib(free_bytes))


def check_locks() -> Check:
    """Take a lock in the current folder."""
    try:
        with tempfile.TemporaryDirectory(dir=Path()) as scratch, output_lock(Path(scratch)):
            return Check("file locks", Status.OK, "work in the current folder")
    except (OSError, MrcliError) as error:
        remedy = "write outputs to a disk that is writable and supports locks"
        return Check("file locks", Status.FAIL, reason_of(error), remedy)


def reason_of(error: OSError | MrcliError) -> str:
    """Return in words why a file cannot be written, without the name of the trial file."""
    cause = error.__cause__ if isinstance(error, MrcliError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return f"cannot be written: {cause.strerror.lower()}"
    return "cannot be written"


def check_locale() -> Check:
    """Look at how names of files are written."""
    names, text = sys.getfilesystemencoding(), locale.getpreferredencoding(do_setlocale=False)
    if {names.lower(), text.lower().replace("_", "-")} == {"utf-8"}:
        return Check("locale", Status.OK, "UTF-8")
    return Check("locale", Status.WARN, f"{names}, {text}", "set LANG=C.UTF-8")


def check_bart() -> Check:
    """Look for BART, against which results can be compared."""
    found = shutil.which("bart") is not None
    return Check("bart", Status.OK, "found" if found else "not installed, and not needed")


def check_pretrained() -> Check:
    """Check every byte of the models that are installed, and count them and their adapters."""
    name = "pretrained models"
    folder = pretrained_folder()
    try:
        models = [load_entry(entry) for entry in list_models()]
    except ModelError as error:
        remedy = "install again, or set MRCLI_PRETRAINED to another folder"
        return Check(name, Status.FAIL, error.message, remedy)
    if models:
        n_adapters = sum(len(model.adapters) for model in models)
        found = f"models: {len(models)}, adapters: {n_adapters}, every hash is right"
        return Check(name, Status.OK, found)
    has_index = (folder / INDEX_NAME).exists()
    missing = "index found, no model in it yet" if has_index else "none: classical methods are used"
    return Check(name, Status.OK, missing)


def check_gpu(device: str) -> Check:
    """Look for a GPU and its free memory; its lack matters only where one was asked for."""
    if not torch.cuda.is_available():
        message = "none that torch can use"
        if device.startswith("cuda"):
            return Check("gpu", Status.FAIL, message, "use the cpu, or install a driver")
        return Check("gpu", Status.OK, message)
    free_bytes, _ = torch.cuda.mem_get_info()
    return Check("gpu", Status.OK, f"{torch.cuda.get_device_name()}, {_gib(free_bytes)}")


def check_arithmetic(device: str) -> Check:
    """Transform a slice there and back and multiply it, compare with double precision, time it."""
    chosen = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = chosen if device == "auto" else device
    try:
        error, seconds = _transform_and_multiply(torch.device(chosen))
    except (RuntimeError, AssertionError) as failure:  # torch asserts that it was built for CUDA
        reason = f"{chosen}: cannot be computed on ({_why_not(chosen, failure)})"
        return Check("arithmetic", Status.FAIL, reason, "choose another device")
    message = f"{chosen}: fft and product of a slice in {1e3 * seconds:.1f} ms, error {error:.0e}"
    if not error < 1e-5:
        return Check("arithmetic", Status.FAIL, message, "reinstall torch, or use another device")
    return Check("arithmetic", Status.OK, message)


def _why_not(device: str, failure: Exception) -> str:
    number = int(device.partition(":")[2] or 0)
    is_absent = device.startswith("cuda") and number >= torch.cuda.device_count()
    return "torch finds no such gpu" if is_absent else type(failure).__name__


def _transform_and_multiply(device: torch.device) -> tuple[float, float]:
    """Return the relative error against double precision on the CPU, and the seconds."""
    exact = torch.randn(_MATRIX, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    coil_images = exact.to(device, torch.complex64)
    _fft_and_product(coil_images)  # the first call plans the transform
    start = time.perf_counter()
    found = _fft_and_product(coil_images).cpu().to(torch.complex128)
    seconds = time.perf_counter() - start
    expected = _fft_and_product(exact)
    return float((found - expected).norm() / expected.norm()), seconds


def _fft_and_product(coil_images: torch.Tensor) -> torch.Tensor:
    kspace = torch.fft.fft2(coil_images, norm="ortho")
    return kspace @ kspace.mH


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / _GIB:.1f} GiB free"


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_hdf5,
    check_cores,
    check_memory,
    check_temporary_folder,
    check_current_folder,
    check_locks,
    check_locale,
    check_bart,
    check_pretrained,
)
