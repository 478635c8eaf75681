"""Reconstruct one scan in memory: examine, calibrate, solve, check, and fall back if need be."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Complex64

from mrcli.checks import Examination, examine
from mrcli.errors import DataError, NotFinite
from mrcli.findings import Finding, Severity
from mrcli.image import ReconVolume
from mrcli.memory import return_freed_memory
from mrcli.network_method import INCONSISTENT, check_against_sense
from mrcli.pipeline import Calibration, Check, ReconSlice, accept_all, calibrate, reconstruct
from mrcli.scan import Scan
from mrcli.tasks.model_limits import why_not_sampling
from mrcli.tasks.recon_choice import Choice

OnSlice = Callable[[int, int], None]
ComplexVolume = Complex64[np.ndarray, "frame slice y x"]


class Doubtful(DataError):  # noqa: N818 - named after the fact
    """The image of the network does not explain the data, and nobody asked for the network."""


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Done:
    """One scan: its image, the method that it came from in the end, and what was found."""

    image: ComplexVolume
    scan: Scan
    examination: Examination
    calibration: Calibration
    choice: Choice
    slices: tuple[ReconSlice, ...]  # without their images
    seconds: float

    @property
    def volume(self) -> ReconVolume:
        """Return the image with its place in space."""
        header = self.scan.header
        return ReconVolume(self.image, header.voxel_size_mm, header.affine)

    @property
    def consistency_residual(self) -> float | None:
        """Return the largest residual of a slice, None where no slice has one."""
        found = (one.consistency_residual for one in self.slices)
        return max((one for one in found if one is not None), default=None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return all that was noticed, in the order of the work."""
        of_slices = (finding for one in self.slices for finding in one.findings)
        return (
            *self.examination.findings,
            *self.calibration.findings,
            *self.choice.findings,
            *of_slices,
        )


def reconstruct_scan(scan: Scan, choice: Choice, device: str, on_slice: OnSlice) -> Done:
    """Reconstruct a scan as chosen; the choice that is returned is the one that was carried out.

    Raises `DataError` where the scan cannot be used.
    """
    start = time.perf_counter()
    examination = examine(scan)
    require_usable(examination.findings)
    return_freed_memory()
    calibration = calibrate(scan, examination.noise_sigma)
    work = _Work(scan, examination, calibration, device, on_slice)
    choice, image, slices = work.carry_out(_with_sampling(choice, examination))
    seconds = time.perf_counter() - start
    return Done(image, scan, examination, calibration, choice, slices, seconds)


def require_usable(findings: Sequence[Finding]) -> None:
    """Raise `DataError` for the first finding that forbids a reconstruction."""
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise DataError(finding.message, hint=finding.remedy)


def _with_sampling(choice: Choice, examination: Examination) -> Choice:
    """Return the choice that the sampling leaves, which the header does not tell."""
    if choice.network is None or not choice.may_fall_back:
        return choice
    why_not = why_not_sampling(choice.network.model, examination.sampling)
    return choice if why_not is None else choice.instead(why_not)


@dataclass(frozen=True, eq=False)
class _Work:
    """A calibrated scan, and who wants to know how far it is."""

    scan: Scan
    examination: Examination
    calibration: Calibration
    device: str
    on_slice: OnSlice

    def carry_out(self, choice: Choice) -> tuple[Choice, ComplexVolume, tuple[ReconSlice, ...]]:
        """Return the choice, the image and the slices: of another choice where this one fails."""
        if not choice.may_fall_back:
            return choice, *self._solve(choice)
        try:
            return choice, *self._solve(choice)
        except (Doubtful, NotFinite) as doubt:
            instead = choice.instead(doubt.message, is_failure=True)
        return instead, *self._solve(instead)

    def _solve(self, choice: Choice) -> tuple[ComplexVolume, tuple[ReconSlice, ...]]:
        header = self.scan.header
        image = np.empty((header.n_frames, header.n_slices, *header.matrix), np.complex64)
        slices: list[ReconSlice] = []
        for one in self._slices(choice):
            if choice.may_fall_back:
                _require_trust(one.findings)
            image[:, one.index] = one.image.cpu().numpy()
            slices.append(replace(one, image=one.image[:0]))  # the facts, not the pixels twice
            return_freed_memory()
            self.on_slice(len(slices), header.n_slices)
        return image, tuple(slices)

    def _slices(self, choice: Choice) -> Iterator[ReconSlice]:
        check: Check = accept_all if choice.network is None else check_against_sense
        mask = self.examination.mask
        return reconstruct(
            self.scan, mask, self.calibration, choice.solve, device=self.device, check=check
        )


def _require_trust(findings: Sequence[Finding]) -> None:
    for finding in findings:
        if finding.code == INCONSISTENT:
            raise Doubtful(finding.message)
