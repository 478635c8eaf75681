"""What each metric set does and does not do to the images before it compares them."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mrcli.errors import DataError, InputError, ShapeError
from mrcli.metrics.cmrxrecon2025 import FrameChoice
from mrcli.metrics.sets import METRIC_SETS, find_metric_sets

FIRST_THREE, ALL = FrameChoice.FIRST_THREE, FrameChoice.ALL
for_every_set = pytest.mark.parametrize("name", list(METRIC_SETS))


def discs(n_frames=2, n_slices=2, matrix=(33, 48)):
    """A disc that grows from frame to frame and slice to slice on a sloping background."""
    y, x = np.indices(matrix)
    radius = np.hypot(y - matrix[0] // 2, x - matrix[1] // 2)
    frames = [
        [(radius < 6 + frame + index) * (2.0 + frame) + 0.01 * (x + y) for index in range(n_slices)]
        for frame in range(n_frames)
    ]
    return np.array(frames)


def noisy(volume, seed=0, level=0.05):
    return np.abs(volume + level * np.random.default_rng(seed).standard_normal(volume.shape))


def score(name, volume, reference, choice=FIRST_THREE):
    return METRIC_SETS[name].score(volume, reference, choice)


@for_every_set
def test_identical_volumes_are_infinitely_good(name):
    scores = score(name, discs(), discs())
    assert scores.volume.psnr_db == math.inf
    assert scores.volume.ssim == pytest.approx(1, abs=1e-6)
    assert scores.volume.nmse == pytest.approx(0, abs=1e-15)


@for_every_set
def test_a_shift_by_one_pixel_costs(name):
    volume = noisy(discs())
    before, after = (score(name, v, discs()).volume for v in (volume, np.roll(volume, 1, axis=-1)))
    assert after.psnr_db < before.psnr_db - 3
    assert after.ssim < before.ssim
    assert after.nmse > before.nmse


@for_every_set
def test_the_passport_begins_with_the_name(name):
    assert METRIC_SETS[name].passport.startswith(f"{name}: ")


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e3, 1e9])
def test_the_scale_of_the_image_changes_nothing_in_clean(factor):
    volume, reference = noisy(discs()), discs()
    expected, found = (score("clean", v, reference).volume for v in (volume, factor * volume))
    assert found.psnr_db == pytest.approx(expected.psnr_db, rel=1e-9)
    assert found.ssim == pytest.approx(expected.ssim, rel=1e-9)
    assert found.nmse == pytest.approx(expected.nmse, rel=1e-9)


def test_clean_sees_a_wrong_scale_between_frames():
    flickering = discs() * np.array([1.0, 1.2])[:, None, None, None]
    assert score("clean", flickering, discs()).volume.psnr_db < 40
    assert score("cmrxrecon2025", flickering, discs()).volume.psnr_db > 100


def test_clean_takes_one_scale_and_the_range_of_each_reference_frame():
    reference, volume = discs(), noisy(discs())
    scale = np.vdot(volume, reference) / np.vdot(volume, volume)
    for one in score("clean", volume, reference).frames:
        truth, image = reference[one.frame, one.slice], volume[one.frame, one.slice]
        mse = np.mean((scale * image - truth) ** 2)
        assert one.quality.psnr_db == pytest.approx(10 * np.log10(truth.max() ** 2 / mse))


def test_clean_is_the_mean_over_frames_and_names_the_worst():
    volume = discs(3, 2)
    volume[2, 1] = noisy(volume)[2, 1]
    volume[0, 0] = noisy(volume, level=0.001)[0, 0]
    volume[0, 1] = noisy(volume, level=0.001)[0, 1]
    scores = score("clean", volume, discs(3, 2))
    assert len(scores.frames) == 6
    assert (scores.worst.frame, scores.worst.slice) == (2, 1)
    assert scores.volume.psnr_db == pytest.approx(
        np.mean([one.quality.psnr_db for one in scores.frames])
    )


def test_fastmri_is_the_public_definition():
    reference, volume = discs(1, 3), noisy(discs(1, 3))
    peak = reference.max()
    found = score("fastmri", volume, reference).volume
    assert found.psnr_db == pytest.approx(
        peak_signal_noise_ratio(reference[0], volume[0], data_range=peak), abs=1e-9
    )
    per_slice = [
        structural_similarity(r, v, data_range=peak)
        for r, v in zip(reference[0], volume[0], strict=True)
    ]
    assert found.ssim == pytest.approx(np.mean(per_slice), abs=1e-9)
    error = np.linalg.norm(reference - volume) ** 2 / np.linalg.norm(reference) ** 2
    assert found.nmse == pytest.approx(error, rel=1e-9)


def test_fastmri_punishes_a_wrong_scale():
    found = score("fastmri", 2 * discs(), discs()).volume
    assert found.nmse == pytest.approx(1)


def test_cmrxrecon2025_never_looks_outside_its_region():
    volume, reference = noisy(discs(5, 5)), discs(5, 5)
    littered = volume.copy()
    littered[3:], littered[:, 0], littered[:, 3:] = 1e6, 1e6, 1e6
    littered[..., :8, :], littered[..., :16] = 1e6, 1e6
    expected, found = (score("cmrxrecon2025", v, reference) for v in (volume, littered))
    assert found == expected
    assert [(one.frame, one.slice) for one in found.frames] == [
        (frame, index) for frame in range(3) for index in (1, 2)
    ]


def test_cmrxrecon2025_scores_all_frames_of_a_mapping_scan():
    assert len(score("cmrxrecon2025", noisy(discs(5, 1)), discs(5, 1), ALL).frames) == 5
    assert len(score("cmrxrecon2025", noisy(discs(5, 1)), discs(5, 1)).frames) == 3


def test_swapped_arguments_change_the_psnr_of_cmrxrecon2025():
    volume, reference = noisy(discs(), level=0.5), discs()
    straight = score("cmrxrecon2025", volume, reference).volume.psnr_db
    turned = score("cmrxrecon2025", reference, volume).volume.psnr_db
    assert abs(straight - turned) > 0.1


@for_every_set
def test_shapes_that_differ_are_refused(name):
    with pytest.raises(ShapeError, match=r"image of shape \(2, 2, 33, 48\), reference of shape"):
        score(name, discs(), discs(matrix=(33, 49)))


def test_an_empty_reference_frame_is_named():
    reference = discs()
    reference[1, 0] = 0
    with pytest.raises(DataError, match="frame 1 of slice 0 of the reference is constant"):
        score("clean", discs(), reference)


def test_sets_are_found_once_each_and_an_unknown_one_names_the_known():
    assert [one.name for one in find_metric_sets(("clean", "clean", "fastmri"))] == [
        "clean",
        "fastmri",
    ]
    with pytest.raises(InputError, match="no metric set is called 'cleen'") as caught:
        find_metric_sets(("cleen",))
    assert caught.value.hint == "the sets are clean, cmrxrecon2025, fastmri"
