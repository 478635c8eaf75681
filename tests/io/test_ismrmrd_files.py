"""ISMRMRD files of ours: the noise scan, then acquired lines only, with headers of a scanner."""

import sys
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from containers import volume
from mrcli.errors import DataError, InputError, ShapeError
from mrcli.io.ismrmrd_files import write_ismrmrd_h5
from mrcli.io.mrd_xml import mrd_xml
from mrcli.io.registry import open_scan
from mrcli.io.scan_facts import ScanFacts
from mrcli.physics.encoding import crop_readout
from mrcli.site import UNKNOWN_SITE, Site
from mrcli.tasks.inspect import inspect_paths

SITE = Site("North Hospital", "Prisma", "Siemens", 2.89)
FACTS = ScanFacts(SITE, "cine_sax", voxel_size_mm=(1.6, 2.1, 7.9), dwell_us=4.5)
SHAPE = (3, 2, 4, 6, 8)
HOSTILE = "</protocolName><patientName>A&B \x00\n'\"\ud800 ö ]]>"


def noise_of(n_coils, n_samples=700, seed=1):
    return volume((1, 1, n_coils, 1, n_samples), seed)[0, 0, :, 0]


def every_other_line(n_frames, n_y):
    return (np.add.outer(np.arange(n_frames), np.arange(n_y)) % 2 == 0)[:, None, :, None]


@pytest.fixture
def write(tmp_path):
    def write_to(values, mask=None, noise=None, facts=FACTS):
        slices = (values[:, index] for index in range(values.shape[1]))
        mask = np.ones((1, 1, values.shape[-2], 1), bool) if mask is None else mask
        write_ismrmrd_h5(tmp_path / "a.mrd", facts, slices, mask, noise)
        return tmp_path / "a.mrd"

    return write_to


def readouts_of(path):
    with ismrmrd.Dataset(path, create_if_needed=False) as file:
        n = file.number_of_acquisitions()
        return [file.read_acquisition(i) for i in range(n)]


@pytest.mark.parametrize("shape", [SHAPE, (2, 3, 1, 5, 7), (1, 1, 2, 6, 5)])
@pytest.mark.parametrize("n_mask_frames", [1, None])
def test_lines_of_the_mask_come_back_and_the_others_are_zero(shape, n_mask_frames, write):
    n_frames, n_slices, _, n_y, _ = shape
    values, mask = volume(shape), every_other_line(n_mask_frames or n_frames, n_y)
    scan = open_scan(write(values, mask))
    whole = np.broadcast_to(mask, (n_frames, 1, n_y, 1))
    for index in range(n_slices):
        np.testing.assert_array_equal(scan.slice_mask(index), whole)
        np.testing.assert_array_equal(
            scan.slice_kspace(index), np.where(whole, values[:, index], 0)
        )


def test_only_acquired_lines_are_stored(write):
    mask = every_other_line(3, 6)
    assert len(readouts_of(write(volume(SHAPE), mask))) == 2 * mask.sum()


def test_a_mask_that_repeats_along_the_readout_is_one_of_lines(write):
    mask = np.repeat(every_other_line(3, 6), 8, axis=-1)
    assert open_scan(write(volume(SHAPE), mask)).mask.shape == (3, 2, 1, 6, 1)


@pytest.mark.parametrize("n_samples", [1, 511, 512, 700, 1025])
def test_the_noise_scan_comes_back_bit_for_bit(n_samples, write):
    noise = noise_of(4, n_samples)
    scan = open_scan(write(volume(SHAPE), noise=noise))
    np.testing.assert_array_equal(scan.noise, noise)
    assert "noise-rescaled" not in [finding.code for finding in scan.findings]


def test_without_noise_scan_a_file_has_none(write):
    assert open_scan(write(volume(SHAPE))).noise is None


def test_readouts_have_the_headers_of_the_package(write):
    values, mask = volume(SHAPE), every_other_line(3, 6)
    noise = noise_of(4)
    first, second, *lines = readouts_of(write(values, mask, noise))
    for readout in (first, second):
        assert readout.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    np.testing.assert_array_equal(np.hstack([first.data, second.data]), noise)
    for readout in lines:
        frame, index = readout.idx.phase, readout.idx.slice
        y = readout.idx.kspace_encode_step_1
        assert not readout.flags
        assert mask[frame, 0, y, 0]
        np.testing.assert_array_equal(readout.data, values[frame, index, :, y])
        assert (readout.center_sample, readout.active_channels) == (4, 4)
        assert readout.available_channels == 4
        assert readout.sample_time_us == 4.5
        assert list(readout.position) == pytest.approx([0, 0, 7.9 * index])
        directions = (readout.read_dir, readout.phase_dir, readout.slice_dir)
        np.testing.assert_array_equal(directions, np.eye(3))


def test_the_xml_header_is_one_of_the_schema(write):
    path = write(volume(SHAPE), facts=replace(FACTS, readout_oversampling=2))
    with ismrmrd.Dataset(path, create_if_needed=False) as file:
        header = ismrmrd.xsd.CreateFromDocument(file.read_xml_header())
    encoding, system = header.encoding[0], header.acquisitionSystemInformation
    encoded, recon = encoding.encodedSpace, encoding.reconSpace
    assert (encoded.matrixSize.x, encoded.matrixSize.y, encoded.matrixSize.z) == (8, 6, 1)
    assert (recon.matrixSize.x, recon.matrixSize.y, recon.matrixSize.z) == (4, 6, 1)
    extent, smaller = encoded.fieldOfView_mm, recon.fieldOfView_mm
    assert (extent.x, extent.y, extent.z) == pytest.approx((12.8, 12.6, 7.9))
    assert (smaller.x, smaller.y, smaller.z) == pytest.approx((6.4, 12.6, 7.9))
    limits = encoding.encodingLimits
    steps, slices, phases = limits.kspace_encoding_step_1, limits.slice, limits.phase
    assert (steps.minimum, steps.maximum, steps.center) == (0, 5, 3)
    assert (slices.maximum, phases.maximum) == (1, 2)
    assert (system.systemVendor, system.systemModel) == ("Siemens", "Prisma")
    assert (system.institutionName, system.systemFieldStrength_T) == ("North Hospital", 2.89)
    assert system.receiverChannels == 4
    assert encoding.trajectory.value == "cartesian"
    assert header.measurementInformation.protocolName == "cine_sax"
    assert header.experimentalConditions.H1resonanceFrequency_Hz == round(2.89 * 42.577478518e6)


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("n_x", [8, 9, 11])
@pytest.mark.parametrize("scale", [1e-3, 1e8])
def test_oversampling_is_removed_on_reading(factor, n_x, scale, write):
    values = volume((2, 2, 3, 5, n_x)) * np.float32(scale)
    facts = replace(FACTS, readout_oversampling=factor)
    scan = open_scan(write(values, facts=facts))
    n_kept = round(n_x / factor)
    assert scan.header.matrix == (5, n_kept)
    assert scan.header.voxel_size_mm == pytest.approx(FACTS.voxel_size_mm)
    for index in range(2):
        expected = torch.from_numpy(np.ascontiguousarray(values[:, index]))
        expected = expected if factor == 1 else crop_readout(expected, n_kept)
        torch.testing.assert_close(scan.slice_kspace(index), expected, rtol=1e-6, atol=0)


def test_the_facts_reach_inspect(write):
    noise = noise_of(4)
    path = write(volume(SHAPE), noise=noise)
    inspected = inspect_paths([path]).scans[0]
    header = inspected.header
    assert (header.site, header.protocol) == (SITE, "cine_sax")
    assert header.voxel_size_mm == pytest.approx(FACTS.voxel_size_mm)
    assert inspected.examination.noise_sigma > 0
    np.testing.assert_allclose(np.abs(header.affine[:3, :3]), np.diag(FACTS.voxel_size_mm), 1e-6)
    codes = {finding.code for finding in inspected.findings}
    assert not codes & {"geometry-unknown", "slice-distance-unknown", "readout-center-assumed"}


def test_unknown_facts_stay_unknown_and_the_header_valid(write):
    path = write(volume(SHAPE), facts=ScanFacts(UNKNOWN_SITE, "", (1.0, 1.0, 5.0)))
    header = open_scan(path).header
    assert (header.site, header.protocol) == (UNKNOWN_SITE, None)
    with h5py.File(path) as file:
        ismrmrd.xsd.CreateFromDocument(file["dataset/xml"][0])


def test_a_hostile_name_stays_a_name(write):
    site = Site(HOSTILE, HOSTILE, HOSTILE, 1.5)
    header = open_scan(write(volume(SHAPE), facts=replace(FACTS, site=site, protocol=HOSTILE)))
    shown = "</protocolName><patientName>A&B '\" ö ]]>"
    assert header.header.protocol == header.header.site.center == shown


def test_the_header_has_no_place_for_a_person():
    root = ET.fromstring(mrd_xml(FACTS, SHAPE))
    below = {child.tag.rpartition("}")[2] for child in root}
    assert below == {
        "measurementInformation",
        "acquisitionSystemInformation",
        "experimentalConditions",
        "encoding",
    }
    names = {child.tag.rpartition("}")[2] for child in root[0]}
    assert names == {"patientPosition", "protocolName"}
    assert root[0][0].text == "HFS"


def test_a_file_holds_readouts_and_header_alone(write):
    with h5py.File(write(volume(SHAPE))) as file:
        assert list(file) == ["dataset"]
        assert sorted(file["dataset"]) == ["data", "xml"]
        assert not file.attrs
        stored = file["dataset/data"].dtype
        assert stored["head"] == ismrmrd.hdf5.acquisition_header_dtype
        assert h5py.check_vlen_dtype(stored["data"]) == np.float32


@pytest.mark.parametrize("axis", range(5))
@pytest.mark.parametrize("n", [0, 65536])
def test_a_header_counts_16_bit(axis, n):
    shape = tuple(n if i == axis else 2 for i in range(5))
    with pytest.raises(ShapeError, match="counts 1 to 65535"):
        mrd_xml(FACTS, shape)


def test_a_mask_that_varies_along_the_readout_is_refused(write, tmp_path):
    mask = np.ones((3, 1, 6, 8), bool)
    mask[1, 0, 2, 7] = False
    with pytest.raises(DataError, match=r"a\.mrd: the mask varies along the readout"):
        write(volume(SHAPE), mask)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_without_a_line_is_refused(write, tmp_path):
    mask = every_other_line(3, 6)
    mask[1] = False
    with pytest.raises(DataError, match=r"a\.mrd: 1 of 3 frames of the mask have no line"):
        write(volume(SHAPE), mask)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(2, 6), (3, 5), (4, 6)])
def test_a_mask_of_other_frames_or_lines_is_refused(shape, write):
    with pytest.raises(ShapeError, match=r"a\.mrd: the mask has .* k-space has \(3, 6\)"):
        write(volume(SHAPE), np.ones((shape[0], 1, shape[1], 1), bool))


@pytest.mark.parametrize("shape", [(3, 9), (5, 9), (4, 0)])
def test_noise_of_other_coils_or_none_is_refused(shape, write):
    with pytest.raises(ShapeError, match=r"a\.mrd: noise .* k-space has 4 coils"):
        write(volume(SHAPE), noise=np.zeros(shape, np.complex64))


def test_a_slice_of_another_shape_is_refused(tmp_path):
    shapes = ((3, 4, 6, 8), (3, 4, 6, 7))
    slices = (np.ones(shape, np.complex64) for shape in shapes)
    mask = np.ones((1, 1, 6, 1), bool)
    with pytest.raises(ShapeError, match=r"a\.mrd: slice 1 .* the first one has \(3, 4, 6, 8\)"):
        write_ismrmrd_h5(tmp_path / "a.mrd", FACTS, slices, mask, None)
    assert list(tmp_path.iterdir()) == []


def test_no_slice_at_all_is_refused(tmp_path):
    with pytest.raises(ShapeError, match="no slice"):
        write_ismrmrd_h5(tmp_path / "a.mrd", FACTS, (), np.ones((1, 1, 6, 1), bool), None)


def test_a_failure_of_the_slices_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.mrd").write_bytes(b"old")

    def slices():
        yield volume(SHAPE)[:, 0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_ismrmrd_h5(tmp_path / "a.mrd", FACTS, slices(), np.ones((1, 1, 6, 1), bool), None)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_missing_package_is_named_with_the_command_that_installs_it(write, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ismrmrd", None)
    with pytest.raises(InputError, match="'ismrmrd', which is not installed") as caught:
        write(volume(SHAPE))
    assert caught.value.hint == "pip install 'mrcli-recon[ismrmrd]'"
    assert list(tmp_path.iterdir()) == []


def test_warnings_of_the_package_stay_in_it_and_those_of_the_slices_do_not(tmp_path):
    def slices():
        warnings.warn("ours", UserWarning, stacklevel=1)
        yield volume(SHAPE)[:, 0]

    with pytest.warns(UserWarning, match="ours") as caught:
        write_ismrmrd_h5(tmp_path / "a.mrd", FACTS, slices(), np.ones((1, 1, 6, 1), bool), None)
    assert len(caught) == 1
