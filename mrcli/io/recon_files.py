"""The files of one reconstruction: images and sidecar, all of them or none."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mrcli.errors import OutputError
from mrcli.image import ReconVolume
from mrcli.io.atomic import write_text_atomically
from mrcli.io.image_files import Writer
from mrcli.provenance import sha256_of

SIDECAR_SUFFIX = ".json"


def output_names(stem: PurePosixPath, writers: Sequence[Writer]) -> tuple[str, ...]:
    """Return the paths below the output folder: the images, then the sidecar."""
    suffixes = (*(writer.suffix for writer in writers), SIDECAR_SUFFIX)
    return tuple(f"{stem}{suffix}" for suffix in suffixes)


def require_free(out_dir: Path, names: Sequence[str]) -> None:
    """Raise `OutputError` where one of the files exists, before hours of work are lost to it."""
    for name in names:
        if (out_dir / name).exists():
            raise OutputError(
                f"{name}: exists already, and is not from this input with these options",
                hint="ask for overwriting, or choose another folder",
            )


def write_reconstruction(
    out_dir: Path,
    stem: PurePosixPath,
    writers: Sequence[Writer],
    volume: ReconVolume,
    record: Mapping[str, object],
    *,
    overwrite: bool,
) -> dict[str, str]:
    """Write all files and return their hashes by name; raises `OutputError`, leaving none."""
    names = output_names(stem, writers)
    written: list[Path] = []
    try:
        for writer, name in zip(writers, names, strict=False):  # the sidecar has no writer
            writer.write(out_dir / name, volume, overwrite=overwrite)
            written.append(out_dir / name)
        text = json.dumps(record, indent=2, allow_nan=False) + "\n"
        write_text_atomically(out_dir / names[-1], text, overwrite=overwrite)
    except BaseException:  # an interrupt too: half a result is none
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return {name: sha256_of(out_dir / name) for name in names}
