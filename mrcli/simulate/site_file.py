"""Reads descriptions of sites from a TOML file and checks them fully.

`sites.toml` beside this module holds the sites of the program, shaped after the listing of
CMRxRecon2025. A table ``[protocol.NAME]`` holds what the sites share of a protocol; a site states
the rest, or says otherwise, under ``[site.protocols.NAME]``.
"""

import inspect
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from mrcli.errors import InputError
from mrcli.physics.pattern_names import parse_pattern
from mrcli.simulate.acquisition import KSpaceFilter
from mrcli.simulate.coils import CoilArray
from mrcli.simulate.contrast import CONTRASTS
from mrcli.simulate.planes import VIEWS
from mrcli.simulate.sites import Container, ProtocolSpec, SiteSpec, Split

BUILT_IN = Path(__file__).with_name("sites.toml")
MAX_COILS = 128

Spec = TypeVar("Spec")


def load_sites(path: Path = BUILT_IN) -> tuple[SiteSpec, ...]:
    """Return the sites of a TOML file; raises `InputError` that names the site and the key."""
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"{path.name}: cannot be read: {reason}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: no TOML: {error}", hint="correct that line") from error
    entries = facts.get("site")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path.name}: holds no site", hint="describe each under [[site]]")
    sites = tuple(_Reader(path, facts).site(entry) for entry in entries)
    names = [site.name for site in sites]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path.name}: site {twice} is described twice")
    return sites


@dataclass(frozen=True)
class _Reader:
    """Turns the tables of a file into sites; protocols inherit from the file's `protocol` table."""

    path: Path
    facts: Mapping[str, object]

    def site(self, entry: object) -> SiteSpec:
        name = "a site"
        if isinstance(entry, Mapping):
            name = f"site {entry.get('center')}/{entry.get('scanner')}"
        try:
            return self._site(entry)
        except InputError as error:
            raise InputError(
                f"{self.path.name}: {name}: {error.message}", hint=error.hint
            ) from error
        except KeyError as error:
            raise InputError(f"{self.path.name}: {name}: the key {error} is missing") from error
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.path.name}: {name}: {error}",
                hint="compare with the sites of the program: mrcli simulate --list",
            ) from error

    def _site(self, entry: object) -> SiteSpec:
        values = _DEFAULTS | dict(_table(entry, "site"))
        protocols = _table(values["protocols"], "protocols")
        values |= {
            "split": Split(values["split"]),
            "peak": _numbers(values, "peak", 2),
            "patterns": tuple(map(_pattern, values["patterns"])),
            "anatomy": values["anatomy"] and self.path.parent / values["anatomy"],
            "array": _array(dict(_table(values["array"], "array"))),
            "kspace_filter": _built(KSpaceFilter, _table(values["kspace_filter"], "kspace_filter")),
            "protocols": tuple(self._protocol(key, one) for key, one in protocols.items()),
        }
        spec = _built(SiteSpec, values)
        _require_possible(spec)
        return spec

    def _protocol(self, contrast: str, own: object) -> ProtocolSpec:
        if contrast not in CONTRASTS:
            raise ValueError(f"protocol {contrast!r} is unknown, known are {', '.join(CONTRASTS)}")
        shared = _table(self.facts.get("protocol", {}), "protocol").get(contrast, {})
        values = dict(_table(shared, contrast)) | dict(_table(own, contrast))
        values["container"] = Container(values.get("container", "hdf5"))
        values["views"] = tuple(values["views"])
        for key in ("n_frames", "n_slices"):
            values[key] = _counts(values, key)
        values["matrices"] = tuple(_matrix(one) for one in values["matrices"])
        spec = _built(ProtocolSpec, values | {"contrast": contrast})
        _require_sizes(spec)
        return spec


_DEFAULTS: dict[str, Any] = {
    "n_virtual": 10,
    "gain_spread": 0.15,
    "partial_fourier": 1.0,
    "drift_mm": 0.0,
    "mistrigger": 0.0,
    "readout_oversampling": 2.0,
    "kspace_filter": {},
    "patterns": ("Uniform8",),
    "anatomy": None,
}


def _table(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is no table")
    return value


def _array(values: dict[str, Any]) -> CoilArray:
    return _built(CoilArray, values | {key: _counts(values, key, 2) for key in ("front", "back")})


def _pattern(text: str) -> str:
    parse_pattern(text)
    return text


def _built(kind: Callable[..., Spec], values: Mapping[str, Any]) -> Spec:
    """Return the description that a table holds; raises `ValueError` for its keys."""
    known = inspect.signature(kind).parameters
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, 1)
            raise ValueError(
                f"the key {key!r} is unknown" + (f", did you mean {near[0]!r}?" if near else "")
            )
    for key, parameter in known.items():
        if key not in values and parameter.default is parameter.empty:
            raise ValueError(f"the key {key!r} is missing")
        value = values.get(key, parameter.default)
        if parameter.annotation is float and not _is_number(value):
            raise ValueError(f"the key {key!r} is {value!r}, a number is needed")
        if parameter.annotation is int and not isinstance(value, int):
            raise ValueError(f"the key {key!r} is {value!r}, a whole number is needed")
        if parameter.annotation is str and not isinstance(value, str):
            raise ValueError(f"the key {key!r} is {value!r}, text is needed")
    return kind(**values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(values: Mapping[str, Any], key: str, n: int | None = None) -> tuple[Any, ...]:
    """Return the numbers of a list, `n` of them; raises `ValueError`."""
    found = values[key]
    is_list = isinstance(found, list) and all(_is_number(one) for one in found)
    if not is_list or n not in (None, len(found)):
        raise ValueError(f"{key} is {found}, a list of {n or 'some'} numbers is needed")
    return tuple(found)


def _counts(values: Mapping[str, Any], key: str, n: int | None = None) -> tuple[int, ...]:
    """Return the whole numbers of a list, `n` of them; raises `ValueError`."""
    found = _numbers(values, key, n)
    if not all(isinstance(one, int) and one >= 0 for one in found):
        raise ValueError(f"{key} is {list(found)}, whole numbers are needed")
    return found


def _matrix(found: object) -> tuple[int, int]:
    y, x = _counts({"matrices": found}, "matrices", 2)
    return y, x


def _require_possible(spec: SiteSpec) -> None:
    n_coils = spec.array.n_coils
    checks = (
        (1 <= n_coils <= MAX_COILS, f"{n_coils} coils, needed are 1 to {MAX_COILS}"),
        (
            1 <= spec.n_virtual <= n_coils,
            f"n_virtual is {spec.n_virtual}, the array has {n_coils} coils",
        ),
        (spec.array.loop_radius_mm > 0 and spec.array.gap_mm > 0, "loops need radius and gap"),
        (0 < spec.snr < math.inf, f"snr is {spec.snr}, it must be above 0"),
        (0 <= spec.body_noise < 1, f"body_noise is {spec.body_noise}, needed is 0 to below 1"),
        (0.1 <= spec.field_strength_t <= 12, f"field_strength_t is {spec.field_strength_t}"),
        (0 < spec.peak[0] <= spec.peak[1], f"peak is {spec.peak}, needed is low, high above 0"),
        (0.5 < spec.partial_fourier <= 1, f"partial_fourier is {spec.partial_fourier}"),
        (0 <= spec.mistrigger < 1, f"mistrigger is {spec.mistrigger}"),
        (spec.drift_mm >= 0, f"drift_mm is {spec.drift_mm}, it cannot be negative"),
        (spec.off_resonance_hz >= 0, f"off_resonance_hz is {spec.off_resonance_hz}"),
        (0 <= spec.transmit_spread < 0.5, f"transmit_spread is {spec.transmit_spread}"),
        (0 <= spec.gain_spread < 1, f"gain_spread is {spec.gain_spread}"),
        (spec.readout_oversampling >= 1, f"readout_oversampling is {spec.readout_oversampling}"),
        (0.1 < spec.kspace_filter.phase_resolution <= 1, "phase_resolution is out of (0.1, 1]"),
        (0 <= spec.kspace_filter.roll_off <= 1, "roll_off is out of [0, 1]"),
        (len(spec.protocols) > 0, "it has no protocol"),
    )
    for is_fine, reason in checks:
        if not is_fine:
            raise ValueError(reason)


def _require_sizes(spec: ProtocolSpec) -> None:
    sizes = [n for matrix in spec.matrices for n in matrix]
    counts = [*spec.n_frames, *spec.n_slices]
    if not sizes or min(sizes) < 16 or max(sizes) > 4096:
        raise ValueError(f"{spec.contrast}: matrices are {spec.matrices}, sizes are 16 to 4096")
    if not spec.n_frames or not spec.n_slices or min(counts) < 1 or max(counts) > 512:
        raise ValueError(f"{spec.contrast}: frames and slices are 1 to 512")
    if min(spec.fov_y_mm, spec.fov_x_mm, spec.thickness_mm, spec.tr_ms) <= 0:
        raise ValueError(f"{spec.contrast}: lengths and times must be above 0")
    if spec.te_ms < 0 or spec.averages <= 0:
        raise ValueError(f"{spec.contrast}: te_ms is {spec.te_ms}, averages is {spec.averages}")
    if not spec.views or not VIEWS.issuperset(spec.views):
        raise ValueError(
            f"{spec.contrast}: views are {spec.views}, known are {', '.join(sorted(VIEWS))}"
        )
