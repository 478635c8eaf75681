"""Which method a scan gets, with which model, adapters and precision, and why each."""

from dataclasses import dataclass, replace
from functools import lru_cache

from mrcli.adapters.merge import merged
from mrcli.adapters.selection import Selection
from mrcli.errors import ModelError
from mrcli.findings import Finding, Severity
from mrcli.methods import METHODS, Method
from mrcli.models.store import LoadedAdapter, Model, list_models, load_model
from mrcli.network_method import NetworkMethod
from mrcli.precision import DTYPES, SINGLE, choose_precision
from mrcli.scan import ScanHeader
from mrcli.tasks.model_limits import why_not_header
from mrcli.tasks.recon_adapters import Adapters, selection_document

NETWORK, FALLBACK, AUTO = "network", "sense", "auto"
NO_MODEL = "no model is installed"


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, with which adapters, where and in which precision."""

    model: str | None = None  # name or folder; None: the one that comes with this version
    adapter: str = "auto"
    precision: str = "auto"
    device: str = "cpu"


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Network:
    """A model as this run uses it; each scan has its own adapters."""

    model: Model
    adapters: Adapters
    device: str
    precision: str
    precision_reason: str

    def with_adapter(self, wanted: str) -> "Network":
        """Return the same model with other adapters; raises `ModelError`."""
        return replace(self, adapters=Adapters.of(self.model, wanted))

    def method(self, selection: Selection) -> Method:
        """Return the network with these adapters merged, on its device."""
        return _built(self.model, selection.chain, self.device, self.precision)


@lru_cache(maxsize=1)  # scans of one site follow each other
def _built(
    model: Model, adapters: tuple[LoadedAdapter, ...], device: str, precision: str
) -> NetworkMethod:
    backbone = merged(model.backbone, [one.adapter for one in adapters]).to(device).eval()
    return NetworkMethod(backbone, DTYPES[precision])


@dataclass(frozen=True, eq=False)
class Choice:
    """How one scan is reconstructed, and why."""

    method: str
    reason: str
    network: Network | None = None
    selection: Selection | None = None
    may_fall_back: bool = False  # nobody asked for the network by name
    findings: tuple[Finding, ...] = ()

    @property
    def solve(self) -> Method:
        """Return the method itself."""
        if self.network is None or self.selection is None:
            return METHODS[self.method]
        return self.network.method(self.selection)

    @property
    def precision(self) -> str:
        """Return the precision of the convolutions; the classical methods have single only."""
        return SINGLE if self.network is None else self.network.precision

    @property
    def model_document(self) -> dict[str, object] | None:
        """Return name and hash of the model, None for a classical method."""
        if self.network is None:
            return None
        return {"name": self.network.model.name, "sha256": self.network.model.sha256}

    @property
    def adapter_document(self) -> dict[str, object] | None:
        """Return the adapters and why these, None for a classical method."""
        return None if self.selection is None else selection_document(self.selection)

    def decisive(self) -> dict[str, object]:
        """Return what decides the image beside the name of the method."""
        if self.network is None or self.selection is None:
            return {}
        return {
            "model_sha256": self.network.model.sha256,
            "adapters_sha256": [one.sha256 for one in self.selection.chain],
            "precision": self.precision,
            "may_fall_back": self.may_fall_back,
        }

    def instead(self, why: str, *, is_failure: bool = False) -> "Choice":
        """Return the choice of the classical method; that the network failed is a finding."""
        found = (_set_aside(why),) if is_failure else ()
        return Choice(FALLBACK, _fallback_reason(why), findings=found)


def _fallback_reason(why: str) -> str:
    return f"auto: {FALLBACK}, since {why}"


def _set_aside(why: str) -> Finding:
    return Finding(
        "network-set-aside",
        Severity.WARNING,
        f"this is the image of {FALLBACK}, since {why}",
        "ask for the network by --method network to see its image",
    )


@dataclass(frozen=True, eq=False)
class Chooser:
    """Chooses for every scan of a run; models are loaded once."""

    method: str
    network: Network | None
    absence: str = ""  # why there is no network

    def choose(self, header: ScanHeader) -> Choice:
        """Return how a scan is reconstructed, as far as its header tells."""
        if self.method in METHODS:
            return Choice(self.method, "asked for")
        if self.network is None:
            return Choice(FALLBACK, _fallback_reason(self.absence))
        is_free = self.method == AUTO
        selection = self.network.adapters.choose(header)
        words = _words(self.network, selection, is_free=is_free)
        choice = Choice(NETWORK, words, self.network, selection, is_free)
        why_not = why_not_header(self.network.model, header) if is_free else None
        return choice if why_not is None else choice.instead(why_not)


def _words(network: Network, selection: Selection, *, is_free: bool) -> str:
    asked = f"auto: model {network.model.name} fits the data" if is_free else "asked for"
    return f"{asked}; {selection.reason}; {network.precision}: {network.precision_reason}"


def open_chooser(method: str, settings: NetworkSettings) -> Chooser:
    """Load what a run needs; raises `ModelError` where a model or an adapter is refused.

    A model that is named has to be there, whatever the method; without a name `auto` goes on.
    """
    if method in METHODS:
        return Chooser(method, None)
    name = default_model(settings.device) if settings.model is None else settings.model
    if name is not None:
        return Chooser(method, open_network(name, settings))
    if method == NETWORK:
        raise ModelError(NO_MODEL, hint="name a model by --model NAME or --model DIR")
    return Chooser(method, None, NO_MODEL)


def open_network(name: str, settings: NetworkSettings) -> Network:
    """Load a model and the adapter that is named; raises `ModelError`."""
    model = load_model(name)
    adapters = Adapters.of(model, settings.adapter)
    precision = choose_precision(settings.precision, settings.device)
    return Network(model, adapters, settings.device, *precision)


def default_model(device: str) -> str | None:
    """Return the model for a device: `base` for a GPU, `small` for a processor, else the last."""
    names = [entry.name for entry in list_models()]
    preferred = "base" if device.startswith("cuda") else "small"
    return preferred if preferred in names else next(reversed(names), None)
