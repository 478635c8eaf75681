"""A bundle and its evidence as one file: the same bytes for the same content, on any machine.

The archive holds nothing but the names known here, stored without compression, and
``manifest.json``, which states the SHA-256 of each. What comes from elsewhere is not trusted:
names in an archive never become paths, only known ones are looked up.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping

from mrcli.adapters.bundle import CARD_NAME, WEIGHTS_NAME
from mrcli.adapters.records import MAX_RECORD_BYTES, opened, sealed, sha256_of_bytes
from mrcli.adapters.tensors import require_hash
from mrcli.errors import ModelError
from mrcli.models.bundle_files import LIMITS
from mrcli.models.parcel import BUNDLE, EVIDENCE, EVIDENCE_LIMITS, Parcel

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
_CARD, _WEIGHTS = f"{BUNDLE}/{CARD_NAME}", f"{BUNDLE}/{WEIGHTS_NAME}"
_LIMITS = {
    MANIFEST_NAME: MAX_RECORD_BYTES,
    **{f"{BUNDLE}/{name}": limit for name, limit in LIMITS.items()},
    **{f"{EVIDENCE}/{name}": limit for name, limit in EVIDENCE_LIMITS.items()},
}
MAX_ZIP_BYTES = sum(_LIMITS.values()) + MAX_RECORD_BYTES  # contents, and the headers of each
_THE_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # that an archive can state
_UNIX, _PLAIN_FILE = 3, (stat.S_IFREG | 0o644) << 16
_ENCRYPTED = 0x1
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_DAMAGE = (*_BROKEN, OSError, RuntimeError, ValueError)
_AGAIN = "ask for the file again"


def zip_bytes(parcel: Parcel) -> bytes:
    """Return the archive of a bundle and its evidence."""
    files = parcel.files(BUNDLE)
    hashes = {name: sha256_of_bytes(content) for name, content in files.items()}
    manifest = sealed({"schema_version": SCHEMA_VERSION, "files": hashes})
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in sorted({**files, MANIFEST_NAME: manifest}.items()):
            archive.writestr(_plain(name), content)
    return target.getvalue()


def parse_zip(content: bytes) -> Parcel:
    """Return what an archive holds.

    Raises `ModelError` unless it has known names only, each once, each a plain file within its
    limit, and exactly those of its manifest with the hashes stated there.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            _require_plain(infos)
            files = {info.filename: archive.read(info) for info in infos}
    except _DAMAGE as error:
        raise ModelError(f"no whole archive: {type(error).__name__}", hint=_AGAIN) from error
    _require_manifest(files)
    names = (name for name in sorted(files) if name.startswith(f"{EVIDENCE}/"))
    evidence = {name.removeprefix(f"{EVIDENCE}/"): files[name] for name in names}
    return Parcel(files[_CARD], files[_WEIGHTS], evidence)


def _plain(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _THE_FIRST_TIME)
    info.create_system, info.external_attr = _UNIX, _PLAIN_FILE
    return info


def _require_plain(infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > len(_LIMITS):
        raise ModelError(f"the archive has {len(infos)} files, at most {len(_LIMITS)} are known")
    names = [info.orig_filename for info in infos]
    for info, name in zip(infos, names, strict=True):
        if name not in _LIMITS or info.filename != name or names.count(name) > 1:
            raise ModelError(f"{name[:80]!a} in the archive is unknown or there twice", hint=_AGAIN)
        if info.file_size > _LIMITS[name]:
            raise ModelError(f"{name}: {info.file_size} bytes, at most {_LIMITS[name]} are read")
        if _is_odd(info):
            raise ModelError(f"{name}: a link, encrypted, or packed in an unknown way")


def _is_odd(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)
    is_plain = kind in (0, stat.S_IFREG)  # other systems state no kind
    return not is_plain or bool(info.flag_bits & _ENCRYPTED) or info.compress_type not in _READABLE


def _require_manifest(files: Mapping[str, bytes]) -> None:
    for name in (MANIFEST_NAME, _CARD, _WEIGHTS):
        if name not in files:
            raise ModelError(f"{name}: not in the archive", hint=_AGAIN)
    record = opened(files[MANIFEST_NAME], MANIFEST_NAME)
    record.require_version(SCHEMA_VERSION)
    record.require_keys(("schema_version", "files"))
    stated = record.record("files")
    stated.require_keys(files.keys() - {MANIFEST_NAME})
    for name in stated.values:
        require_hash(files[name], stated.digest(name), name)
