"""What a model was trained for, and whether a scan is that; a model that does not say fits all.

The record of its training may hold ``trained_for``: ``max_frames``, ``n_coils`` and
``acceleration`` (of all samples, ACS included), each of the latter ``[least, most]``;
``auto_protocols``, a list of names; ``accepts_unknown_protocol``, true where it is absent.
"""

from collections.abc import Mapping
from typing import TypeGuard

from mrcli.errors import ModelError
from mrcli.models.store import Model
from mrcli.physics.sampling import Sampling
from mrcli.scan import ScanHeader


def why_not_header(model: Model, header: ScanHeader) -> str | None:
    """Return why `auto` does not take a model for a scan, as far as the header tells."""
    limits = _trained_for(model)
    return (
        _why_not_protocol(model, header.protocol)
        or _above(model, "frames", header.n_frames, limits.get("max_frames"))
        or _outside(model, "coils", header.n_coils, limits.get("n_coils"))
    )


def why_not_sampling(model: Model, sampling: Sampling) -> str | None:
    """Return why `auto` does not take a model for the sampling that was found."""
    found = sampling.true_acceleration
    return _outside(model, "acceleration", found, _trained_for(model).get("acceleration"))


def _trained_for(model: Model) -> Mapping[str, object]:
    limits = _stated(model, "trained_for", {})
    if not isinstance(limits, Mapping):
        raise _not_understood(model, "trained_for")
    return limits


def _stated(model: Model, key: str, default: object) -> object:
    """Return what the record of the training states, which is where a model says such things."""
    training = model.card.get("training", {})
    return training.get(key, default) if isinstance(training, Mapping) else default


def _why_not_protocol(model: Model, protocol: str | None) -> str | None:
    if protocol is None:
        is_fine = _stated(model, "accepts_unknown_protocol", default=True)
        words = f"the scan states no protocol, which model {model.name} needs to know"
        return None if is_fine else words
    known = _stated(model, "auto_protocols", None)
    if known is None:
        return None
    if not isinstance(known, list):
        raise _not_understood(model, "auto_protocols")
    if protocol.casefold() in (str(one).casefold() for one in known):
        return None
    return f"protocol {protocol} was not in the training of model {model.name}"


def _above(model: Model, what: str, found: float, limit: object) -> str | None:
    if limit is None:
        return None
    return _outside(model, what, found, [0, limit])


def _outside(model: Model, what: str, found: float, limits: object) -> str | None:
    if limits is None:
        return None
    if not _is_range(limits):
        raise _not_understood(model, what)
    low, high = limits
    if low <= found <= high:
        return None
    needs = f"{low:g} to {high:g}" if low else f"up to {high:g}"
    return f"the scan has {what} {found:.3g}, and model {model.name} was trained for {needs}"


def _is_range(limits: object) -> TypeGuard[tuple[float, float]]:
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        return False
    return all(isinstance(one, int | float) for one in limits)


def _not_understood(model: Model, what: str) -> ModelError:
    return ModelError(
        f"the card of model {model.name} is not understood at {what}", hint="install it again"
    )
