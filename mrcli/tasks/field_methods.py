"""The methods of the field test, as data: each turns an undersampled scan into magnitudes.

A method with a free weight states its grid; the field test chooses from it on the tuning set. To
add a classical method, add it to `mrcli.methods`; to add a way to use the network, add a line to
`NETWORK_ADAPTERS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import torch

from mrcli.checks import examine
from mrcli.errors import DataError, InputError, ModelError
from mrcli.io.bart_tool import Bart, find_bart
from mrcli.methods import METHODS, Method
from mrcli.pipeline import calibrate, reconstruct
from mrcli.scan import Scan
from mrcli.tasks.field_scans import Frames
from mrcli.tasks.recon_choice import AUTO, Network, NetworkSettings, open_chooser
from mrcli.tasks.recon_scan import require_usable

Reconstruct = Callable[[Scan, float | None], Frames]


@dataclass(frozen=True)
class FieldMethod:
    """A method: `run` takes a scan of one slice and a weight of the grid, None without a grid."""

    name: str
    program: str
    settings: str  # in words, or as the program takes them
    run: Reconstruct
    weights: tuple[float, ...] = ()

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "program": self.program,
            "settings": self.settings,
            "weights": list(self.weights),
        }


@dataclass(frozen=True)
class LeftOut:
    """A method that cannot take part, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class BartCall:
    """How ``bart pics`` is called: options with ``{}`` for the weight, and the grid of weights."""

    name: str
    options: str
    weights: tuple[float, ...]


# each grid brackets the best weight of 27 tuning cases: neighbours differ by a factor of 4 or 5
BART_CALLS = (
    BartCall("bart-l2", "-l2 -r {} -i 30", (0.002, 0.01, 0.05)),
    BartCall("bart-wavelet", "-l1 -r {} -i 50", (0.0005, 0.002, 0.008)),
    BartCall("bart-tv", "-R T:1024:0:{} -i 50", (0.0005, 0.002, 0.008)),
    BartCall("bart-llr", "-R L:3:3:{} -b 8 -i 50", (0.001, 0.004, 0.016)),
)
# ways to use one model: which adapters, as `mrcli recon --adapter` takes it
NETWORK_ADAPTERS: Mapping[str, str] = MappingProxyType(
    {"network": "auto", "network-universal": "universal", "network-plain": "none"}
)
METHOD_NAMES = (*METHODS, *NETWORK_ADAPTERS, *(call.name for call in BART_CALLS))
Found = tuple[tuple[FieldMethod, ...], tuple[LeftOut, ...]]


def find_methods(names: Sequence[str], device: str, model: str | None = None) -> Found:
    """Return the methods of these names, of all if none is named, and those that are left out.

    Raises `InputError` for a name that no method has, and where no method is left, `ModelError` for
    a model that is refused.
    """
    wanted = tuple(dict.fromkeys(names)) or METHOD_NAMES
    unknown = [name for name in wanted if name not in METHOD_NAMES]
    if unknown:
        raise InputError(
            f"no method is called {unknown[0]!r}", hint=f"known are {', '.join(METHOD_NAMES)}"
        )
    is_network_wanted = not NETWORK_ADAPTERS.keys().isdisjoint(wanted)
    settings = NetworkSettings(model, device=device)
    networks, without_model = network_methods(settings) if is_network_wanted else ((), ())
    others, without_bart = _bart_methods()
    found = (*own_methods(device), *networks, *others)
    methods = tuple(one for one in found if one.name in wanted)
    missing = tuple(one for one in (*without_model, *without_bart) if one.name in wanted)
    if not methods:
        raise InputError(f"no method can run: {missing[0].name}: {missing[0].reason}")
    return methods, missing


def own_methods(device: str) -> tuple[FieldMethod, ...]:
    """Return the classical methods of this program, which have no free weight."""
    words = "as recon runs it: no free weight, nothing to tune"
    return tuple(
        FieldMethod(name, "mrcli", words, partial(_by_pipeline, method=method, device=device))
        for name, method in METHODS.items()
    )


def network_methods(settings: NetworkSettings) -> Found:
    """Return the ways to use the model of the settings, and those that are left out.

    Raises `ModelError` for a model that is refused; one that is not named may be absent.
    """
    chooser = open_chooser(AUTO, settings)
    if chooser.network is None:
        return (), tuple(LeftOut(name, chooser.absence) for name in NETWORK_ADAPTERS)
    found = [_network_method(name, chooser.network) for name in NETWORK_ADAPTERS]
    return (
        tuple(one for one in found if isinstance(one, FieldMethod)),
        tuple(one for one in found if isinstance(one, LeftOut)),
    )


def _network_method(name: str, network: Network) -> FieldMethod | LeftOut:
    adapter = NETWORK_ADAPTERS[name]
    try:
        network = network.with_adapter(adapter)
    except ModelError as error:
        return LeftOut(name, error.message)
    model = network.model
    words = f"model {model.name} {model.sha256[:8]}, adapter {adapter}, {network.precision}"
    return FieldMethod(name, "mrcli", words, partial(_by_network, network=network))


def _by_network(scan: Scan, weight: float | None, *, network: Network) -> Frames:
    method = network.method(network.adapters.choose(scan.header))
    return _by_pipeline(scan, weight, method=method, device=network.device)


def _by_pipeline(scan: Scan, weight: float | None, *, method: Method, device: str) -> Frames:
    """Reconstruct as `mrcli recon` does: examine, calibrate, solve."""
    del weight
    found = examine(scan)
    require_usable(found.findings)
    calibration = calibrate(scan, found.noise_sigma)
    (one,) = reconstruct(scan, found.mask, calibration, method, device=device)
    return one.image.abs().cpu().numpy()


def _bart_methods() -> tuple[tuple[FieldMethod, ...], tuple[LeftOut, ...]]:
    bart = find_bart()
    if bart is None:
        reason = "the BART toolbox is not installed: no program bart on the search path"
        return (), tuple(LeftOut(call.name, reason) for call in BART_CALLS)
    try:
        program = f"BART {bart.version}"
    except DataError as error:
        return (), tuple(LeftOut(call.name, error.message) for call in BART_CALLS)
    return tuple(_bart_method(bart, program, call) for call in BART_CALLS), ()


def _bart_method(bart: Bart, program: str, call: BartCall) -> FieldMethod:
    settings = f"ecalib -m1; pics {call.options}"
    run = partial(_by_bart, bart=bart, options=call.options)
    return FieldMethod(call.name, program, settings, run, call.weights)


def _by_bart(scan: Scan, weight: float | None, *, bart: Bart, options: str) -> Frames:
    """Reconstruct with maps from the time average, as `mrcli` calibrates."""
    kspace, mask = scan.slice_kspace(0), scan.slice_mask(0)
    if mask is None:
        raise DataError(f"{scan.path}: no mask is stated")
    n_averages = mask.expand(len(kspace), -1, -1, -1).sum(0).clamp(min=1)
    maps = bart.ecalib(kspace.sum(0) / n_averages)
    image = bart.pics(kspace, maps, tuple(options.format(weight).split()))
    return torch.abs(image).numpy().astype(np.float32, copy=False)
