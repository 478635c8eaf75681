"""Samples: what the network is to return, parts of them, and the folder that keeps them."""

import multiprocessing
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.testing import assert_close

from mrcli.errors import DataError, ShapeError
from mrcli.nn import inputs
from mrcli.nn.backbone import Backbone
from mrcli.nn.normal import NormalOperator
from mrcli.physics.encoding import Y_ONLY, YX, expand_coils, fft2c
from mrcli.physics.sampling import Pattern
from mrcli.simulate.recipes import Reduction, ScanRecipe
from mrcli.simulate.site_file import load_sites
from mrcli.tasks.train_settings import training_sites
from mrcli.training import curriculum, pool, samples
from mrcli.training.ahead import simulated_ahead
from mrcli.training.curriculum import Curriculum, MaskRecipe, SliceRecipe
from mrcli.training.pool import Pool, Window, load_sample, sample_of_step, save_sample
from mrcli.training.samples import cropped, simulate, undersample
from tiny import SPEC, complex_noise, fill_pool, tiny_sample

QUICK = Reduction(matrix=0.3, max_frames=2, max_slices=1)
MASK = MaskRecipe(Pattern.UNIFORM, 4, 16, 1)
TENSORS = ("combined", "start", "average", "maps", "mask", "facts")


def recipe(**changes):
    site = load_sites()[0]
    scan = ScanRecipe(site, site.protocols[0], 1, 3, reduction=QUICK)
    return replace(SliceRecipe(scan, 0.5, False, True), **changes)


@cache
def simulated():
    return simulate(recipe())


def same(one, other):
    assert (one.modality, one.site, one.given.scale) == (
        other.modality,
        other.site,
        other.given.scale,
    )
    assert one.given.axes == other.given.axes
    assert torch.equal(one.target, other.target)
    return all(torch.equal(getattr(one.given, n), getattr(other.given, n)) for n in TENSORS)


@pytest.mark.parametrize("n_virtual", [8, 10])
def test_without_noise_and_undersampling_the_data_hold_the_target(monkeypatch, n_virtual):
    plan, one = simulated()
    whole = torch.ones(1, 1, one.truth.shape[-2], 1, dtype=torch.bool)
    monkeypatch.setattr(samples, "_mask", lambda *_: whole)
    monkeypatch.setattr(inputs.compress_coils, "__defaults__", (n_virtual,))
    quiet = replace(one, kspace=fft2c(expand_coils(one.truth, one.maps)))
    sample = undersample(plan, quiet, MASK)
    power = sample.given.maps.abs().square().sum(0)  # below 1 where virtual coils were dropped
    inside = sample.target.abs() > 0.05 * sample.target.abs().amax()
    found, target = (sample.given.combined / power)[inside], sample.target[inside]
    assert float(inside.float().mean()) > 0.1
    limit = 1e-3 if n_virtual == len(one.maps[0]) else 3e-3
    assert float((found - target).norm() / target.norm()) < limit


def test_the_target_has_the_magnitude_of_the_truth_in_units_of_the_scale():
    plan, one = simulated()
    sample = undersample(plan, one, MASK)
    expected = one.truth.abs() / (one.kspace.abs().amax() * sample.given.scale)
    seen = sample.target.abs() > 0
    assert_close(sample.target.abs()[seen], expected[seen])
    assert float(sample.target.abs().quantile(0.99)) == pytest.approx(1, abs=0.5)


def test_the_phase_of_the_target_is_that_of_the_first_image():
    plan, one = simulated()
    sample = undersample(plan, one, MASK)
    bright = sample.target.abs() > 0.3 * sample.target.abs().amax()
    turn = (sample.given.start * sample.target.conj())[bright].angle()
    assert float(turn.abs().median()) < 0.2


def test_a_slice_without_signal_is_refused():
    plan, one = simulated()
    with pytest.raises(DataError, match="no signal"):
        undersample(plan, replace(one, kspace=0 * one.kspace), MASK)


def test_readout_oversampling_goes_where_the_recipe_says_so():
    _, narrow = simulated()
    _, wide = simulate(recipe(removes_oversampling=False))
    assert wide.truth.shape[-1] > narrow.truth.shape[-1]


def test_real_patients_take_turns():
    rng = torch.Generator().manual_seed(0)
    images = tuple(torch.rand(2, 64, 64, generator=rng) for _ in range(2))
    real = recipe(uses_real_anatomy=True)
    assert simulate(real, images)[0].recipe == simulate(real)[0].recipe
    truths = [simulate(one, images)[1].truth for one in (real, recipe())]
    assert not torch.equal(*truths)
    assert torch.equal(simulate(real)[1].truth, truths[1])  # none is at hand


def test_columns_of_a_line_mask_are_problems_of_their_own():
    sample = tiny_sample(size=(3, 9, 14))
    part = cropped(sample, 3, 5)
    image = complex_noise(3, 9, 14, seed=5)
    whole = NormalOperator.of(sample.given.encoding)(image)
    own = NormalOperator.of(part.given.encoding)(image[..., 3:8])
    assert_close(own, whole[..., 3:8])
    assert_close(part.given.combined, sample.given.combined[..., 3:8])
    assert_close(part.target, sample.target[..., 3:8])
    assert part.given.average.shape[-1] == part.given.start.shape[-1] == 5


def test_columns_of_a_mask_that_varies_along_them_cannot_be_cut():
    with pytest.raises(ShapeError, match="columns depend on each other"):
        cropped(tiny_sample(axes=YX), 0, 4)


def test_a_file_gives_the_sample_back_to_the_bit(tmp_path):
    for number, axes in enumerate((Y_ONLY, YX)):
        sample = tiny_sample(number, axes=axes)
        sample = replace(sample, given=replace(sample.given, scale=1 / 3))
        save_sample(sample, tmp_path / "deep" / f"{number}")
        assert same(load_sample(tmp_path / "deep" / f"{number}"), sample)
    assert len(list((tmp_path / "deep").iterdir())) == 2


def small_curriculum(monkeypatch):
    monkeypatch.setattr(curriculum, "_MATRIX_FACTORS", (0.25,))
    monkeypatch.setattr(curriculum, "_MOST_FRAMES", (1,))
    return Curriculum(training_sites(), 5)


def test_the_same_number_is_the_same_sample_after_the_folder_is_emptied(tmp_path, monkeypatch):
    ours = Pool(small_curriculum(monkeypatch), tmp_path)
    first = ours.sample(5)
    made = {path.name: load_sample(path) for path in tmp_path.iterdir()}
    assert sorted(made) == [f"{n:08d}.safetensors" for n in (4, 5, 6, 7)]
    for path in tmp_path.iterdir():
        path.unlink()
    assert same(ours.sample(5), first)
    assert all(same(load_sample(tmp_path / name), one) for name, one in made.items())
    masks = [ours.sample(n).given.mask for n in (4, 5, 6, 7)]
    assert len({(tuple(mask.shape), mask.numpy().tobytes()) for mask in masks}) > 1


def test_a_mask_that_does_not_fit_is_drawn_again(tmp_path, monkeypatch):
    ours, attempts = Pool(Curriculum(training_sites(), 5), tmp_path), []

    def fits_third(*recipes):
        attempts.append(recipes[-1])
        if len(attempts) < 3:
            raise ShapeError("too few lines")
        return tiny_sample(3)

    monkeypatch.setattr(pool, "undersample", fits_third)
    assert same(ours._masked(*simulated(), 9), tiny_sample(3))
    assert attempts == [ours.curriculum.mask_of(9, n) for n in range(3)]


def test_a_slice_that_no_mask_fits_is_an_error(tmp_path, monkeypatch):
    ours, attempts = Pool(Curriculum(training_sites(), 5), tmp_path), []

    def never(*_):
        attempts.append(0)
        raise ShapeError("too few lines")

    monkeypatch.setattr(pool, "undersample", never)
    with pytest.raises(ShapeError):
        ours._masked(*simulated(), 9)
    assert len(attempts) == 8


def test_a_pool_waits_for_what_others_simulate_then_does_it_itself(tmp_path, monkeypatch):
    patient = Pool(Curriculum(training_sites(), 5), tmp_path, patience=30.0)
    slept = []

    def others_write_the_third_time(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            fill_pool(patient, [2])

    monkeypatch.setattr(pool.time, "sleep", others_write_the_third_time)
    monkeypatch.setattr(Pool, "_make_group", lambda own, group: fill_pool(own, [4 * group]))
    patient.sample(2)
    assert len(slept) == 3
    hasty = Pool(patient.curriculum, tmp_path / "other")
    hasty.sample(0)
    assert len(slept) == 3


def test_a_group_that_is_whole_is_not_simulated_again(tmp_path, monkeypatch):
    ours, made = Pool(Curriculum(training_sites(), 5), tmp_path), []
    monkeypatch.setattr(Pool, "_make_group", lambda _, group: made.append(group))
    fill_pool(ours, (0, 1, 2, 3, 4, 5, 7))
    ours.ensure_group(0)
    ours.ensure_group(1)
    assert made == [1]


def test_workers_write_the_samples_that_training_would_have(tmp_path):
    """Other processes, so nothing is replaced there: two groups of a real curriculum."""
    ours = Pool(Curriculum(training_sites(), 11), tmp_path / "ahead")
    with simulated_ahead(ours, range(2), 2):
        waiting = replace(ours, patience=300.0)
        ahead = [waiting.sample(number) for number in (0, 4)]
    alone = Pool(ours.curriculum, tmp_path / "alone")
    assert all(same(one, alone.sample(number)) for one, number in zip(ahead, (0, 4), strict=True))
    assert not multiprocessing.active_children()


def test_a_sample_of_another_curriculum_is_refused(tmp_path):
    ours = Pool(Curriculum(training_sites(), 5), tmp_path)
    fill_pool(ours, range(8))
    left_out = ours.curriculum.slice_of(0).scan.site.name
    other = Pool(Curriculum(training_sites((left_out,)), 5), tmp_path)
    ours.sample(1)
    with pytest.raises(DataError, match=r"00000001\.safetensors: a sample of another curriculum"):
        other.sample(1)
    with pytest.raises(DataError):
        other.require_own(tmp_path / "00000000.safetensors")


@pytest.mark.parametrize("content", [b"", b"no file of tensors", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_sample_is_refused(tmp_path, content):
    (tmp_path / "00000000.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="no sample"):
        Pool(Curriculum(training_sites(), 5), tmp_path).sample(0)


def test_a_window_draws_from_what_came_until_then_and_forgets_the_oldest():
    window = Window(first=10, per_step=0.5, size=20)
    early = {window.draw(0, draw, 1) for draw in range(400)}
    late = {window.draw(100, draw, 1) for draw in range(800)}
    assert early == set(range(10))
    assert late == set(range(40, 60))


def test_a_draw_is_a_function_of_its_number_and_seed():
    window = Window()
    draws = [window.draw(3, n, 1) for n in range(20)]
    assert draws == [window.draw(3, n, 1) for n in range(20)]
    assert draws != [window.draw(3, n, 2) for n in range(20)]


@pytest.mark.parametrize("axes", [Y_ONLY, YX])
def test_a_part_has_at_most_so_many_pixels(axes):
    sample = tiny_sample(size=(6, 8, 40), axes=axes)
    for step in range(10):
        part = sample_of_step(sample, step, 1, 960)
        assert part.target.numel() <= 960
        assert part.given.start.shape == part.given.combined.shape == part.target.shape
        assert part.given.encoding.forward(part.target).shape[-1] == part.target.shape[-1]
    assert part.target.shape == ((6, 8, 20) if axes == Y_ONLY else (3, 8, 40))


@pytest.mark.parametrize("axes", [Y_ONLY, YX])
def test_parts_begin_anywhere_and_end_at_the_last_column_or_frame(axes):
    sample = tiny_sample(size=(6, 8, 40), axes=axes)
    power = sample.target.abs()
    seen = set()
    for step in range(200):
        part = sample_of_step(sample, step, 1, 960).target.abs()
        axis = -1 if axes == Y_ONLY else 0
        n, own = sample.target.shape[axis], part.shape[axis]
        starts = [s for s in range(n - own + 1) if torch.allclose(power.narrow(axis, s, own), part)]
        seen.update(starts)
    assert min(seen) == 0
    assert max(seen) == n - own


def test_input_and_target_are_turned_by_the_same_angle():
    sample = tiny_sample()
    part = sample_of_step(sample, 4, 1, 10**6)
    turn = part.target / sample.target
    assert_close(turn, turn[0, 0, 0].expand_as(turn))
    assert float(turn.abs().mean()) == pytest.approx(1, abs=1e-5)
    for name in ("combined", "start", "average"):
        whole = getattr(sample.given, name)
        assert_close(getattr(part.given, name), whole * turn[0, 0, 0])
    assert not torch.equal(sample_of_step(sample, 5, 1, 10**6).target, part.target)


def test_the_network_takes_a_part_as_it_takes_a_sample():
    backbone = Backbone(SPEC)
    for axes in (Y_ONLY, YX):
        part = sample_of_step(tiny_sample(size=(6, 9, 40), axes=axes), 3, 1, 1000)
        assert backbone(part.given).shape == part.target.shape
