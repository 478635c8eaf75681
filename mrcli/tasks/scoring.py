"""Score reconstructions one by one; what cannot be scored is listed with its reason."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrcli.errors import InputError, MrcliError
from mrcli.findings import Finding, Severity
from mrcli.io.image_files import read_image
from mrcli.metrics.cmrxrecon2025 import MAPPING_VIEWS, N_FRAMES, FrameChoice
from mrcli.metrics.sets import MetricSet, Scores
from mrcli.report.rows import Conditions, Row, Unscored
from mrcli.tasks.reconstructions import Reconstruction
from mrcli.tasks.references import (
    Reference,
    Volume,
    input_findings,
    locate_reference,
    open_reference,
)

_MAPPING = frozenset(view.casefold() for view in (*MAPPING_VIEWS, "Mapping"))


@dataclass(frozen=True)
class Scored:
    """Rows of what was scored, and what was not with its reason."""

    rows: tuple[Row, ...]
    unscored: tuple[Unscored, ...]
    n_scans: int


def score_reconstructions(
    reconstructions: Sequence[Reconstruction], root: Path, metric_sets: Sequence[MetricSet]
) -> Scored:
    """Score every reconstruction in every set; each reference is opened once."""
    n_scans = len({one.input_sha256 or one.scan for one in reconstructions})
    if root.is_file() and n_scans > 1:
        raise InputError(
            f"{root.name}: one reference for {n_scans} scans",
            hint="name a folder of references, or one scan",
        )
    by_reference, unscored = _locate_references(reconstructions, root)
    if not by_reference:
        _raise_if_no_reference(unscored)
    rows: list[Row] = []
    for reference_path, group in by_reference.items():
        new_rows, failures = _score_group(group, reference_path, metric_sets)
        rows += new_rows
        unscored += failures
    rows.sort(key=lambda row: row.scan)
    unscored.sort(key=lambda one: one.path)
    return Scored(tuple(rows), tuple(unscored), len(reconstructions))


def _locate_references(
    reconstructions: Sequence[Reconstruction], root: Path
) -> tuple[dict[Path, list[Reconstruction]], list[Unscored]]:
    located: dict[Path, list[Reconstruction]] = defaultdict(list)
    unscored = []
    for one in reconstructions:
        try:
            if one.broken is not None:
                raise one.broken
            located[locate_reference(one, root)].append(one)
        except MrcliError as error:
            unscored.append(Unscored(one.relative, error))
    return located, unscored


def _raise_if_no_reference(unscored: Sequence[Unscored]) -> None:
    if all(isinstance(one.error, InputError) for one in unscored):
        raise InputError(
            f"none of {len(unscored)} reconstructions has a reference",
            hint="keep references at the same relative path and stem as the reconstructions",
        )


def _score_group(
    group: Sequence[Reconstruction], reference_path: Path, metric_sets: Sequence[MetricSet]
) -> tuple[list[Row], list[Unscored]]:
    try:
        reference = open_reference(reference_path)
    except MrcliError as error:
        return [], [Unscored(one.relative, error) for one in group]
    rows: list[Row] = []
    unscored: list[Unscored] = []
    for one in group:
        try:
            volume = read_image(one.path).magnitude
            findings = input_findings(one, reference_path)
        except MrcliError as error:
            unscored.append(Unscored(one.relative, error))
            continue
        for metric_set in metric_sets:
            try:
                rows.append(_score(one, volume, reference, metric_set, findings))
            except MrcliError as error:
                unscored.append(Unscored(one.relative, error, metric_set.name))
    return rows, unscored


def _score(
    one: Reconstruction,
    volume: Volume,
    reference: Reference,
    metric_set: MetricSet,
    findings: tuple[Finding, ...],
) -> Row:
    truth, words = reference.image(metric_set.reference)
    choice = frames_to_score(one.conditions)
    scores = metric_set.score(volume, truth, choice)
    noticed = (
        *findings,
        *_identity_findings(scores),
        *_choice_findings(one.conditions, metric_set, len(volume)),
    )
    return Row(one.scan, one.relative, metric_set.name, scores, one.conditions, words, noticed)


def frames_to_score(conditions: Conditions) -> FrameChoice:
    """Return which frames the challenge scores of this protocol."""
    protocol = (conditions.protocol or "").casefold()
    return FrameChoice.ALL if protocol in _MAPPING else FrameChoice.FIRST_THREE


def _choice_findings(
    conditions: Conditions, metric_set: MetricSet, n_frames: int
) -> tuple[Finding, ...]:
    is_assumed = conditions.protocol is None and n_frames > N_FRAMES
    if metric_set.name != "cmrxrecon2025" or not is_assumed:
        return ()
    message = f"the first {N_FRAMES} of {n_frames} frames are scored: the protocol is unknown"
    remedy = "for a mapping protocol, state the protocol when reconstructing"
    return (Finding("frames-assumed", Severity.INFO, message, remedy),)


def _identity_findings(scores: Scores) -> tuple[Finding, ...]:
    if np.isfinite(scores.volume.psnr_db):
        return ()
    message = "a frame is identical to its reference: its PSNR is infinite"
    remedy = "make sure that the reference is not the reconstruction itself"
    return (Finding("identical-to-reference", Severity.WARNING, message, remedy),)
