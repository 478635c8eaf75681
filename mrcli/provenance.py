"""How an output came to be: hashes, versions and the record that lies beside every image.

A record holds only the fields named here. None of them is copied from a header field that could
name a person, and of a path only its last component is kept.
"""

import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py

from mrcli.findings import Finding

if sys.platform != "win32":
    import resource

PROGRAM = "mrcli"
DISTRIBUTION = "mrcli-recon"
NUMERICS_VERSION = 4  # raised when a release changes pixel values
_LIBRARIES = ("torch", "numpy", "scipy", "h5py", "nibabel")
_PLAIN_OPTIONS = frozenset(
    {"--method", "--to", "--device", "--seed", "--shard", "--reader", "--axes", "--precision"}
)
_BLOCK_BYTES = 2**20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; memory does not grow with the file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def sha256_of_json(value: object) -> str:
    """Return the SHA-256 of a JSON value; the order of keys does not matter."""
    return sha256_of_text(json.dumps(value, sort_keys=True, allow_nan=False))


def program_version() -> str:
    """Return the version of the installed program."""
    return importlib.metadata.version(DISTRIBUTION)


def software_versions() -> dict[str, str]:
    """Return the versions of all that takes part in the arithmetic and the files."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    own = {PROGRAM: program_version(), "python": platform.python_version()}
    return own | libraries | {"hdf5": h5py.version.hdf5_version}


def peak_memory_bytes() -> int | None:
    """Return the largest memory that this process has held so far, None where no system tells."""
    if sys.platform == "win32":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def recorded_command(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return verb, options and the values of plain options; all else, paths above all, is PATH.

    Folders and files name people, and what a value means depends on its option.
    """
    return tuple(map(_recorded, ("", *arguments), arguments))


def _recorded(previous: str, argument: str) -> str:
    option, equals, _ = argument.partition("=")
    if argument.startswith("-") and len(argument) > 1:
        return argument if option in _PLAIN_OPTIONS or not equals else f"{option}=PATH"
    is_verb = not previous and argument.isalpha()
    return argument if is_verb or previous in _PLAIN_OPTIONS else "PATH"


@dataclass(frozen=True)
class InputFacts:
    """Which file was read: its name without folders, its content's hash and size."""

    name: str
    sha256: str
    n_bytes: int


def input_facts(path: Path) -> InputFacts:
    """Return the facts of an input file; reads all of it."""
    return InputFacts(path.name, sha256_of(path), path.stat().st_size)


@dataclass(frozen=True)
class Provenance:
    """The record of one reconstruction, written beside the image."""

    command: tuple[str, ...]  # as `recorded_command` returns it
    input: InputFacts
    method: str
    reason: str  # why this method, model and adapter
    device: str
    precision: str
    seed: int
    sampling: Mapping[str, object]
    noise: Mapping[str, object]
    consistency_residual: float | None
    findings: tuple[Finding, ...]
    seconds: float
    peak_memory_bytes: int | None
    geometry_source: str  # where the affine comes from, or that it is unknown
    model: Mapping[str, object] | None = None  # name and sha256
    adapter: Mapping[str, object] | None = None

    def document(self) -> dict[str, object]:
        """Return the JSON form, with the program, its numerics and the libraries."""
        head = {
            "program": PROGRAM,
            "version": program_version(),
            "numerics_version": NUMERICS_VERSION,
            "software": software_versions(),
        }
        return head | asdict(self)
