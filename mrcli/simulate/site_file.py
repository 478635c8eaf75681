"""Reads descriptions of sites from a TOML file and checks them fully.

`sites.toml` beside this module holds the sites of the program, shaped after the listing of
CMRxRecon2025. A table ``[protocol.NAME]`` holds what the sites share of a protocol; a site states
the rest, or says otherwise, under ``[site.protocols.NAME]``.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mrcli.errors import InputError
from mrcli.simulate.acquisition import KSpaceFilter
from mrcli.simulate.coils import CoilArray
from mrcli.simulate.contrast import CONTRASTS
from mrcli.simulate.sites import Container, ProtocolSpec, SiteSpec, Split

BUILT_IN = Path(__file__).with_name("sites.toml")
MAX_COILS = 128


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
    sites = tuple(_Reader(path.name, facts).site(entry) for entry in entries)
    names = [site.name for site in sites]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path.name}: site {twice} is described twice")
    return sites


@dataclass(frozen=True)
class _Reader:
    """Turns the tables of a file into sites; protocols inherit from the file's `protocol` table."""

    file: str
    facts: Mapping[str, object]

    def site(self, entry: object) -> SiteSpec:
        name = "a site"
        if isinstance(entry, Mapping):
            name = f"site {entry.get('center')}/{entry.get('scanner')}"
        try:
            return self._site(entry)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.file}: {name}: {_reason(error)}",
                hint="compare with the sites of the program: mrcli simulate --list",
            ) from error

    def _site(self, entry: object) -> SiteSpec:
        values = dict(_table(entry, "site"))
        protocols = _table(values.pop("protocols"), "protocols")
        array, filtered = values.pop("array"), values.pop("kspace_filter", {})
        values |= {"split": Split(values["split"]), "peak": tuple(values["peak"])}
        spec = SiteSpec(
            **(_DEFAULTS | values),
            array=_array(_table(array, "array")),
            kspace_filter=KSpaceFilter(**_table(filtered, "kspace_filter")),
            protocols=tuple(self._protocol(key, one) for key, one in protocols.items()),
        )
        _require_possible(spec)
        return spec

    def _protocol(self, contrast: str, own: object) -> ProtocolSpec:
        if contrast not in CONTRASTS:
            raise ValueError(f"protocol {contrast!r} is unknown, known are {', '.join(CONTRASTS)}")
        shared = _table(self.facts.get("protocol", {}), "protocol").get(contrast, {})
        values = dict(_table(shared, contrast)) | dict(_table(own, contrast))
        values["container"] = Container(values.get("container", "hdf5"))
        for key in ("views", "n_frames", "n_slices"):
            values[key] = tuple(values[key])
        values["matrices"] = tuple((int(y), int(x)) for y, x in values["matrices"])
        spec = ProtocolSpec(contrast=contrast, **values)
        _require_sizes(spec)
        return spec


_DEFAULTS: dict[str, Any] = {
    "n_virtual": 10,
    "gain_spread": 0.15,
    "partial_fourier": 1.0,
    "drift_mm": 0.0,
    "mistrigger": 0.0,
    "readout_oversampling": 2.0,
}


def _table(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is no table")
    return value


def _array(values: Mapping[str, Any]) -> CoilArray:
    rows = {key: tuple(values[key]) for key in ("front", "back")}
    return CoilArray(**(dict(values) | rows))


def _reason(error: Exception) -> str:
    """Say what is wrong in the words of the file, not of Python."""
    if isinstance(error, KeyError):
        return f"the key {error.args[0]!r} is missing"
    _, is_unknown, key = str(error).rpartition("unexpected keyword argument ")
    if not is_unknown:
        return str(error).rpartition("__init__() ")[2]
    kinds = (SiteSpec, ProtocolSpec, CoilArray, KSpaceFilter)
    known = [field.name for kind in kinds for field in fields(kind)]
    near = get_close_matches(key.strip("'"), known, 1)
    return f"the key {key} is unknown" + (f", did you mean {near[0]!r}?" if near else "")


def _require_possible(spec: SiteSpec) -> None:
    n_coils = spec.array.n_coils
    checks = (
        (1 <= n_coils <= MAX_COILS, f"{n_coils} coils, needed are 1 to {MAX_COILS}"),
        (
            spec.n_virtual is None or 1 <= spec.n_virtual <= n_coils,
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
    if not spec.views:
        raise ValueError(f"{spec.contrast}: no view")
