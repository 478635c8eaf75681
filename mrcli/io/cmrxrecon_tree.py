"""The folder convention of CMRxRecon2025: what a path says about a scan, and what lies beside it.

``<Modality>/<Set>/<FullSample|UnderSample_Task>/<Center>/<Vendor_Field_Scanner>/P###/<view>.mat``;
undersampled k-space is called ``<view>_kus_<Pattern><R>.mat``, its mask stands in ``Mask_<Task>``
as ``<view>_mask_<Pattern><R>.mat``. Folders are facts that a site arranged; names of files are
used only to find the partner of a file, never to decide what a file is.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mrcli.site import UNKNOWN_SITE, Site

_CENTER = re.compile(r"Center\d{3}")
_PATIENT = re.compile(r"P\d{3}")
_SCANNER = re.compile(r"(?P<vendor>[A-Za-z]+)_(?P<field>\d{2,3})T_(?P<model>[^_].*)")
_SAMPLES = re.compile(r"FullSample|UnderSample_\w+")
_VIEW = re.compile(r"(?P<view>.+)_kus_(?P<pattern>[A-Za-z]+\d+)")
_DEPTH = 4  # center, scanner, patient, file: the path below the folder of samples


def site_of(path: Path) -> Site:
    """Return the center and scanner that the folders state, unknown where they state none."""
    scanner = _scanner(path)
    if scanner is None:
        return UNKNOWN_SITE
    digits = scanner["field"]  # 15 is 1.5 T, 055 is 0.55 T
    return Site(
        center=path.absolute().parts[-_DEPTH],
        scanner=scanner["model"],
        vendor=scanner["vendor"],
        field_strength_t=float(f"{digits[0]}.{digits[1:]}"),
    )


def _scanner(path: Path) -> re.Match[str] | None:
    parts = path.absolute().parts[-_DEPTH:]
    if len(parts) < _DEPTH or not (_CENTER.fullmatch(parts[0]) and _PATIENT.fullmatch(parts[2])):
        return None
    return _SCANNER.fullmatch(parts[1])


def protocol_of(path: Path) -> str | None:
    """Return the modality that the folders state, for instance ``Cine``."""
    parts = path.absolute().parts[-_DEPTH - 3 :]
    if len(parts) < _DEPTH + 3 or _scanner(path) is None:
        return None
    modality, set_name, samples = parts[:3]
    return modality if set_name.endswith("Set") and _SAMPLES.fullmatch(samples) else None


def mask_beside(path: Path) -> Path | None:
    """Return the mask that belongs to undersampled k-space, if it lies where it should."""
    view = _VIEW.fullmatch(path.stem)
    if view is None:
        return None
    name = f"{view['view']}_mask_{view['pattern']}{path.suffix}"
    candidates = (*_in_sister_tree(path, "UnderSample_", "Mask_", name), path.with_name(name))
    return next((mask for mask in candidates if mask.is_file()), None)


def _in_sister_tree(path: Path, prefix: str, other: str, name: str) -> Iterator[Path]:
    for folder in path.absolute().parents:
        if folder.name.startswith(prefix):
            sister = folder.with_name(other + folder.name.removeprefix(prefix))
            yield sister / path.absolute().parent.relative_to(folder) / name


def full_sample_candidates(path: Path) -> Iterator[Path]:
    """Yield where the fully sampled k-space of an undersampled scan may lie, nearest first.

    That is ``FullSample`` of the same set of data, then of its training set.
    """
    view = _VIEW.fullmatch(path.stem)
    if view is None:
        return
    for folder in path.absolute().parents:
        if folder.name.startswith("UnderSample_"):
            tail = path.absolute().parent.relative_to(folder) / f"{view['view']}{path.suffix}"
            yield folder.with_name("FullSample") / tail
            yield folder.parent.with_name("TrainingSet") / "FullSample" / tail
