"""Settings of a site in a TOML file, checked key by key before anything runs.

A file holds keys that all verbs share at the top and one section per verb::

    device = "cpu"

    [recon]
    method = "sense"
    to = ["nifti", "h5"]

Keys are the long names of options. What the file says is a default: the command line and the
environment go before it.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from mrcli.errors import MrcliError

FILE_NAME = "mrcli.toml"
SHARED_KEYS = frozenset({"device", "seed", "quiet", "verbose", "no-color"})

Value = str | int | float | bool
Keys = Mapping[str, Mapping[str, type]]  # verb -> the keys of its section -> kind of value

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_IS_NEAR = 0.6  # of a ratio of 1: what is less alike is no slip of the fingers


@dataclass(frozen=True)
class Setting:
    """A value for an option, and the place in the file that it comes from."""

    value: Value
    place: str


Sections = dict[str, dict[str, Setting]]  # verb -> key -> setting


class ConfigError(MrcliError):
    """The configuration file is missing, unreadable or says something unknown: a usage error."""

    exit_code: ClassVar[int] = 2


def find_config(given: Path | None, folder: Path) -> Path | None:
    """Return the file to read: the one that was named, else `mrcli.toml` of `folder`, else none."""
    if given is not None:
        return given
    beside = folder / FILE_NAME
    return beside if beside.is_file() else None


def read_config(path: Path, known: Keys) -> Sections:
    """Return what each verb gets from the file, shared keys included; raises `ConfigError`.

    Every value has the kind that `known` states, in the sections of all verbs.
    """
    content = _read_toml(path)
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in content.items() if isinstance(value, dict)}
    for key in shared:
        _require_shared(path.name, key, known)
    _require_known(path.name, "section", sections, known)
    for verb, section in sections.items():
        _require_known(path.name, f"key in section [{verb}]", section, known[verb])
    return {verb: _merged(path.name, verb, shared, sections.get(verb, {}), known) for verb in known}


def _read_toml(path: Path) -> dict[str, object]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path.name}: the configuration file cannot be read: {error.strerror}",
            hint="name an existing file, or none",
        ) from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(
            f"{path.name}: not a TOML file: {error}", hint='write one `key = "value"` per line'
        ) from error
    return {_spelled(key): value for key, value in content.items()}


def _spelled(key: str) -> str:
    return key.replace("_", "-")


def _require_shared(name: str, key: str, known: Keys) -> None:
    """Require that a key may stand above all sections."""
    owners = ", ".join(f"[{verb}]" for verb in known if key in known[verb])
    if key in known:
        raise ConfigError(f"{name}: {key} is a section, not a key", hint=f"write [{key}]")
    if owners and key not in SHARED_KEYS:
        raise ConfigError(
            f"{name}: {key} stands above all sections", hint=f"it belongs in section {owners}"
        )
    _require_known(name, "key", [key], SHARED_KEYS)


def _require_known(name: str, what: str, found: Collection[str], known: Collection[str]) -> None:
    for key in map(_spelled, found):
        if key not in known:
            nearest = get_close_matches(key, sorted(known), n=1, cutoff=_IS_NEAR)
            hint = f"the nearest one known is {nearest[0]}" if nearest else _listed(known)
            raise ConfigError(f"{name}: unknown {what}: {key}", hint=hint)


def _listed(known: Collection[str]) -> str:
    return f"known are {', '.join(sorted(known))}"


def _merged(
    name: str,
    verb: str,
    shared: Mapping[str, object],
    section: Mapping[str, object],
    known: Keys,
) -> dict[str, Setting]:
    kinds = known[verb]
    wanted = {key: value for key, value in shared.items() if key in kinds}
    own = {_spelled(key): value for key, value in section.items()}
    placed = [(key, value, f"{name}: {key}") for key, value in wanted.items()]
    placed += [(key, value, f"{name}: {key} in section [{verb}]") for key, value in own.items()]
    return {key: Setting(_plain(value, kinds[key], place), place) for key, value, place in placed}


def _plain(value: object, kind: type, place: str) -> Value:
    """Return a value as an option takes it; a list becomes its items with commas between."""
    if kind is str and isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    is_fit = type(value) is kind or (kind is float and type(value) is int)  # a bool is an int
    if is_fit and isinstance(value, str | int | float):
        return value
    found = _KINDS.get(type(value), f"a {type(value).__name__}")
    raise ConfigError(f"{place} is {found}, needed is {_KINDS[kind]}", hint="change the value")
