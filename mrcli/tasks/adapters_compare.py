"""Compare adapters and average them; results carry an exit code and print nothing."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mrcli.adapters.average import BY_SCANS, average, kind_of
from mrcli.adapters.bundle import LoadedAdapter
from mrcli.adapters.card import PROTOCOL, UNIVERSAL, require_name
from mrcli.adapters.difference import differences, total_difference
from mrcli.adapters.merge import can_merge
from mrcli.errors import ModelError, OutputError
from mrcli.findings import Finding, Severity
from mrcli.models.bundle_files import write_bundle
from mrcli.models.store import load_adapter
from mrcli.nn.backbone import count_parameters
from mrcli.tasks.adapter_models import find_adapter


@dataclass(frozen=True)
class DiffResult:
    """Two adapters, and how far apart they are at each slot."""

    adapters: tuple[dict[str, object], dict[str, object]]
    difference: float | None  # over all slots; None for forms that are not linear
    slots: dict[str, float]
    findings: tuple[Finding, ...] = ()
    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "adapters": list(self.adapters),
            "difference": self.difference,
            "slots": [{"slot": name, "difference": one} for name, one in self.slots.items()],
            "findings": [asdict(one) for one in self.findings],
        }


@dataclass(frozen=True)
class AverageResult:
    """An average that was written: of what, with which weights, and what its rank lost."""

    adapter: LoadedAdapter
    output: Path
    findings: tuple[Finding, ...] = ()
    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        training = self.adapter.card.training
        return {
            "adapter": self.adapter.name,
            "kind": self.adapter.kind,
            "sha256": self.adapter.sha256,
            "averaged": training["averaged"],
            "weights": training["weights"],
            "share_lost": training["share_lost"],
            "output": str(self.output),
            "findings": [asdict(one) for one in self.findings],
        }


def diff_adapters(one: str, other: str, *, model: str | None, registry: Path | None) -> DiffResult:
    """Compare two adapters of one backbone, by name or folder; raises `ModelError`."""
    first, second = (find_adapter(name, model, registry)[0] for name in (one, other))
    facts = (_facts(first), _facts(second))
    if first.card.backbone_sha256 != second.card.backbone_sha256:
        raise ModelError(
            f"{first.name} is for backbone {first.card.backbone_sha256[:12]}, {second.name} for "
            f"{second.card.backbone_sha256[:12]}",
            hint="compare adapters that were made for the same model",
        )
    pair = (first.adapter, second.adapter)
    if not all(map(can_merge, pair)):
        return DiffResult(facts, None, {}, (_not_linear(),))
    return DiffResult(facts, total_difference(*pair), differences(*pair))


def average_adapters(
    names: Sequence[str],
    output: Path,
    *,
    name: str = UNIVERSAL,
    model: str | None,
    registry: Path | None,
    overwrite: bool = False,
) -> AverageResult:
    """Write the average of adapters of one backbone, as a bundle of a site or the universal one.

    Raises `ModelError` for adapters that have no average, `OutputError` where it cannot be written.
    """
    require_name(kind_of(name), name)
    found = [find_adapter(one, model, registry) for one in names]
    members = [one for one, _ in found]
    result, card = average(members, kind_of(name), name)
    if os.path.lexists(output) and not overwrite:
        raise OutputError(
            f"{output.name}: exists already", hint="ask for overwriting, or choose another folder"
        )
    write_bundle(output, result.adapter, card)
    return AverageResult(
        load_adapter(output, found[0][1]),
        output,
        tuple(_findings(members, card.training["weights"])),
    )


def _facts(one: LoadedAdapter) -> dict[str, object]:
    return {
        "name": one.name,
        "kind": one.kind,
        **one.adapter.spec.document(),
        "n_parameters": count_parameters(one.adapter),
        "sha256": one.sha256,
        "backbone_sha256": one.card.backbone_sha256,
    }


def _not_linear() -> Finding:
    return Finding(
        "not-linear",
        Severity.INFO,
        "a bottleneck is no matrix: what the two do is not compared",
        "compare the images of the two",
    )


def _findings(members: Sequence[LoadedAdapter], weights: object) -> Iterator[Finding]:
    if weights != BY_SCANS:
        message = "not every adapter states its number of scans: all count the same"
        yield Finding("equal-weights", Severity.INFO, message, "fit them with mrcli adapt")
    protocols = sorted({one.name for one in members if one.kind == PROTOCOL})
    if protocols:
        message = f"{', '.join(protocols)}: acts before the average as well where it is known"
        remedy = "average adapters of sites"
        yield Finding("protocols-averaged", Severity.WARNING, message, remedy)
