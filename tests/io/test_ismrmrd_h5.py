"""ISMRMRD: every readout goes where its counters say, and the rest is left out with a reason."""

from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from containers import DIRECTIONS, Line, lines_of, mrd_xml, volume, write_lines, write_mrd
from mrcli.errors import DataError, MissingField, MrcliError, ShapeError
from mrcli.io.registry import open_scan
from mrcli.physics.encoding import fftc
from mrcli.scan import MaskSource
from mrcli.site import Site
from realdata import KSPACE as DATA

N_Y, N_X, COILS = 6, 8, 2
KSPACE = volume((1, 1, COILS, N_Y, N_X))


@pytest.fixture
def scan_of(tmp_path):
    def write_and_open(lines, xml=None):
        path = tmp_path / "scan.mrd"
        path.unlink(missing_ok=True)
        write_lines(path, xml or mrd_xml(N_Y, N_X), lines)
        return open_scan(path)

    return write_and_open


def codes(scan):
    return [finding.code for finding in scan.findings]


def line(step, **facts):
    return Line(KSPACE[0, 0, :, step], step, **facts)


ALL = [line(y) for y in range(N_Y)]


def test_unacquired_lines_are_zero_and_masked(scan_of):
    scan = scan_of([line(y) for y in (0, 3, 4)])
    kspace = scan.slice_kspace(0)
    assert scan.mask_source is MaskSource.FILE
    assert scan.mask.flatten().tolist() == [True, False, False, True, True, False]
    np.testing.assert_array_equal(kspace[0, :, [0, 3, 4]], KSPACE[0, 0][:, [0, 3, 4]])
    assert not kspace[0, :, [1, 2, 5]].any()


def test_frames_are_the_product_of_the_counters_that_vary(scan_of):
    values = volume((6, 1, COILS, N_Y, N_X))
    lines = [
        Line(values[3 * contrast + phase, 0, :, y], y, {"contrast": contrast, "phase": 2 * phase})
        for phase in range(3)
        for contrast in range(2)
        for y in range(N_Y)
    ]
    scan = scan_of(lines)
    np.testing.assert_array_equal(scan.slice_kspace(0), values[:, 0])
    finding = scan.findings[0]
    assert finding.code == "frame-order"
    assert "6 frames are 2 contrast x 3 phase, the last one fastest" in finding.message


@pytest.mark.parametrize("counter", ["contrast", "phase", "repetition", "set"])
def test_each_frame_counter_makes_frames(counter, scan_of):
    values = volume((2, 1, COILS, N_Y, N_X))
    scan = scan_of([Line(values[f, 0, :, y], y, {counter: f}) for f in (1, 0) for y in range(N_Y)])
    np.testing.assert_array_equal(scan.slice_kspace(0), values[:, 0])


def test_noise_readouts_are_the_noise_and_no_part_of_the_image(scan_of):
    noise = volume((1, 1, 1, COILS, 20), seed=3)[0, 0, 0]
    flag = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
    lines = [Line(noise[:, :10], flags=flag), *ALL, Line(noise[:, 10:], flags=flag)]
    scan = scan_of(lines)
    np.testing.assert_array_equal(scan.noise, noise)
    np.testing.assert_array_equal(scan.slice_kspace(0)[0], KSPACE[0, 0])


def test_noise_of_another_bandwidth_is_rescaled_with_a_finding(scan_of):
    noise = volume((1, 1, 1, COILS, 20), seed=3)[0, 0, 0]
    flags = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
    slow = Line(noise, flags=flags, head={"sample_time_us": 8.0})
    scan = scan_of([slow, *[replace(own, head={"sample_time_us": 2.0}) for own in ALL]])
    np.testing.assert_allclose(scan.noise, 2 * noise, rtol=1e-6)
    assert "noise-rescaled" in codes(scan)


@pytest.mark.parametrize(("n_averaged", "scale"), [(N_Y, 3**-0.5), (2, (14 / 18) ** 0.5)])
def test_noise_is_that_of_the_mean_of_the_averages(n_averaged, scale, scan_of):
    noise = volume((1, 1, 1, COILS, 20), seed=3)[0, 0, 0]
    others = [
        replace(own, counters={"average": n}, head={"sample_time_us": 2.0})
        for own in ALL[:n_averaged]
        for n in (1, 2)
    ]
    flags = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
    for noise_us, dwell in ((2.0, 1), (8.0, 2)):
        first = Line(noise, flags=flags, head={"sample_time_us": noise_us})
        scan = scan_of(
            [first, *[replace(own, head={"sample_time_us": 2.0}) for own in ALL], *others]
        )
        np.testing.assert_allclose(scan.noise, dwell * scale * noise, rtol=1e-6)
        assert codes(scan).count("noise-rescaled") == (1 if dwell == 1 else 2)
    number = "3" if n_averaged == N_Y else "1 to 3"
    assert f"the mean of {number} averages per line" in scan.findings[-1].message


@pytest.mark.parametrize("counter", ["slice", "phase"])
def test_lines_of_other_slices_and_frames_are_no_averages(counter, scan_of):
    noise = volume((1, 1, 1, COILS, 20), seed=3)[0, 0, 0]
    others = [replace(own, counters={counter: 1}) for own in ALL]
    scan = scan_of([Line(noise, flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)), *ALL, *others])
    np.testing.assert_array_equal(scan.noise, noise)
    assert "noise-rescaled" not in codes(scan)


def test_sigma_of_averaged_readouts_is_that_of_the_rescaled_noise(scan_of):
    n_x, n_averages = 512, 4
    draws = np.random.default_rng(0).standard_normal((2, n_averages + 1, N_Y, COILS, n_x))
    readouts = (draws[0] + 1j * draws[1]).astype(np.complex64)
    noise = Line(np.concatenate(readouts[-1], axis=1), flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))
    lines = [Line(readouts[n, y], y, {"average": n}) for n in range(n_averages) for y in range(N_Y)]
    scan = scan_of([noise, *lines], mrd_xml(N_Y, n_x))
    measured = scan.slice_kspace(0).abs().square().mean().sqrt().item()
    stated = scan.noise.abs().square().mean().sqrt().item()
    assert stated == pytest.approx(measured, rel=0.03)  # 6144 samples: 1.3 % in the ratio


def test_noise_of_other_coils_is_refused(scan_of):
    noise = Line(np.ones((3, 4), np.complex64), flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))
    with pytest.raises(DataError, match=r"noise scan of \[3\] coils, the image has 2"):
        scan_of([noise, *ALL])


@pytest.mark.parametrize(
    "flag",
    [
        "ACQ_IS_NAVIGATION_DATA",
        "ACQ_IS_PHASECORR_DATA",
        "ACQ_IS_HPFEEDBACK_DATA",
        "ACQ_IS_DUMMYSCAN_DATA",
        "ACQ_IS_RTFEEDBACK_DATA",
        "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA",
        "ACQ_IS_PHASE_STABILIZATION_REFERENCE",
        "ACQ_IS_PHASE_STABILIZATION",
    ],
)
def test_readouts_for_other_purposes_are_left_out(flag, scan_of):
    other = Line(np.full((COILS, 3), 9e9, np.complex64), 2, flags=(getattr(ismrmrd, flag),))
    scan = scan_of([other, *ALL])
    np.testing.assert_array_equal(scan.slice_kspace(0)[0], KSPACE[0, 0])


@pytest.mark.parametrize(
    "flag",
    ["ACQ_LAST_IN_MEASUREMENT", "ACQ_FIRST_IN_SLICE", "ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING"],
)
def test_other_flags_leave_a_readout_in_the_image(flag, scan_of):
    scan = scan_of([*ALL[:-1], replace(ALL[-1], flags=(getattr(ismrmrd, flag),))])
    assert scan.mask.all()


def test_calibration_lines_of_the_same_geometry_are_acquired_samples(scan_of):
    flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
    scan = scan_of([line(0), line(2), line(4), line(3, flags=flags)])
    assert scan.mask.flatten().tolist() == [True, False, True, True, True, False]
    np.testing.assert_array_equal(scan.slice_kspace(0)[0, :, 3], KSPACE[0, 0, :, 3])


@pytest.mark.parametrize(
    "facts",
    [
        {"head": {"encoding_space_ref": 1}},
        {"counters": {"contrast": 1}},
        {"center": 3},
    ],
)
def test_calibration_lines_of_another_geometry_are_left_out_with_a_finding(facts, scan_of):
    flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
    scan = scan_of([line(0), line(2), line(4), line(3, flags=flags, **facts)])
    assert scan.mask.flatten().tolist() == [True, False, True, False, True, False]
    assert "calibration-left-out" in codes(scan)


def test_calibration_of_a_line_that_the_image_has_is_left_out(scan_of):
    own = line(3, flags=(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,))
    scan = scan_of([*ALL, replace(own, samples=9 * own.samples)])
    np.testing.assert_array_equal(scan.slice_kspace(0)[0], KSPACE[0, 0])
    assert "calibration-left-out" in codes(scan)


def test_averages_become_their_complex_mean(scan_of):
    twice = [replace(own, samples=3 * own.samples, counters={"average": 1}) for own in ALL[:4]]
    scan = scan_of([*ALL, *twice])
    kspace = scan.slice_kspace(0)[0]
    np.testing.assert_allclose(kspace[:, :4], 2 * KSPACE[0, 0, :, :4], rtol=1e-6)
    np.testing.assert_array_equal(kspace[:, 4:], KSPACE[0, 0, :, 4:])
    assert "averages-combined" in codes(scan)


def test_two_readouts_for_one_line_are_refused(scan_of):
    with pytest.raises(DataError, match="2 readouts for line 3 of slice 0, frame 0"):
        scan_of([*ALL, line(3)])


def test_reversed_readouts_are_turned_around(scan_of):
    turned = replace(ALL[1], samples=ALL[1].samples[:, ::-1], flags=(ismrmrd.ACQ_IS_REVERSE,))
    scan = scan_of([ALL[0], turned, *ALL[2:]])
    np.testing.assert_array_equal(scan.slice_kspace(0)[0], KSPACE[0, 0])


@pytest.mark.parametrize("n_x", [8, 7])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_center_sample_of_an_asymmetric_echo_lies_at_the_origin(n_x, is_reversed, scan_of):
    kspace = volume((1, 1, COILS, N_Y, n_x))[0, 0]
    missing, center = 3, n_x // 2 - 3
    order = slice(None, None, -1) if is_reversed else slice(None)
    flags = (ismrmrd.ACQ_IS_REVERSE,) if is_reversed else ()
    lines = [Line(kspace[:, y, missing:][:, order], y, center=center, flags=flags)
             for y in range(N_Y)]  # fmt: skip
    scan = scan_of(lines, mrd_xml(N_Y, n_x))
    np.testing.assert_array_equal(scan.slice_kspace(0)[0, :, :, missing:], kspace[:, :, missing:])
    assert not scan.slice_kspace(0)[..., :missing].any()
    np.testing.assert_array_equal(scan.mask[0, 0, 0, 0], np.arange(n_x) >= missing)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_discarded_samples_are_unacquired(is_reversed, scan_of):
    flags = (ismrmrd.ACQ_IS_REVERSE,) if is_reversed else ()
    order = slice(None, None, -1) if is_reversed else slice(None)
    names = ("discard_post", "discard_pre") if is_reversed else ("discard_pre", "discard_post")
    head = dict(zip(names, (2, 1), strict=True))
    lines = [replace(own, samples=own.samples[:, order], flags=flags, head=head) for own in ALL]
    scan = scan_of(lines)
    expected = KSPACE[0, 0].copy()
    expected[..., :2] = expected[..., -1:] = 0
    np.testing.assert_array_equal(scan.slice_kspace(0)[0], expected)
    assert scan.mask[0, 0, 0, 0].tolist() == [False] * 2 + [True] * 5 + [False]


def test_a_readout_that_does_not_fit_the_matrix_is_refused(scan_of):
    with pytest.raises(ShapeError, match="8 samples with its center at 5 does not fit 8"):
        scan_of([line(y, center=5) for y in range(N_Y)])


def test_a_full_readout_without_a_center_has_one_place_and_a_warning(scan_of):
    scan = scan_of([line(y, center=0) for y in range(N_Y)])
    np.testing.assert_array_equal(scan.slice_kspace(0)[0], KSPACE[0, 0])
    assert "readout-center-assumed" in codes(scan)


@pytest.mark.parametrize("n_y", [6, 7])
def test_partial_fourier_puts_the_center_line_at_the_origin(n_y, scan_of):
    kspace = volume((1, 1, COILS, n_y, N_X))[0, 0]
    center = n_y // 2 - 2
    limits = (
        "<kspace_encoding_step_1><minimum>0</minimum>"
        f"<maximum>{n_y - 3}</maximum><center>{center}</center></kspace_encoding_step_1>"
    )
    lines = [Line(kspace[:, y], y - 2) for y in range(2, n_y)]
    scan = scan_of(lines, mrd_xml(n_y, N_X, limits=limits))
    np.testing.assert_array_equal(scan.slice_kspace(0)[0, :, 2:], kspace[:, 2:])
    assert scan.mask.flatten().tolist() == [False] * 2 + [True] * (n_y - 2)


def test_a_line_beyond_the_matrix_is_refused(scan_of):
    with pytest.raises(ShapeError, match="line counter 6, which lies at 6 of 6"):
        scan_of([*ALL, Line(KSPACE[0, 0, :, 0], N_Y)])


@pytest.mark.parametrize(("n_stored", "n_kept"), [(16, 8), (14, 7), (15, 10)])
def test_oversampling_is_removed_in_the_image(n_stored, n_kept, scan_of):
    image = volume((1, 1, COILS, N_Y, n_stored))[0, 0]
    start = n_stored // 2 - n_kept // 2
    inside = image[..., start : start + n_kept]
    kspace = fftc(torch.from_numpy(image), (-1,)).numpy()
    xml = mrd_xml(N_Y, n_stored, fov=(30.0 * n_stored, 200, 8), recon_fov=(30.0 * n_kept, 200, 8))
    scan = scan_of([Line(kspace[:, y], y) for y in range(N_Y)], xml)
    expected = fftc(torch.from_numpy(inside.copy()), (-1,))
    torch.testing.assert_close(scan.slice_kspace(0)[0], expected, rtol=1e-4, atol=1e-2)
    assert scan.header.matrix == (N_Y, n_kept)
    assert scan.header.voxel_size_mm[0] == pytest.approx(30.0)
    assert "readout-oversampling-removed" in codes(scan)


def test_an_oversampled_asymmetric_echo_keeps_its_extent_in_kspace(scan_of):
    xml = mrd_xml(N_Y, 16, fov=(480, 200, 8), recon_fov=(240, 200, 8))
    lines = [Line(np.ones((COILS, 12), np.complex64), y, center=4) for y in range(N_Y)]
    scan = scan_of(lines, xml)
    assert scan.mask[0, 0, 0, 0].tolist() == [False, False] + [True] * 6
    assert not scan.slice_kspace(0)[..., :2].any()
    assert scan.slice_kspace(0)[..., 2:].all()


def test_facts_of_the_site_come_from_the_header_and_none_of_the_person(tmp_path):
    write_mrd(tmp_path / "scan.mrd", KSPACE)
    scan = open_scan(tmp_path / "scan.mrd")
    assert scan.header.site == Site("North Hospital", "Prisma", "Siemens", 2.89)
    assert scan.header.protocol == "cine_sax"
    assert "CANARY" not in repr(scan)


def test_any_name_of_the_group_is_read(tmp_path):
    write_mrd(tmp_path / "scan.mrd", KSPACE, "measurement_7")
    assert open_scan(tmp_path / "scan.mrd").header.n_coils == COILS


# geometry


def test_affine_sends_the_origin_voxel_to_the_position_in_right_anterior_superior(scan_of):
    lines = [replace(own, position=(10.0, 20.0, 30.0)) for own in ALL]
    header = scan_of(lines, mrd_xml(N_Y, N_X, fov=(16.0, 18.0, 5.0))).header
    assert header.voxel_size_mm == (2.0, 3.0, 5.0)
    origin = header.affine @ (N_X // 2, N_Y // 2, 0, 1)
    np.testing.assert_allclose(origin, (-10, -20, 30, 1))
    np.testing.assert_allclose(header.affine[:3, :3], np.diag([-2.0, -3.0, 5.0]))


def test_slice_distance_is_that_of_the_positions(scan_of):
    lines = lines_of(volume((1, 3, COILS, N_Y, N_X)), spacing_mm=-12.0)
    header = scan_of(lines).header
    assert header.voxel_size_mm[2] == pytest.approx(12.0)
    np.testing.assert_allclose(header.affine[:3, 2], (0, 0, -12))


def test_oblique_directions_are_the_columns_of_the_affine(scan_of):
    oblique = ((0.0, 0.6, 0.8), (1.0, 0.0, 0.0), (0.0, 0.8, -0.6))
    lines = [replace(own, directions=oblique) for own in ALL]
    affine = scan_of(lines, mrd_xml(N_Y, N_X, fov=(8.0, 12.0, 5.0))).header.affine
    expected = np.array([[0, -2, 0], [-0.6, 0, -4], [0.8, 0, -3]])
    np.testing.assert_allclose(affine[:3, :3], expected, atol=1e-6)


@pytest.mark.parametrize("second", [(0, 0, 8.0), (0, 3.0, 10.0), (0, 0, 0)])
def test_unequal_slice_distances_are_a_finding_and_the_thickness_serves(second, scan_of):
    lines = lines_of(volume((1, 3, COILS, N_Y, N_X)))
    for own in lines:
        own.position = ((0, 0, 0), second, (0, 0, 20.0))[own.counters["slice"]]
    scan = scan_of(lines)
    assert scan.header.voxel_size_mm[2] == 8.0
    assert "slice-distance-unknown" in codes(scan)


@pytest.mark.parametrize(
    ("directions", "xml", "reason"),
    [
        (((0.0,) * 3,) * 3, None, "no directions"),
        ((DIRECTIONS[0], DIRECTIONS[0], DIRECTIONS[2]), None, "not orthonormal"),
        (DIRECTIONS, mrd_xml(N_Y, N_X, fov=(0.0, 0.0, 0.0)), "no field of view"),
    ],
)
def test_unknown_geometry_is_said(directions, xml, reason, scan_of):
    scan = scan_of([replace(own, directions=directions) for own in ALL], xml)
    assert scan.header.affine is None
    assert any(reason in f.message for f in scan.findings if f.code == "geometry-unknown")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["position", "directions"])
def test_a_position_that_is_no_number_leaves_the_geometry_unknown(where, bad, scan_of):
    lines = lines_of(volume((1, 2, COILS, N_Y, N_X)))
    for own in lines:
        if own.counters["slice"] == 1:
            value = (0.0, 0.0, bad)
            setattr(own, where, value if where == "position" else (*DIRECTIONS[:2], value))
    scan = scan_of(lines)
    assert scan.header.affine is None
    assert scan.header.voxel_size_mm[2] == 8.0
    assert any("not a number" in f.message for f in scan.findings if f.code == "geometry-unknown")


def test_slices_of_different_directions_have_no_common_affine(scan_of):
    lines = lines_of(volume((1, 2, COILS, N_Y, N_X)))
    for own in lines:
        if own.counters["slice"]:
            own.directions = (DIRECTIONS[1], DIRECTIONS[0], DIRECTIONS[2])
    assert scan_of(lines).header.affine is None


# refusals


def test_scans_beyond_two_cartesian_dimensions_are_refused(scan_of):
    for xml, words in (
        (mrd_xml(N_Y, N_X, trajectory="Spiral"), "trajectory spiral"),
        (mrd_xml(N_Y, N_X, trajectory="Doe"), "another trajectory"),
        (mrd_xml(N_Y, N_X, z=4), "4 partitions"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            scan_of(ALL, xml)
        assert caught.value.hint


def test_a_varying_partition_counter_is_refused(scan_of):
    with pytest.raises(DataError, match="three-dimensional"):
        scan_of([*ALL, line(0, counters={"kspace_encode_step_2": 1})])


def test_readouts_of_different_coils_are_refused_with_both_numbers(scan_of):
    with pytest.raises(DataError, match="readouts of 2 and 3 coils"):
        scan_of([*ALL[:-1], Line(np.ones((3, N_X), np.complex64), N_Y - 1)])


def test_an_encoding_that_the_header_lacks_is_refused(scan_of):
    with pytest.raises(DataError, match="uses encoding 2, the header has 1"):
        scan_of([replace(own, head={"encoding_space_ref": 2}) for own in ALL])


@pytest.mark.parametrize(
    ("matrix", "counters"), [((9000, 9000), {}), ((N_Y, 9000), {"slice": 60000})]
)
def test_a_matrix_that_is_hardly_filled_is_refused(matrix, counters, scan_of):
    lines = [*ALL, line(0, counters=counters)] if counters else ALL
    lines = [*lines, *(line(1, counters={"set": n, **counters}) for n in range(1, 90))]
    with pytest.raises(DataError, match="the limit is 1 in 200"):
        scan_of(lines, mrd_xml(*matrix))


def test_a_file_of_noise_alone_is_refused(scan_of):
    with pytest.raises(DataError, match="no readout of an image among 1"):
        scan_of([line(0, flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))])


def test_two_measurements_in_one_file_are_refused(tmp_path):
    write_mrd(tmp_path / "scan.mrd", KSPACE, "a")
    write_mrd(tmp_path / "scan.mrd", KSPACE, "b")
    with pytest.raises(MrcliError):
        open_scan(tmp_path / "scan.mrd")
    with pytest.raises(MissingField, match="'a', 'b'"):
        open_scan(tmp_path / "scan.mrd", reader="ismrmrd-h5")


def test_a_readout_shorter_than_its_header_says_is_refused(tmp_path):
    path = tmp_path / "scan.mrd"
    write_mrd(path, KSPACE)
    with h5py.File(path, "r+") as file:
        row = file["dataset/data"][2]
        row["data"] = row["data"][:-2]
        file["dataset/data"][2] = row
    with pytest.raises(DataError, match="readout 2 has 30 numbers"):
        open_scan(path).slice_kspace(0)


def test_header_with_capitals_and_without_recon_space_is_read():
    if not (DATA / "mrireco_brain_sim.h5").exists():
        pytest.skip("kspace/mrireco_brain_sim.h5 is not there")
    scan = open_scan(DATA / "mrireco_brain_sim.h5")
    assert scan.header.slice_shape == (1, 1, 256, 256)
    assert scan.header.voxel_size_mm is None
    with h5py.File(DATA / "mrireco_brain_sim.h5") as file:
        stored = file["dataset/data"][128]["data"].view(np.complex64)
    np.testing.assert_array_equal(scan.slice_kspace(0)[0, 0, 128], stored)
    peak = scan.slice_kspace(0).abs().flatten().argmax().item()
    assert divmod(peak, 256) == (128, 128)
