"""The record that lies beside every image."""

from dataclasses import asdict

from mrcli.pipeline import Calibration
from mrcli.provenance import InputFacts, Provenance, peak_memory_bytes
from mrcli.scan import Scan
from mrcli.tasks.inspect import sampling_document
from mrcli.tasks.recon_result import ReconSettings
from mrcli.tasks.recon_scan import Done


def sidecar(
    scan: Scan, facts: InputFacts, done: Done, settings: ReconSettings
) -> dict[str, object]:
    """Return how an image came to be, as JSON holds it."""
    header, choice = scan.header, done.choice
    provenance = Provenance(
        command=settings.command,
        input=facts,
        method=choice.method,
        reason=choice.reason,
        device=settings.device,
        precision=choice.precision,
        seed=settings.seed,
        sampling=sampling_document(done.examination),
        noise=_noise(done.calibration),
        consistency_residual=done.consistency_residual,
        findings=done.findings,
        seconds=done.seconds,
        peak_memory_bytes=peak_memory_bytes(),
        geometry_source="unknown" if header.affine is None else f"header of {scan.format}",
        model=choice.model_document,
        adapter=choice.adapter_document,
    )
    own = {"site": asdict(header.site), "protocol": header.protocol, "format": scan.format}
    return provenance.document() | own


def _noise(calibration: Calibration) -> dict[str, object]:
    is_whitened = calibration.whitening is not None
    return {
        "sigma": calibration.noise_sigma,
        "source": "noise scan" if is_whitened else "edges of k-space",
        "is_whitened": is_whitened and not calibration.findings,
    }
