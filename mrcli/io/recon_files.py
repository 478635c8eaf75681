"""The files of one reconstruction: images and sidecar, all of them or none."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mrcli.errors import OutputError
from mrcli.image import ReconVolume
from mrcli.io.atomic import write_text_atomically
from mrcli.io.image_files import Writer
from mrcli.io.staging import publish, staging_folder
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
                f"{name}: exists already, and was not finished from this input and options",
                hint="ask for overwriting, or choose another folder",
            )


def write_reconstruction(
    out_dir: Path,
    stem: PurePosixPath,
    writers: Sequence[Writer],
    volume: ReconVolume,
    record: Mapping[str, object],
) -> dict[str, str]:
    """Write all files and return their hashes by name; raises `OutputError`, changing nothing.

    They are built in a folder of their own and take their names when all of them are whole. What
    is in the way is replaced: `require_free` asks about it before the work begins.
    """
    names = output_names(stem, writers)
    with staging_folder(out_dir) as stage:
        for writer, name in zip(writers, names, strict=False):  # the sidecar has no writer
            writer.write(stage / name, volume, overwrite=False)
        text = json.dumps(record, indent=2, allow_nan=False) + "\n"
        write_text_atomically(stage / names[-1], text, overwrite=False)
        hashes = {name: sha256_of(stage / name) for name in names}
        publish(stage, out_dir, names)
    return hashes


def is_made_by(out_dir: Path, names: Sequence[str], input_sha256: str, options_sha256: str) -> bool:
    """Say whether the files there come from this input and these options, as the sidecar says.

    A run that was killed before it could record them leaves such files; they may be replaced.
    """
    try:
        record = json.loads((out_dir / names[-1]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    own = {"input_sha256": input_sha256, "options_sha256": options_sha256}
    return isinstance(record, dict) and record.get("resume") == own
