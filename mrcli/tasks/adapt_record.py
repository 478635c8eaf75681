"""The record of an adaptation, shaped after change-control plans for learning medical software.

evidence/protocol.json    what was fixed before anything was learned: data, split, seeds, limits
evidence/impact.json      what it does: every judge before and after, the worst, the verdict
evidence/change.json      what changed: tensors, counts, hashes, the backbone proven untouched
evidence/SOUP.json        software of unknown provenance: the versions that took part

Scans are named by their number and hash: no path, no name of a file, no identifier. It is a record
for those who decide; it claims no compliance with any rule.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from mrcli.adapt.folds import Fold
from mrcli.adapt.gate import Verdict
from mrcli.adapters.adapter import Adapter
from mrcli.adapters.tensors import tensor_bytes
from mrcli.errors import InputError
from mrcli.io.atomic import write_text_atomically
from mrcli.models.store import Model
from mrcli.nn.backbone import count_parameters
from mrcli.provenance import NUMERICS_VERSION, sha256_of_json, software_versions
from mrcli.tasks.adapt_folds import FoldResult, Score
from mrcli.tasks.adapt_scans import SiteScan
from mrcli.tasks.adapt_settings import AdaptSettings

SCHEMA_VERSION = 1
PROTOCOL, IMPACT, CHANGE, SOUP = "protocol.json", "impact.json", "change.json", "SOUP.json"

MEASURES = {
    "target": "error of the magnitude against the coil-combined image of full sampling, in phase "
    "with the reconstruction: noise is in it, a noise floor is not",
    "withheld": "error of the complex k-space samples that the network was not given, all coils "
    "equally noisy: noise is in it, a noise floor is not",
}


def protocol_document(
    settings: AdaptSettings,
    model: Model,
    scans: Sequence[SiteScan],
    folds: Sequence[Fold],
    baseline: Sequence[str],
) -> dict[str, object]:
    """Return what is fixed before anything is learned."""
    return {
        "schema_version": SCHEMA_VERSION,
        "numerics_version": NUMERICS_VERSION,
        "site": {"center": settings.center, "scanner": settings.scanner},
        "model": {"name": model.name, "backbone_sha256": model.sha256},
        "baseline": list(baseline),
        "settings": dict(settings.document()),
        "measures": {kind: MEASURES[kind] for kind in sorted({scan.kind for scan in scans})},
        "scans": [_scan_facts(number, scan) for number, scan in enumerate(scans, 1)],
        "folds": [fold.document() for fold in folds],
        "judged_by": "the adapter of the fold that has not seen the patient",
    }


def _scan_facts(number: int, scan: SiteScan) -> dict[str, object]:
    return {
        "scan": f"scan {number}",
        "patient": scan.patient,
        "sha256": scan.sha256,
        "protocol": scan.modality,
        "n_coils": scan.n_coils,
        "judged_by": scan.kind,
        "conditions": [trial.condition for trial in scan.trials],
    }


def fix_protocol(folder: Path, document: Mapping[str, object]) -> None:
    """Write the protocol, or require that it is the one of an earlier call.

    Raises `InputError` where it is another: limits that move afterwards are none.
    """
    path = folder / PROTOCOL
    if not path.exists():
        write_json(path, document)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no JSON: {error}", hint="choose another folder") from error
    if found != json.loads(json.dumps(document)):
        keys = [key for key in document if found.get(key) != json.loads(json.dumps(document[key]))]
        raise InputError(
            f"{path}: {', '.join(keys) or 'something'} was fixed otherwise by an earlier call",
            hint="adapt into another folder: what is fixed beforehand does not change",
        )


def impact_document(
    verdict: Verdict, results: Sequence[FoldResult], curve: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """Return what the adapters of the folds do for their judges."""
    scores = [score for result in results for score in result.scores]
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict.document(),
        "scores": [{**asdict(score), "gain_db": score.gain_db} for score in scores],
        "groups": _groups(scores),
        "folds": [{**result.fold.document(), **result.facts} for result in results],
        "learning_curve": list(curve),
    }


def _groups(scores: Sequence[Score]) -> list[dict[str, object]]:
    """Return mean and worst per protocol and sampling."""
    keys = sorted({(str(score.modality), score.condition) for score in scores})
    rows: list[dict[str, object]] = []
    for modality, condition in keys:
        own = [s for s in scores if (str(s.modality), s.condition) == (modality, condition)]
        gains = [score.gain_db for score in own]
        rows.append(
            {
                "protocol": modality,
                "condition": condition,
                "n": len(own),
                "mean_gain_db": fmean(gains),
                "worst_gain_db": min(gains),
                "mean_gain_over_classical_db": fmean(s.classical_db - s.candidate_db for s in own),
            }
        )
    return rows


def change_document(
    model: Model, adapter: Adapter | None, bundle_sha256: str | None
) -> dict[str, object]:
    """Return what changed: the backbone is hashed again, as it stands in memory now."""
    tensors = {} if adapter is None else dict(adapter.state_dict())
    n_parameters = 0 if adapter is None else count_parameters(adapter)
    now = hashlib.sha256(tensor_bytes(model.backbone.state_dict())).hexdigest()
    return {
        "schema_version": SCHEMA_VERSION,
        "backbone": {
            "sha256_before": model.sha256,
            "sha256_after": now,
            "is_untouched": now == model.sha256,
        },
        "adapter_sha256": bundle_sha256,
        "n_parameters": n_parameters,
        "share_of_backbone": n_parameters / count_parameters(model.backbone),
        "tensors": [
            {"name": name, "shape": list(one.shape), "norm": float(one.norm())}
            for name, one in tensors.items()
        ],
    }


def soup_document() -> dict[str, object]:
    """Return the versions of the software that took part."""
    return {"schema_version": SCHEMA_VERSION, "software": software_versions()}


def fingerprint(scans: Sequence[SiteScan]) -> dict[str, object]:
    """Return what an adapter was fitted to, without identifiers."""
    return {
        "n_scans": len(scans),
        "n_patients": len({scan.patient for scan in scans}),
        "protocols": sorted({str(scan.modality) for scan in scans}),
        "sha256": sha256_of_json(sorted(scan.sha256 for scan in scans)),
    }


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a document, whole or not at all."""
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_text_atomically(path, text, overwrite=True)
