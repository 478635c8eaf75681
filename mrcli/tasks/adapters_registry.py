"""Activate, roll back, export and import adapter bundles, and read the audit log.

Results carry an exit code and print nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from mrcli.adapters.bundle import LoadedAdapter
from mrcli.errors import InputError, ModelError, OutputError, QualityError
from mrcli.findings import Finding, Severity
from mrcli.io.atomic import write_bytes_atomically
from mrcli.io.staging import staging_folder
from mrcli.models.audit import Entry
from mrcli.models.bundle_files import swap
from mrcli.models.parcel import BUNDLE, Parcel, bundle_at, read_parcel, write_parcel
from mrcli.models.parcel_zip import MAX_ZIP_BYTES, parse_zip, zip_bytes
from mrcli.models.reading import read_within
from mrcli.models.registry import (
    Change,
    activate,
    bundle_folder,
    read_log,
    read_snapshot,
    registry_folder,
    require_bundle,
    roll_back,
)
from mrcli.models.store import Model, load_model
from mrcli.tasks.adapter_models import owner_of
from mrcli.tasks.results import ErrorReport, report_error


@dataclass(frozen=True)
class ChangeResult:
    """What a change of the registry did to one adapter."""

    name: str
    change: Change
    findings: tuple[Finding, ...] = ()
    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return the JSON form; `before` and `after` are what was and is active, if anything."""
        before, after = self.change.before, self.change.after
        return {
            "adapter": self.name,
            "before": None if before is None else asdict(before),
            "after": None if after is None else asdict(after),
            "findings": [asdict(one) for one in self.findings],
        }


@dataclass(frozen=True)
class MovedResult:
    """A bundle that was written to a file, or taken from one."""

    adapter: LoadedAdapter
    files: tuple[str, ...]
    output: Path
    findings: tuple[Finding, ...] = ()
    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "adapter": self.adapter.name,
            "kind": self.adapter.kind,
            "sha256": self.adapter.sha256,
            "files": list(self.files),
            "output": str(self.output),
            "findings": [asdict(one) for one in self.findings],
        }


@dataclass(frozen=True)
class LogResult:
    """The audit log, and what is wrong with the registry where that was asked."""

    entries: tuple[Entry, ...]
    is_verified: bool
    broken_line: int | None = None
    reasons: tuple[ErrorReport, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or the code for a registry that is refused."""
        return ModelError.exit_code if self.reasons else 0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "entries": [asdict(one) for one in self.entries],
            "is_verified": self.is_verified,
            "broken_line": self.broken_line,
            "reasons": [one.document() for one in self.reasons],
        }


def activate_adapter(
    folder: Path, *, model: str | None, registry: Path | None, is_forced: bool = False
) -> ChangeResult:
    """Make the bundle of a folder the active one of its name, once all of it has been checked.

    Raises `ModelError` for a bundle that is refused, `QualityError` for one that was measured and
    not accepted unless `is_forced`, and as `mrcli.models.registry.activate`.
    """
    parcel = _parcel_of(folder)
    one = _checked(parcel, folder.name, model)
    accepted = (one.card.acceptance or {}).get("accepted")
    if accepted is False and not is_forced:
        raise QualityError(
            f"{folder.name}: {one.name} was measured and not accepted",
            hint="its record says why; --force-unaccepted activates it all the same",
        )
    change = activate(_root(registry), parcel, one, is_forced=accepted is False)
    return ChangeResult(one.name, change, tuple(_findings(parcel, accepted, change)))


def roll_back_adapter(name: str, *, model: str | None, registry: Path | None) -> ChangeResult:
    """Take back the last activation of an adapter; raises `ModelError`, and as `roll_back`."""
    root = _root(registry)
    backbone = None if model is None else load_model(model).sha256
    change = roll_back(root, name, backbone)
    found = () if change.after is None else tuple(_damage(root, change.after.sha256))
    return ChangeResult(name, change, found)


def export_adapter(
    name_or_dir: str, output: Path, *, model: str | None, registry: Path | None, overwrite: bool
) -> MovedResult:
    """Write a bundle and its evidence to one file, the same bytes every time.

    A folder is that of a bundle; a name is that of an active adapter. Raises `ModelError` for what
    is refused, `OutputError` for what cannot be written.
    """
    folder = Path(name_or_dir)
    if bundle_at(folder) is None:
        folder = _active_folder(name_or_dir, model, _root(registry))
    parcel = read_parcel(folder)
    one = _checked(parcel, folder.name, model)
    write_bytes_atomically(output, zip_bytes(parcel), overwrite=overwrite)
    return MovedResult(one, tuple(parcel.files(BUNDLE)), output, tuple(_left_out(parcel)))


def import_adapter(file: Path, output: Path, *, model: str | None) -> MovedResult:
    """Write what a file from elsewhere holds to ``bundle`` and ``evidence`` below a new folder.

    Raises `InputError` where there is no such file, `ModelError` unless every byte of it is as it
    was exported, for a model that is here, `OutputError` where the folder is not free.
    """
    if not file.is_file():
        raise InputError(f"{file.name}: no such file", hint="name a file of mrcli adapters export")
    place = file.resolve()
    try:
        parcel = parse_zip(read_within(place.parent, place.name, MAX_ZIP_BYTES))
    except ModelError as error:
        raise ModelError(f"{file.name}: {error.message}", hint=error.hint) from error
    one = _checked(parcel, file.name, model)
    _require_free(output)
    with staging_folder(output.absolute().parent) as stage:
        write_parcel(parcel, stage / "new", BUNDLE)
        swap(stage, output)
    return MovedResult(one, tuple(parcel.files(BUNDLE)), output)


def read_audit_log(registry: Path | None, *, is_verified: bool) -> LogResult:
    """Return the audit log, up to its first broken line.

    `is_verified` also looks at ``active.json`` and at every byte of the bundles that the log names.
    Without it a line that is broken is a reason as well.
    """
    root = _root(registry)
    log = read_log(root)
    broken = None if log.broken is None else log.broken.number
    reasons = tuple(_reasons(root, log.entries, with_bundles=is_verified))
    return LogResult(log.entries, is_verified, broken, reasons)


def _reasons(
    root: Path, entries: tuple[Entry, ...], *, with_bundles: bool
) -> Iterator[ErrorReport]:
    hashes = dict.fromkeys(entry.bundle_sha256 for entry in entries) if with_bundles else ()
    bundles = (partial(require_bundle, root, one) for one in hashes)
    checks: tuple[Callable[[], object], ...] = (partial(read_snapshot, root), *bundles)
    for check in checks:
        try:
            check()
        except ModelError as error:
            yield report_error(error)


def _root(registry: Path | None) -> Path:
    found = registry_folder() if registry is None else registry
    if found is None:
        raise InputError("no folder for a registry is known", hint="name one by --registry DIR")
    return found


def _parcel_of(folder: Path) -> Parcel:
    if not folder.is_dir():
        raise InputError(f"{folder.name}: no such folder", hint="name the folder of a bundle")
    return read_parcel(folder)


def _checked(parcel: Parcel, where: str, model: str | None) -> LoadedAdapter:
    owner: Model = load_model(model) if model else owner_of(parcel.card, where)
    return parcel.loaded(where, owner)


def _active_folder(name: str, model: str | None, root: Path) -> Path:
    snapshot = read_snapshot(root)
    backbone = snapshot.owner(name, None if model is None else load_model(model).sha256)
    sha256 = snapshot.active(backbone)[name].sha256
    require_bundle(root, sha256)
    return bundle_folder(root, sha256)


def _require_free(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and _is_empty(folder))):
        raise OutputError(f"{folder.name}: exists already", hint="choose another folder")


def _is_empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def _findings(parcel: Parcel, accepted: object, change: Change) -> Iterator[Finding]:
    if accepted is False:
        message = "it was measured and not accepted, and is activated all the same"
        yield Finding("unaccepted", Severity.WARNING, message, "roll it back where images suffer")
    elif accepted is not True:
        message = "it has no record of a measurement that accepts it"
        remedy = "compare images with and without it before they are read"
        yield Finding("acceptance-unknown", Severity.WARNING, message, remedy)
    if change.before == change.after:
        message = "it was active already: nothing was changed"
        yield Finding("already-active", Severity.INFO, message, "nothing")
    yield from _left_out(parcel)


def _left_out(parcel: Parcel) -> Iterator[Finding]:
    if parcel.left_out:
        message = f"evidence of unknown name stays behind: {', '.join(parcel.left_out)}"
        yield Finding("evidence-left-out", Severity.INFO, message, "keep the folder itself")


def _damage(root: Path, sha256: str) -> Iterator[Finding]:
    try:
        require_bundle(root, sha256)
    except ModelError as error:
        message = f"what is active now is damaged: {error.message}"
        yield Finding("damaged", Severity.ERROR, message, "activate it again, or roll back")
