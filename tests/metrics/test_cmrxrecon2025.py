"""The challenge's scorer, number for number; crop and choice against exact arithmetic."""

import csv
import math
from fractions import Fraction

import numpy as np
import pytest

from mrcli.errors import DataError, ShapeError
from mrcli.metrics.cmrxrecon2025 import (
    CallOrder,
    FrameChoice,
    frame_choice,
    score_region,
    scored_region,
)
from realdata import DATA

SCORE = DATA / "cmrxrecon2025_score.npz"
SHAPES = DATA / "cmrxrecon2025_shapes.csv"
needs_score = pytest.mark.skipif(not SCORE.exists(), reason=f"{SCORE.name} is not at hand")
needs_shapes = pytest.mark.skipif(not SHAPES.exists(), reason=f"{SHAPES.name} is not at hand")


def as_region(stored):
    """Bring (x, y[, slice[, frame]]) to (frame, slice, y, x)."""
    return stored.reshape(*stored.shape, *(1,) * (4 - stored.ndim)).T


@needs_score
@pytest.mark.parametrize("order", CallOrder)
@pytest.mark.parametrize("n_axes", [2, 3, 4])
def test_every_number_of_the_organisers_is_met(n_axes, order):
    called = {CallOrder.PRED_GT: "pred_gt", CallOrder.GT_RECON: "gt_recon"}[order]
    with np.load(SCORE) as archive:
        region = as_region(archive[f"{n_axes}d_reconstruction"])
        reference = as_region(archive[f"{n_axes}d_reference"])
        expected = {
            metric: archive[f"{n_axes}d_{metric}_called_as_{called}"]
            for metric in ("psnr", "ssim", "nmse")
        }
    grid = score_region(region, reference, order)
    for attribute, metric in (("psnr_db", "psnr"), ("ssim", "ssim"), ("nmse", "nmse")):
        found = np.array([[getattr(quality, attribute) for quality in row] for row in grid])
        # theirs is (slice, frame), with (1, n) for three axes, whatever the third one means
        numbers = found.T if n_axes == 4 else found.reshape(expected[metric].shape)
        np.testing.assert_allclose(numbers, expected[metric], rtol=0, atol=1e-6)


@needs_shapes
def test_crop_slices_and_frames_are_matlabs_on_every_listed_shape():
    scans = listed_scans()
    assert len(scans) == 1343
    for view, (n_x, n_y, n_z, n_t) in scans:
        frames, slices, y, x = scored_region((n_t, n_z, n_y, n_x), frame_choice(view))
        assert one_based(x) == matlab_crop(n_x, matlab_round(Fraction(n_x, 3)))
        assert one_based(y) == matlab_crop(n_y, matlab_round(Fraction(n_y, 2)))
        middle = matlab_round(Fraction(n_z, 2))
        assert one_based(slices) == ((middle - 1, middle) if n_z >= 3 else (1, n_z))
        is_mapping = view.startswith(("T1map", "T2map", "T2smap", "T1rho"))
        assert one_based(frames) == (1, n_t if is_mapping else min(3, n_t))


@needs_shapes
def test_naive_rounding_would_choose_otherwise_for_many_listed_shapes():
    n_sizes = n_starts = n_slices = 0
    for view, (n_x, n_y, n_z, n_t) in listed_scans():
        _, slices, y, x = scored_region((n_t, n_z, n_y, n_x), frame_choice(view))
        n_sizes += y.stop - y.start != round(n_y / 2)
        n_starts += any(
            crop.start != (n - (crop.stop - crop.start)) // 2 for crop, n in ((x, n_x), (y, n_y))
        )
        n_slices += n_z >= 3 and slices.stop != round(n_z / 2)
    assert (n_sizes, n_starts, n_slices) == (343, 1011, 109)


def listed_scans():
    """Yield view and (x, y, slice, frame) of the listed files, trailing ones restored."""
    scans = []
    with SHAPES.open(newline="") as file:
        for row in csv.DictReader(file):
            stored = [int(size) for size in row["shape_as_loaded"].split()]
            matlab = stored[::-1] if row["container"] == "hdf5" else stored
            n_x, n_y, n_coils, *rest = [*matlab, 1, 1][:5]
            assert n_coils == 10
            scans.append((row["view"], (n_x, n_y, *rest)))
    return scans


def matlab_round(value):
    return math.floor(value + Fraction(1, 2))  # of a positive number: half away from zero


def matlab_crop(n, size):
    first = math.floor(Fraction(n, 2)) + 1 + math.ceil(Fraction(-size, 2))
    return first, math.floor(Fraction(n, 2)) + math.ceil(Fraction(size, 2))


def one_based(chosen):
    return chosen.start + 1, chosen.stop


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((12, 5, 7, 9), (slice(0, 3), slice(1, 3), slice(1, 5), slice(3, 6))),
        ((2, 2, 8, 10), (slice(0, 2), slice(0, 2), slice(2, 6), slice(4, 7))),
        ((1, 3, 9, 8), (slice(0, 1), slice(0, 2), slice(2, 7), slice(3, 6))),
    ],
)
def test_the_scored_region_by_hand(shape, expected):
    assert scored_region(shape, FrameChoice.FIRST_THREE) == expected


def test_all_frames_of_a_mapping_view_are_scored():
    assert frame_choice("T1map") is FrameChoice.ALL
    assert frame_choice("cine_sax") is FrameChoice.FIRST_THREE
    assert scored_region((9, 1, 20, 30), FrameChoice.ALL)[0] == slice(0, 9)


def textured(*shape, seed=0):
    return np.random.default_rng(seed).uniform(1.0, 3.0, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "swapped"), [((2, 2), False), ((1, 2), True), ((2, 1), True), ((1, 1), True)]
)
def test_arguments_are_swapped_unless_slices_and_frames_both_remain(shape, swapped):
    image, reference = textured(*shape, 16, 16), textured(*shape, 16, 16, seed=1) ** 3
    straight, turned = ((reference, image), (image, reference))[:: -1 if swapped else 1]
    found = score_region(image, reference)[0][0]
    assert found.psnr_db == pytest.approx(psnr_by_definition(*straight), rel=1e-5)
    assert found.psnr_db != pytest.approx(psnr_by_definition(*turned), rel=1e-3)


def psnr_by_definition(truth, other):
    t, o = (frame[0, 0] / np.percentile(frame[0, 0], 99.5) for frame in (truth, other))
    return 10 * np.log10(t.max() ** 2 / np.mean((t - o) ** 2))


def test_a_scale_per_frame_costs_nothing():
    image, reference = textured(2, 2, 16, 16), textured(2, 2, 16, 16, seed=1)
    dimmed = image * np.array([1e-9, 1e9], np.float32)[:, None, None, None]
    for one, other in zip(
        score_region(image, reference), score_region(dimmed, reference), strict=True
    ):
        for before, after in zip(one, other, strict=True):
            assert after.psnr_db == pytest.approx(before.psnr_db, abs=1e-4)


def test_identical_images_are_infinitely_good():
    image = textured(2, 2, 16, 16)
    quality = score_region(image, image)[1][1]
    assert (quality.psnr_db, quality.nmse) == (math.inf, 0)
    assert quality.ssim == pytest.approx(1, abs=1e-6)


def test_a_frame_that_is_zero_nearly_everywhere_cannot_be_normalised():
    point = np.zeros((1, 1, 32, 32), np.float32)
    point[0, 0, 16, 16] = 1
    with pytest.raises(DataError, match=r"99\.5 percentile of a frame is 0"):
        score_region(textured(1, 1, 32, 32), point)


def test_a_region_smaller_than_the_window_is_refused():
    with pytest.raises(ShapeError, match="the region that cmrxrecon2025 scores is 6 x 16"):
        score_region(textured(1, 1, 6, 16), textured(1, 1, 6, 16, seed=1))
