"""Parses the ISMRMRD XML header, as far as reconstruction and geometry need it.

Read are matrix, field of view, encoding limits, trajectory, vendor, model, institution, field
strength and protocol name: an allow-list, so that nothing about a person can leave the file.
Tags are compared without their name space and text without case: writers differ in both.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from mrcli.errors import DataError, MissingField
from mrcli.io.facts import fact_text, positive
from mrcli.site import Site

MAX_XML_BYTES = 2**22
_MAX_MATRIX = 65535  # sizes are 16 bit in the headers of acquisitions
_DECLARATION = re.compile(r"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)

_TRAJECTORIES = frozenset({"radial", "spiral", "epi", "goldenangle", "other"})


@dataclass(frozen=True)
class Space:
    """A grid: points and extent along x, y, z; the extent is None where the header has 0."""

    matrix: tuple[int, int, int]
    fov_mm: tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Encoding:
    """One encoding of the header.

    `y_center` is the counter of the line at the origin, `y_limits` those of the first and the last
    line; None where the header does not state them.
    """

    encoded: Space
    recon: Space | None
    trajectory: str
    y_center: int | None
    y_limits: tuple[int, int] | None


@dataclass(frozen=True)
class MrdHeader:
    """The facts of the header, nothing of which describes a person."""

    encodings: tuple[Encoding, ...]
    site: Site
    protocol: str | None


def parse_header(xml: str, label: str) -> MrdHeader:
    """Parse the header; `label` names file and field.

    Raises:
        DataError: no XML, document types or entities, or sizes that cannot be.
        MissingField: no encoding, or an encoding without matrix or trajectory.

    """
    if _DECLARATION.search(xml):
        raise DataError(f"{label} declares a document type, which is refused")
    try:
        root = ET.fromstring(xml.strip("\x00 \r\n\t\ufeff"))
    except (ET.ParseError, ValueError) as cause:
        raise DataError(f"{label} is no XML: {fact_text(str(cause))}") from cause
    encodings = tuple(_encoding(element, label) for element in _children(root, "encoding"))
    if not encodings:
        raise MissingField(f"{label} has no encoding", hint="the header must state the matrix")
    return MrdHeader(encodings, _site(root), _text(root, "measurementInformation/protocolName"))


def _encoding(element: ET.Element, label: str) -> Encoding:
    encoded = _space(element, "encodedSpace", label)
    if encoded is None:
        raise MissingField(f"{label} has no encodedSpace/matrixSize")
    trajectory = _text(element, "trajectory")
    if trajectory is None:
        raise MissingField(f"{label} has no trajectory")
    first, last = _limit(element, "minimum", label), _limit(element, "maximum", label)
    return Encoding(
        encoded,
        _space(element, "reconSpace", label),
        trajectory.lower(),
        _limit(element, "center", label),
        None if last is None else (first or 0, last),
    )


def _limit(element: ET.Element, name: str, label: str) -> int | None:
    text = _text(element, f"encodingLimits/kspace_encoding_step_1/{name}")
    return None if text is None else _whole(text, f"{label}: {name} of step 1")


def _space(element: ET.Element, name: str, label: str) -> Space | None:
    matrix = _find(element, f"{name}/matrixSize")
    if matrix is None:
        return None
    sizes = [_whole(_text(matrix, axis) or "1", f"{label}: {name} {axis}") for axis in "xyz"]
    if min(sizes) < 1:
        raise DataError(f"{label}: {name} has matrix {sizes}, sizes must be above zero")
    fov = [positive(_text(element, f"{name}/fieldOfView_mm/{axis}")) for axis in "xyz"]
    return Space((sizes[0], sizes[1], sizes[2]), (fov[0], fov[1], fov[2]))


def _whole(text: str, label: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= _MAX_MATRIX):
        raise DataError(f"{label} is no whole number up to {_MAX_MATRIX}")
    return int(text)


def _site(root: ET.Element) -> Site:
    system = "acquisitionSystemInformation"
    return Site(
        center=_text(root, f"{system}/institutionName"),
        scanner=_text(root, f"{system}/systemModel"),
        vendor=_text(root, f"{system}/systemVendor"),
        field_strength_t=positive(_text(root, f"{system}/systemFieldStrength_T")),
    )


def _children(element: ET.Element, name: str) -> list[ET.Element]:
    return [child for child in element if _local(child).lower() == name.lower()]


def _local(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _find(element: ET.Element, path: str) -> ET.Element | None:
    for step in path.split("/"):
        found = _children(element, step)
        if not found:
            return None
        element = found[0]
    return element


def _text(element: ET.Element, path: str) -> str | None:
    found = _find(element, path)
    return None if found is None else fact_text(found.text)


def _known(trajectory: str) -> str:
    """Name a trajectory of the format; any other text of the header stays in the header."""
    return f"trajectory {trajectory}" if trajectory in _TRAJECTORIES else "another trajectory"


def require_two_dimensional(encoding: Encoding, label: str) -> None:
    """Raise `DataError` unless the encoding is Cartesian with a single partition."""
    if encoding.trajectory != "cartesian":
        raise DataError(
            f"{label} states {_known(encoding.trajectory)}, only cartesian is supported",
            hint="grid the data first, or use a program for non-Cartesian scans",
        )
    if encoding.encoded.matrix[2] > 1:
        raise DataError(
            f"{label} states {encoding.encoded.matrix[2]} partitions, three-dimensional encoding "
            "is not supported",
            hint="transform along the partitions first and store them as slices",
        )


def n_readout_kept(encoding: Encoding, n_stored: int) -> int:
    """Return how many of `n_stored` readout points the field of view of the image needs.

    Fewer than stored where the encoded field of view is larger: readout oversampling.
    """
    encoded_mm = encoding.encoded.fov_mm[0]
    recon_mm = encoding.recon.fov_mm[0] if encoding.recon else None
    if encoded_mm is None or recon_mm is None or recon_mm >= encoded_mm:
        return n_stored
    return max(1, round(n_stored * recon_mm / encoded_mm))


def line_extent(encoding: Encoding, n_y: int) -> tuple[int, int] | None:
    """Return ``(start, stop)`` of the lines between the limits, the center at ``n_y // 2``.

    None where center or limits are not stated, or are those of a single line: unset.
    """
    if encoding.y_center is None or encoding.y_limits is None:
        return None
    first, last = encoding.y_limits
    shift = n_y // 2 - encoding.y_center
    return None if first == last else (first + shift, last + shift + 1)


def voxel_size_mm(
    encoding: Encoding, n_y: int, n_x_stored: int
) -> tuple[float, float, float] | None:
    """Return ``(x, y, slice)``: a field of view over its points; None if one is not stated."""
    x_mm, y_mm, z_mm = encoding.encoded.fov_mm
    if encoding.recon is not None and encoding.recon.fov_mm[2] is not None:
        z_mm = encoding.recon.fov_mm[2]
    if x_mm is None or y_mm is None or z_mm is None:
        return None
    return x_mm / n_x_stored, y_mm / n_y, z_mm
