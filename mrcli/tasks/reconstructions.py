"""The reconstructions of a folder: images, and what the sidecar beside each one says."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mrcli.errors import DataError, InputError, MrcliError
from mrcli.report.rows import Conditions
from mrcli.site import UNKNOWN_SITE, Site

# in this order where one scan was written in several formats
_IMAGE_SUFFIXES = (".nii.gz", ".nii", ".h5")
_NEEDS_SIDECAR = ".h5"  # else any HDF5 file, k-space too, would be taken for an image
_MAX_SIDECAR_BYTES = 2**22


@dataclass(frozen=True)
class Reconstruction:
    """An image to be scored; `scan` is its path below the folder, without the suffix."""

    path: Path
    relative: str  # with the suffix
    scan: str
    conditions: Conditions = field(default_factory=Conditions)
    input_name: str | None = None
    input_sha256: str | None = None
    broken: MrcliError | None = None  # why its sidecar cannot be read


def find_reconstructions(path: Path) -> tuple[Reconstruction, ...]:
    """Return the reconstructions in a folder, sorted, or that one file; hidden files are skipped.

    Raises `InputError` where there is none.
    """
    if path.is_file():
        return (_reconstruction(path, path.parent),)
    if not path.is_dir():
        raise InputError(f"{path.name}: no such file or folder", hint="name existing images")
    found = tuple(_reconstruction(image, path) for image in _images_below(path))
    if not found:
        raise InputError(
            f"{path.name or path}: no reconstruction found, needed are NIfTI images, or HDF5 "
            "images with their sidecars",
            hint="name the output folder of a reconstruction",
        )
    return found


def without_suffix(path: Path) -> str:
    """Return the name without ``.nii.gz`` or the last suffix."""
    return path.name[: -len(".nii.gz")] if path.name.endswith(".nii.gz") else path.stem


def _images_below(folder: Path) -> list[Path]:
    by_stem: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not is_hidden and path.name.endswith(_IMAGE_SUFFIXES) and path.is_file():
            by_stem[path.parent / without_suffix(path)].append(path)
    candidates = [min(paths, key=_preference) for paths in by_stem.values()]
    return [one for one in candidates if one.suffix != _NEEDS_SIDECAR or _sidecar(one).is_file()]


def _preference(path: Path) -> int:
    return next(i for i, suffix in enumerate(_IMAGE_SUFFIXES) if path.name.endswith(suffix))


def _sidecar(image: Path) -> Path:
    return image.parent / f"{without_suffix(image)}.json"


def _reconstruction(path: Path, folder: Path) -> Reconstruction:
    relative = path.relative_to(folder)
    names = relative.as_posix(), (relative.parent / without_suffix(path)).as_posix()
    try:
        facts = _read_sidecar(_sidecar(path))
        source = _part(facts, "input")
        return Reconstruction(
            path,
            *names,
            conditions=_conditions(facts),
            input_name=_text(source, "name"),
            input_sha256=_text(source, "sha256"),
        )
    except MrcliError as error:
        return Reconstruction(path, *names, broken=error)


def _read_sidecar(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > _MAX_SIDECAR_BYTES:
            raise DataError(f"{path.name}: a sidecar above {_MAX_SIDECAR_BYTES} bytes")
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path.name}: the sidecar cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path.name}: the sidecar is not JSON", hint="reconstruct the scan again"
        ) from error
    return facts if isinstance(facts, dict) else {}


def _conditions(facts: Mapping[str, object]) -> Conditions:
    sampling, site = _part(facts, "sampling"), _part(facts, "site")
    return Conditions(
        method=_text(facts, "method"),
        site=Site(
            _text(site, "center"),
            _text(site, "scanner"),
            _text(site, "vendor"),
            _number(site, "field_strength_t"),
        )
        if site
        else UNKNOWN_SITE,
        protocol=_text(facts, "protocol"),
        pattern=_text(sampling, "pattern"),
        nominal_acceleration=_number(sampling, "nominal_acceleration"),
        true_acceleration=_number(sampling, "true_acceleration"),
    )


def _part(facts: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = facts.get(key)
    if value is not None and not isinstance(value, dict):
        raise _mistaken(key, value, "an object")
    return value or {}


def _text(facts: Mapping[str, object], key: str) -> str | None:
    value = facts.get(key)
    if value is not None and not isinstance(value, str):
        raise _mistaken(key, value, "a text")
    return value


def _number(facts: Mapping[str, object], key: str) -> float | None:
    value = facts.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _mistaken(key, value, "a finite number")
    return float(value)


def _mistaken(key: str, value: object, needed: str) -> DataError:
    return DataError(
        f"the sidecar's {key} is a {type(value).__name__}, needed is {needed}",
        hint="reconstruct the scan again",
    )
