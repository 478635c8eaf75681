"""Whether the axes of a scan are what they should be: k-space, in order, origin in the middle.

Judged by where the energy is; thresholds are shares of it.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from mrcli.findings import Finding, Severity
from mrcli.survey import Evidence, middle_slice, present

_OFF_CENTER = 1 / 16  # of an axis; the echo of a real scan is a few samples off
_OFF_CENTER_SAMPLES = 4  # of small matrices
_STANDS_OUT = 50.0  # over the mean energy of a sample: real echoes have thousands, noise a few
_STRONGEST = 9  # samples around the origin: a spike stands alone
_IMAGE_LIKE = 2.0  # times as concentrated after a transform; k-space loses concentration by it
_IMAGE_SHARE = 0.5  # of the energy in a hundredth of the samples: k-space, and no image, has that
_LIKE_IMAGE_AXIS = 0.65  # gathering of energy in the middle of an axis: 0.85 and more in k-space
_LIKE_COIL_AXIS = 0.4  # neighbouring coils differ by a factor of three or four
_COILS_LIKE_A_MATRIX = 16  # fewer are too few to have a center


def check_axes(evidence: Evidence) -> Iterator[Finding]:
    """Look whether the data are k-space with the origin in the middle of y and of x."""
    if not evidence.measured:
        return
    if _looks_like_image(evidence):
        remedy = "transform the images to k-space, or name the variable that holds k-space"
        yield _warning("image-space-data", "the data look like images, not like k-space", remedy)
    elif reason := _wrong_axes(evidence):
        remedy = "name the order of the axes (--axes); the trailing ones must be coil, y, x"
        yield _warning("wrong-axis-order", reason, remedy)
    elif is_origin_off_center(evidence):
        energy = _energy_map(evidence)
        (n_y, n_x), (y, x) = energy.shape, _strongest(energy, 1)[0]
        yield _warning(
            "origin-off-center",
            f"the energy peaks at y {y}, x {x}, the origin of {n_y} x {n_x} is y {n_y // 2}, "
            f"x {n_x // 2}",
            "shift k-space so that its origin is in the middle, as an FFT shift does",
        )


def is_origin_off_center(evidence: Evidence) -> bool:
    """Say whether the strongest samples stand out, together, far from the origin."""
    if not evidence.measured:
        return False
    energy = _energy_map(evidence)
    places = _strongest(energy, _STRONGEST)
    n_far = sum(not _is_near_origin(place, energy) for place in places)
    stands_out = float(energy.max()) > _STANDS_OUT * float(energy[energy > 0].mean())
    return stands_out and not _is_near_origin(places[0], energy) and 2 * n_far > len(places)


def _energy_map(evidence: Evidence) -> Float[Tensor, "y x"]:
    """Return the energy per sample, each slice with its peak in equal measure."""
    return torch.stack([present(facts.energy) for facts in evidence.measured]).sum(0)


def _looks_like_image(evidence: Evidence) -> bool:
    # an image is judged by the slice that is most like k-space
    facts = max(evidence.measured, key=lambda facts: facts.concentration)
    transformed = facts.image_concentration
    is_sharper = transformed > _IMAGE_SHARE and transformed > _IMAGE_LIKE * facts.concentration
    return is_sharper and not _peaks_at_origin(_energy_map(evidence))


def _peaks_at_origin(energy: Float[Tensor, "y x"]) -> bool:
    """Say whether the largest sample is the origin, give or take one: so it is of point objects."""
    place = _strongest(energy, 1)[0]
    return all(abs(at - n // 2) <= 1 for at, n in zip(place, energy.shape, strict=True))


def _wrong_axes(evidence: Evidence) -> str | None:
    energy = _energy_map(evidence)
    n_y, n_x = evidence.header.matrix
    lines = middle_slice(evidence.mask).flatten(0, 1)
    if lines.shape[-1] > 1 and bool(lines.any(-1).all()):
        readout = lines.any(1).any(0)
        if _has_gaps(readout) and bool((lines == readout).all()):
            return "whole columns are missing along the readout: y and x seem to be swapped"
    coils = sum(present(facts.coil_energy) for facts in evidence.measured)
    least = min(gathering(energy.sum(1)), gathering(energy.sum(0)))
    in_coils = gathering(torch.as_tensor(coils))
    is_like_a_matrix = evidence.header.n_coils >= _COILS_LIKE_A_MATRIX
    if is_like_a_matrix and in_coils > _LIKE_IMAGE_AXIS and least < _LIKE_COIL_AXIS:
        return (
            f"the energy gathers in the middle of the {evidence.header.n_coils} coils, not of the "
            f"matrix {n_y} x {n_x}"
        )
    return None


def _has_gaps(sampled: Tensor) -> bool:
    return int((sampled[1:] & ~sampled[:-1]).sum()) + int(sampled[0]) > 1


def gathering(energy: Float[Tensor, " n"]) -> float:
    """Return how much of the energy is in the central quarter of an axis: even 0, all of it 1."""
    n = len(energy)
    if n < 2:  # an axis of one sample has no middle
        return 0.0
    width = max(1, n // 8)
    middle = energy[max(0, n // 2 - width) : n // 2 + width + 1]
    even = len(middle) / n
    return (float(middle.sum() / energy.sum()) - even) / (1 - even) if even < 1 else 0.0


def _strongest(energy: Float[Tensor, "y x"], n: int) -> list[tuple[int, int]]:
    flat = energy.flatten()
    indices = flat.topk(min(n, len(flat))).indices.tolist()
    return [divmod(index, energy.shape[1]) for index in indices]


def _is_near_origin(place: tuple[int, int], energy: Float[Tensor, "y x"]) -> bool:
    return all(
        abs(at - n // 2) <= max(_OFF_CENTER_SAMPLES, n * _OFF_CENTER)
        for at, n in zip(place, energy.shape, strict=True)
    )


def _warning(code: str, message: str, remedy: str) -> Finding:
    return Finding(code, Severity.WARNING, message, remedy)
