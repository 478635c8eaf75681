"""Builds the ISMRMRD XML header, which fastMRI files have too, in the order of its schema.

Required by the schema and known to no simulation are the position of the patient (head first,
supine) and, where the site states no field strength, the resonance frequency (0).
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from mrcli.errors import ShapeError
from mrcli.io.facts import fact_text
from mrcli.io.scan_facts import KSpaceShape, ScanFacts
from mrcli.site import Site

_NAMESPACE = "http://www.ismrm.org/ISMRMRD"
_PROTON_HZ_PER_T = 42.577478518e6  # CODATA 2018, gyromagnetic ratio over 2 pi
_MAX_SIZE = 65535  # sizes and counters are 16 bit in the headers of acquisitions


def mrd_xml(facts: ScanFacts, shape: KSpaceShape) -> bytes:
    """Return the header of k-space of `shape`, ASCII; facts that are unknown are left out.

    Raises:
        ShapeError: an axis is empty, or longer than the format can count.

    """
    require_countable(shape)
    root = ET.Element("ismrmrdHeader", {"xmlns": _NAMESPACE})
    _add_measurement(root, facts.protocol)
    _add_system(root, facts.site, n_coils=shape[2])
    _add_encoding(root, facts, shape)
    content: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return content


def require_countable(shape: KSpaceShape) -> None:
    """Raise `ShapeError` unless the counters of the format reach every index of all axes."""
    if not 1 <= min(shape) <= max(shape) <= _MAX_SIZE:
        raise ShapeError(
            f"k-space (frame, slice, coil, y, x) {shape}, an ISMRMRD header counts 1 to {_MAX_SIZE}"
        )


def _add(parent: ET.Element, name: str, value: object = None) -> ET.Element:
    element = ET.SubElement(parent, name)
    element.text = None if value is None else str(value)
    return element


def _add_known(parent: ET.Element, facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        text = fact_text(value) if isinstance(value, str) else value  # XML has no control letters
        if text is not None:
            _add(parent, name, text)


def _add_measurement(root: ET.Element, protocol: str) -> None:
    facts = {"patientPosition": "HFS", "protocolName": protocol}
    _add_known(_add(root, "measurementInformation"), facts)


def _add_system(root: ET.Element, site: Site, *, n_coils: int) -> None:
    facts = {
        "systemVendor": site.vendor,
        "systemModel": site.scanner,
        "systemFieldStrength_T": site.field_strength_t,
        "receiverChannels": n_coils,
        "institutionName": site.center,
    }
    _add_known(_add(root, "acquisitionSystemInformation"), facts)
    frequency_hz = round(_PROTON_HZ_PER_T * (site.field_strength_t or 0))
    _add(_add(root, "experimentalConditions"), "H1resonanceFrequency_Hz", frequency_hz)


def _add_encoding(root: ET.Element, facts: ScanFacts, shape: KSpaceShape) -> None:
    n_frames, n_slices, _, n_y, n_x = shape
    encoding = _add(root, "encoding")
    _add_space(encoding, "encodedSpace", (n_x, n_y, 1), facts.voxel_size_mm)
    _add_space(encoding, "reconSpace", (facts.n_x_image(n_x), n_y, 1), facts.voxel_size_mm)
    limits = _add(encoding, "encodingLimits")
    _add_limit(limits, "kspace_encoding_step_1", n_y, center=n_y // 2)
    _add_limit(limits, "slice", n_slices, center=0)
    _add_limit(limits, "phase", n_frames, center=0)
    _add(encoding, "trajectory", "cartesian")


def _add_space(
    encoding: ET.Element,
    name: str,
    matrix: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
) -> None:
    space = _add(encoding, name)
    sizes, extents = _add(space, "matrixSize"), _add(space, "fieldOfView_mm")
    for axis, n, size_mm in zip("xyz", matrix, voxel_mm, strict=True):
        _add(sizes, axis, n)
        _add(extents, axis, n * size_mm)


def _add_limit(limits: ET.Element, name: str, n: int, *, center: int) -> None:
    limit = _add(limits, name)
    for bound, value in (("minimum", 0), ("maximum", n - 1), ("center", center)):
        _add(limit, bound, value)
