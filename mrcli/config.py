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
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from mrcli.errors import MrcliError

FILE_NAME = "mrcli.toml"
SHARED_KEYS = frozenset({"device", "seed", "quiet", "verbose", "no-color"})

Value = str | int | float | bool
Keys = Mapping[str, Collection[str]]  # verb -> the keys that its section may have
Sections = dict[str, dict[str, Value]]  # verb -> key -> value


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
    """Return what each verb gets from the file, shared keys included; raises `ConfigError`."""
    content = _read_toml(path)
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in content.items() if isinstance(value, dict)}
    _require_known(path.name, "key", shared, SHARED_KEYS | known.keys())
    _require_known(path.name, "section", sections, known)
    for verb, section in sections.items():
        _require_known(path.name, f"key in section {verb}", section, known[verb])
    return {verb: _merged(path.name, shared, sections.get(verb, {}), known[verb]) for verb in known}


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


def _require_known(name: str, what: str, found: Collection[str], known: Collection[str]) -> None:
    for key in map(_spelled, found):
        if key not in known:
            nearest = get_close_matches(key, sorted(known), n=1, cutoff=0.0)
            raise ConfigError(
                f"{name}: unknown {what}: {key}",
                hint=f"the nearest one known is {nearest[0]}" if nearest else None,
            )


def _merged(
    name: str,
    shared: Mapping[str, object],
    section: Mapping[str, object],
    known: Collection[str],
) -> dict[str, Value]:
    wanted = {key: value for key, value in shared.items() if key in known}
    own = {_spelled(key): value for key, value in section.items()}
    return {key: _plain(name, key, value) for key, value in (wanted | own).items()}


def _plain(name: str, key: str, value: object) -> Value:
    """Return a value as an option takes it; a list becomes its items with commas between."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if isinstance(value, str | int | float):  # bool is an int
        return value
    raise ConfigError(
        f"{name}: {key} is a {type(value).__name__}, needed is a text, a number, true or false, "
        "or a list of texts"
    )
