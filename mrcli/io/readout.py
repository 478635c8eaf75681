"""Removes readout oversampling where a header says that there is some."""

from mrcli.findings import Finding, Severity
from mrcli.physics.encoding import crop_readout
from mrcli.types import CroppedKSpace, KSpace


def crop_to(kspace: KSpace, n_x: int) -> CroppedKSpace:
    """Keep the central `n_x` pixels of the field of view; the stored bits if it has no more."""
    return kspace if kspace.shape[-1] == n_x else crop_readout(kspace, n_x)


def oversampling_findings(n_stored: int, n_kept: int) -> tuple[Finding, ...]:
    """Say that the field of view along the readout was cropped, where it was."""
    if n_stored == n_kept:
        return ()
    return (
        Finding(
            "readout-oversampling-removed",
            Severity.INFO,
            f"the encoded field of view along x is larger than that of the image: {n_stored} "
            f"readout points became {n_kept}",
            "nothing, this is how the scan was planned",
        ),
    )
