"""The network as a method: from an encoded slice to its image, in the units of the data."""

from dataclasses import dataclass

import torch

from mrcli.findings import Finding, Severity
from mrcli.methods import EncodedSlice, sense
from mrcli.metrics.consistency import consistency_residual
from mrcli.nn.backbone import Backbone
from mrcli.nn.inputs import prepare
from mrcli.types import Image

INCONSISTENT = "network-inconsistent"
_MUCH_LARGER = 2.0  # than the residual of SENSE: the network invents what was not measured


@dataclass(frozen=True, eq=False)  # a network has no truth value to compare
class NetworkMethod:
    """A backbone with its adapters merged, on the device of the data.

    All frames of a slice pass together: frames know of each other, and groups of them would give
    another image.
    """

    backbone: Backbone
    dtype: torch.dtype = torch.float32  # of the convolutions

    def __call__(self, data: EncodedSlice) -> Image:
        """Return the image ``(frame, y, x)``."""
        with torch.inference_mode():
            given = prepare(data.encoding, data.kspace, data.calibrated, data.noise_sigma)
            image = self.backbone(given, self.dtype)
        return image * given.scale  # out here it is a plain tensor again


def check_against_sense(index: int, data: EncodedSlice, residual: float) -> tuple[Finding, ...]:
    """Find an image that explains the data worse than noise and twice worse than SENSE does.

    SENSE costs time: it is asked only where noise alone does not explain the residual.
    """
    noise = noise_residual(data)
    if residual <= noise:
        return ()
    of_sense = consistency_residual(sense(data), data.encoding, data.kspace)
    if residual <= _MUCH_LARGER * of_sense:
        return ()
    return (_inconsistent(index, residual, of_sense, noise),)


def noise_residual(data: EncodedSlice) -> float:
    """Return the consistency residual that an image without any noise would have."""
    n_frames, n_coils, _, n_x = data.kspace.shape
    mask = data.encoding.mask
    lines = mask.expand(n_frames, *mask.shape[-3:])
    n_samples = int(lines.sum()) * (n_x // mask.shape[-1]) * n_coils
    energy = sum(
        float((one * frame).abs().square().sum(dtype=torch.float64))
        for one, frame in zip(lines, data.kspace, strict=True)
    )
    return data.noise_sigma * (n_samples / energy) ** 0.5


def _inconsistent(index: int, residual: float, of_sense: float, noise: float) -> Finding:
    return Finding(
        INCONSISTENT,
        Severity.WARNING,
        f"slice {index}: the image of the network leaves {100 * residual:.3g} % of the data "
        f"unexplained, that of sense {100 * of_sense:.3g} %, noise {100 * noise:.3g} %",
        "take sense for this scan",
    )
