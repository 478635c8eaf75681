"""Whole simulated scans: what is exact, what repeats, and what every site can do.

Facts about single steps use a site of their own, free of whatever the sites of the program are
tuned to; facts about the sites of the program hold for any tuning.
"""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.testing import assert_close

from mrcli.physics.encoding import fft2c, ifft2c, reduce_coils
from mrcli.physics.noise import noise_covariance
from mrcli.simulate.acquisition import KSpaceFilter
from mrcli.simulate.coils import WIRE_MM, CoilArray, magnetic_field, place_array
from mrcli.simulate.contrast import CONTRASTS
from mrcli.simulate.recipes import Cohort, Reduction, ScanRecipe
from mrcli.simulate.scans import (
    measured_lines,
    noise_scan,
    noiseless,
    plan_scan,
    simulate_slice,
)
from mrcli.simulate.shapes import Points
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import Container, Split

QUICK = Reduction(matrix=0.25, max_frames=2, max_slices=1)
SITES = load_sites()
EVERY_SCAN = [(site, protocol) for site in SITES for protocol in site.protocols]
for_every_scan = pytest.mark.parametrize(
    ("site", "protocol"), EVERY_SCAN, ids=[f"{s.name} {p.contrast}" for s, p in EVERY_SCAN]
)


def protocol_of(contrast="T2map", **changes):
    plain = replace(
        SITES[0].protocols[0],
        modality="Mapping",
        contrast=contrast,
        views=("sax",),
        matrices=((32, 48),),
        n_frames=(2,),
        n_slices=(1,),
        fov_y_mm=300.0,
        fov_x_mm=640.0,
        thickness_mm=8.0,
        flip_deg=40.0,
        tr_ms=3.0,
        te_ms=1.5,
        container=Container.HDF5,
        averages=1.0,
    )
    return replace(plain, **changes)


def site_of(**changes):
    plain = replace(
        SITES[0],
        center="Center900",
        scanner="Plain.sim",
        vendor="UIH",
        field_strength_t=3.0,
        modelled_on="nothing",
        split=Split.TRAIN,
        array=CoilArray((2, 4), (2, 3), 60.0, 28.0),
        n_virtual=6,
        body_noise=0.8,
        gain_spread=0.15,
        snr=200.0,
        off_resonance_hz=40.0,
        transmit_spread=0.1,
        peak=(1.0, 1.0),
        kspace_filter=KSpaceFilter(),
        partial_fourier=1.0,
        drift_mm=0.0,
        mistrigger=0.0,
        readout_oversampling=2.0,
        protocols=(),
    )
    return replace(plain, **changes)


def recipe_of(site=None, protocol=None, patient=0, seed=0, **more):
    return ScanRecipe(site or site_of(), protocol or protocol_of(), patient, seed, **more)


def simulated(*args, images=None, **kwargs):
    plan = plan_scan(recipe_of(*args, **kwargs), images)
    return plan, simulate_slice(plan, 0)


@cache
def of_site(index):
    site, protocol = EVERY_SCAN[index]
    return simulated(site, protocol, reduction=QUICK)


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


def same_bytes(one, other):
    parts = ((getattr(scan, name) for scan in (one, other)) for name in ("truth", "maps", "kspace"))
    return all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in parts)


@pytest.mark.parametrize("matrix", [(32, 48), (33, 48), (33, 47), (32, 47)])
@pytest.mark.parametrize("contrast", ["cine", "T2map", "lge", "flow2d"])
def test_a_noiseless_scan_reconstructs_to_the_truth(matrix, contrast):
    _, one = simulated(protocol=protocol_of(contrast, matrices=(matrix,), n_frames=(3,)))
    assert one.truth.shape == (3, *matrix)
    combined = reduce_coils(ifft2c(noiseless(one)), one.maps)
    assert relative_error(combined, one.truth) < 1e-5


@pytest.mark.parametrize("contrast", ["cine", "T1map", "perfusion", "T1w"])
def test_what_is_measured_is_the_truth_as_the_coils_see_it_and_noise(contrast):
    loud = simulated(site_of(snr=1e9), protocol_of(contrast))[1]
    assert relative_error(loud.kspace, noiseless(loud)) < 1e-5


@pytest.mark.parametrize("n_virtual", [6, 14])
def test_noise_of_a_scan_has_the_covariance_that_was_planned_within_two_percent(n_virtual):
    many = protocol_of(matrices=((90, 144),), n_frames=(8,))
    plan, one = simulated(site_of(n_virtual=n_virtual, snr=5.0), many)
    noise = (one.kspace - noiseless(one)).transpose(0, 1).flatten(1)
    assert len(noise) == plan.n_coils == n_virtual
    covariance = plan.covariance.to(torch.complex128)
    assert relative_error(noise_covariance(noise.to(torch.complex128)), covariance) < 0.02
    scan = noise_scan(plan, 200_000).to(torch.complex128)
    assert relative_error(noise_covariance(scan), covariance) < 0.02


def test_noise_differs_from_slice_to_slice_and_from_the_noise_scan():
    plan = plan_scan(recipe_of(protocol=protocol_of(n_slices=(2,))))
    noises = [one.kspace - noiseless(one) for one in (simulate_slice(plan, i) for i in (0, 1))]
    assert relative_error(noises[0], noises[1]) > 1
    assert noise_scan(plan).shape == (plan.n_coils, 20_000)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"snr": 400.0}, 0.5),
        ({"snr": 50.0}, 4.0),
        ({"peak": (1000.0, 1000.0)}, 1000.0),
    ],
)
def test_noise_follows_snr_and_scale(changes, factor):
    plain, changed = (plan_scan(recipe_of(site_of(**one))) for one in ({}, changes))
    level = (changed.covariance.diagonal().real / plain.covariance.diagonal().real).sqrt()
    assert_close(level, torch.full_like(level, factor), rtol=1e-4, atol=0)


def noise_of(plan):
    """The covariance of the noise for a magnetisation of 1."""
    return plan.covariance / plan.scale**2


@pytest.mark.parametrize("contrast", ["cine", "lge", "perfusion", "T2w"])
@pytest.mark.parametrize("peak", [1e-3, 1e8])
def test_the_largest_sample_of_the_middle_slice_is_the_peak_of_the_site(contrast, peak):
    protocol = protocol_of(contrast, matrices=((99, 160),), n_slices=(3,))
    plan, _ = simulated(site_of(peak=(peak, peak)), protocol)
    found = float(noiseless(simulate_slice(plan, 1)).abs().max())
    assert found == pytest.approx(peak, rel=0.1)


def test_gains_of_receivers_act_on_signal_and_noise_alike():
    plan = plan_scan(recipe_of(site_of(n_virtual=14, gain_spread=0.5)))
    gains = plan.mixing.diagonal()
    assert float(gains.abs().max() / gains.abs().min()) > 1.3
    before = plan.covariance / torch.outer(gains, gains.conj())
    before = before / before.diagonal().real.mean()
    assert_close(before.diagonal().real, torch.ones(14), rtol=1e-4, atol=0)
    assert float(before.imag.abs().max()) < 1e-4


def test_virtual_coils_mix_signal_and_noise_alike():
    full, few = (plan_scan(recipe_of(site_of(n_virtual=n, gain_spread=0.5))) for n in (14, 6))
    mix = few.mixing @ torch.linalg.inv(full.mixing)
    assert_close(mix @ mix.mH, torch.eye(6, dtype=mix.dtype), rtol=0, atol=1e-4)
    expected = mix @ noise_of(full) @ mix.mH
    assert_close(noise_of(few), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_a_voxel_of_half_the_size_in_a_protocol_of_four_averages_has_the_same_noise():
    thick = plan_scan(recipe_of(protocol=protocol_of(thickness_mm=8.0)))
    thin = plan_scan(recipe_of(protocol=protocol_of(thickness_mm=4.0, averages=4.0)))
    assert_close(noise_of(thin), noise_of(thick), rtol=1e-4, atol=0)


@pytest.mark.parametrize("loop_radius_mm", [45.0, 60.0, 80.0])
def test_the_coils_see_the_heart_at_about_one_so_that_snr_means_that_of_the_image(loop_radius_mm):
    """No loop that happens to lie near a point of the sum may decide for all."""
    site = site_of(n_virtual=27, array=CoilArray((3, 5), (3, 4), loop_radius_mm, 22.0))
    random = torch.Generator().manual_seed(5)
    p = Points(*(35 * (2 * torch.rand(3, 4000, generator=random) - 1)))
    for patient in range(10):
        plan = plan_scan(recipe_of(site, patient=patient))
        currents = place_array(site.array, plan.subject.body.thorax)
        x, y, _ = magnetic_field(currents, p, wire_mm=WIRE_MM)
        seen = plan.mixing @ torch.complex(x, -y)
        assert 0.85 < float(seen.abs().square().sum(0).mean().sqrt()) < 1.05


def test_the_whole_scan_scales_by_powers_over_eleven_decades():
    reference = simulated(site_of(peak=(1.0, 1.0)))[1]
    for peak in (1e-3, 1e8):
        scaled = simulated(site_of(peak=(peak, peak)))[1]
        assert relative_error(scaled.kspace / peak, reference.kspace) < 1e-5
        assert_close(scaled.maps, reference.maps)


def test_the_same_recipe_gives_the_same_bytes():
    site = site_of(drift_mm=2.0, mistrigger=0.1, kspace_filter=KSpaceFilter(0.9, 0.2))
    for contrast in ("cine", "flow2d", "perfusion"):
        one, again = (simulated(site, protocol_of(contrast)) for _ in range(2))
        assert same_bytes(one[1], again[1])
        scans = [noise_scan(plan).numpy().tobytes() for plan, _ in (one, again)]
        assert scans[0] == scans[1]


def test_slices_do_not_depend_on_the_order_in_which_they_are_made():
    plan = plan_scan(recipe_of(protocol=protocol_of(n_slices=(3,))))
    forwards = [simulate_slice(plan, index) for index in (0, 1, 2)]
    backwards = [simulate_slice(plan, index) for index in (2, 1, 0)]
    assert all(same_bytes(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert relative_error(forwards[0].truth, forwards[2].truth) > 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"patient": 1},
        {"cohort": Cohort.TEST},
        {"cohort": Cohort.TUNE},
        {"site": site_of(scanner="Other.sim")},
        {"site": site_of(center="Center901")},
    ],
    ids=str,
)
def test_another_seed_patient_cohort_or_site_is_another_patient(change):
    plan, one = simulated()
    other_plan, other = simulated(**change)
    assert plan.subject.body.heart != other_plan.subject.body.heart
    assert plan.subject.body.thorax != other_plan.subject.body.thorax
    assert relative_error(other.truth.abs(), one.truth.abs()) > 0.1
    assert relative_error(other.kspace, one.kspace) > 0.1


def test_no_two_scans_of_the_sites_of_the_program_share_a_patient():
    bodies = [
        plan_scan(ScanRecipe(site, site.protocols[0], 0, 0, cohort)).subject.body.heart
        for site in SITES
        for cohort in Cohort
    ]
    assert len(set(bodies)) == len(SITES) * len(Cohort)


def test_a_patient_is_the_same_in_every_protocol():
    bodies = [
        simulated(protocol=protocol_of(contrast))[0].subject.body
        for contrast in ("cine", "lge", "T1map")
    ]
    for other in bodies[1:]:
        assert other.heart == bodies[0].heart
        assert other.thorax == bodies[0].thorax
        assert torch.equal(other.texture.block, bodies[0].texture.block)


@pytest.mark.parametrize("n_y", [40, 41])
@pytest.mark.parametrize(("resolution", "partial"), [(1.0, 0.75), (0.8, 1.0), (0.8, 0.7)])
def test_what_was_not_measured_is_exactly_zero_and_nothing_else(n_y, resolution, partial):
    site = site_of(kspace_filter=KSpaceFilter(resolution), partial_fourier=partial)
    plan, one = simulated(site, protocol_of(matrices=((n_y, 48),)))
    n_kept, n_left_out = round(resolution * n_y), round((1 - partial) * n_y)
    first = n_y // 2 - n_kept // 2
    expected = [max(first, n_left_out) <= line < first + n_kept for line in range(n_y)]
    assert measured_lines(plan).tolist() == expected
    is_measured = torch.tensor(expected)
    assert not one.kspace[..., ~is_measured, :].any()
    assert bool((one.kspace[..., is_measured, :] != 0).all())
    assert n_y // 2 in is_measured.nonzero()


def test_partial_fourier_leaves_the_truth_alone_and_zero_filling_does_not():
    plain = simulated()[1]
    partial = simulated(site_of(partial_fourier=0.7))[1]
    assert torch.equal(partial.truth, plain.truth)
    coarse = simulated(site_of(kspace_filter=KSpaceFilter(phase_resolution=0.6)))[1]
    spectrum = fft2c(coarse.truth[:, None])[:, 0].abs()
    n_empty = 16 - round(0.6 * 32) // 2
    assert float(spectrum[:, :n_empty].max()) < 1e-5 * float(spectrum.max())
    assert relative_error(coarse.truth, plain.truth) > 1e-3


def test_a_filter_weights_signal_and_noise_alike():
    rolled = KSpaceFilter(roll_off=1.0)
    plan, one = simulated(site_of(kspace_filter=rolled, snr=3.0), protocol_of(n_frames=(40,)))
    power = (one.kspace - noiseless(one)).abs().square().mean((0, 1))
    power = power / plan.covariance.diagonal().real.mean()
    k = (torch.arange(48) - 24).abs() / 24
    window = 0.5 * (1 + torch.cos(torch.pi * k))
    assert_close(power[16] / power[16, 24], window.square(), rtol=0, atol=0.25)
    assert float(power[16, 22:27].mean()) == pytest.approx(1, abs=0.15)
    assert float(power[2:5, 4:8].mean()) < 0.01


@pytest.mark.parametrize("error", [{"drift_mm": 4.0}, {"mistrigger": 0.4}])
def test_beats_that_differ_contradict_the_truth_in_a_cine(error):
    quiet = {"snr": 1e9}
    cine = protocol_of("cine", n_frames=(12,), matrices=((64, 96),), views=("4ch",))
    still = simulated(site_of(**quiet), cine)[1]
    moving = simulated(site_of(**quiet, **error), cine)[1]
    assert torch.equal(moving.truth, still.truth)
    assert relative_error(moving.kspace, noiseless(moving)) > 3e-3
    energy = float(moving.kspace.norm() / still.kspace.norm())
    assert energy == pytest.approx(1, abs=0.05)


def test_a_cine_beats_and_a_single_moment_does_not():
    cine = simulated(protocol=protocol_of("cine", n_frames=(8,)))[1].truth.abs()
    assert float(cine.std(0).max()) > 0.05 * float(cine.max())
    black = simulated(protocol=protocol_of("blackblood", n_frames=(2,)))[1].truth
    assert torch.equal(black[0], black[1])


def test_flow_turns_the_phase_of_the_second_image_in_the_aorta_only():
    flow = protocol_of("flow2d", views=("axial",), n_slices=(12,), matrices=((64, 128),), te_ms=2.6)
    plan = plan_scan(recipe_of(protocol=flow))
    systole = simulate_slice(plan, 2).truth
    is_bright = systole[0].abs() > 0.1 * systole.abs().max()
    turned = (systole[1] * systole[0].conj()).angle()[is_bright]
    assert float(turned.abs().max()) > 0.5
    assert float((turned.abs() > 0.1).float().mean()) < 0.2
    rows = torch.arange(64.0)[:, None].expand(64, 128)[is_bright]  # front to back
    assert float(rows[turned > 0.2].mean()) < float(rows[turned < -0.2].mean())


def some_images(n=3, size=256):
    axis = torch.arange(size) - size / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    r = torch.hypot(y, x)
    body = 0.3 * (r < 90) + 0.5 * ((r < 70) & (torch.sin(x / 9) > 0)) + 0.1 * (r < 30)
    return torch.stack([body * (0.8 + 0.1 * index) for index in range(n)]).clamp(0, 1)


@pytest.mark.parametrize("contrast", ["cine", "T1map", "flow2d"])
def test_images_of_a_real_patient_serve_as_anatomy(contrast):
    protocol = protocol_of(contrast, n_slices=(5,))
    plan = plan_scan(recipe_of(protocol=protocol), some_images(size=96))
    for index in (0, 4):  # more slices than images
        one = simulate_slice(plan, index)
        assert one.truth.shape == (2, 32, 48)
        assert bool(one.kspace.isfinite().all())
        combined = reduce_coils(ifft2c(noiseless(one)), one.maps)
        assert relative_error(combined, one.truth) < 1e-5


def test_images_replace_the_procedural_anatomy_and_keep_coils_and_noise():
    protocol = protocol_of(matrices=((64, 128),))
    plan, procedural = simulated(protocol=protocol)
    own_plan, own = simulated(protocol=protocol, images=some_images())
    assert torch.equal(own.maps, procedural.maps)
    assert_close(noise_of(own_plan), noise_of(plan), rtol=1e-5, atol=0)
    y = (torch.arange(64) - 32)[:, None] * 300 / 64
    x = (torch.arange(128) - 64) * 640 / 128
    away_mm = torch.hypot(y, x)
    size = own.truth[0].abs()
    assert float(size[away_mm > 140].mean()) < 0.05 * float(size[away_mm < 100].mean())
    assert float(procedural.truth[0].abs()[away_mm > 140].mean()) > 0.05 * float(
        procedural.truth[0].abs()[away_mm < 100].mean()
    )


def test_a_device_may_be_named():
    plan = plan_scan(recipe_of())
    assert same_bytes(simulate_slice(plan, 0), simulate_slice(plan, 0, "cpu"))


def test_voxels_fill_the_field_of_view_and_slices_are_a_gap_apart():
    protocol = protocol_of(n_slices=(4,), matrices=((60, 128),))
    many = plan_scan(recipe_of(protocol=protocol))
    one = plan_scan(recipe_of(protocol=replace(protocol, n_slices=(1,))))
    assert one.voxel_size_mm == (5.0, 5.0, 8.0)
    assert many.voxel_size_mm[:2] == (5.0, 5.0)
    assert many.voxel_size_mm[2] > 8.0


@for_every_scan
def test_every_protocol_of_every_site_has_the_sizes_of_its_plan(site, protocol):
    plan, one = of_site(EVERY_SCAN.index((site, protocol)))
    sizes = plan.sizes
    assert one.truth.shape == (sizes.n_frames, *sizes.matrix)
    assert one.maps.shape == (plan.n_coils, *sizes.matrix)
    assert one.kspace.shape == (sizes.n_frames, plan.n_coils, *sizes.matrix)
    assert one.truth.dtype == one.maps.dtype == one.kspace.dtype == torch.complex64
    assert sizes.view in protocol.views
    assert sizes.n_frames == min(2, max(protocol.n_frames))


@for_every_scan
def test_every_protocol_of_every_site_shows_something(site, protocol):
    plan, one = of_site(EVERY_SCAN.index((site, protocol)))
    for part in (one.truth, one.maps, one.kspace, plan.covariance):
        assert bool(part.isfinite().all())
    for frame in one.truth.abs():
        assert float(frame.std()) > 0.1 * float(frame.mean()) > 0
    assert_close(one.maps.abs().square().sum(0), torch.ones(plan.sizes.matrix), rtol=0, atol=1e-5)
    is_measured = measured_lines(plan)
    assert not one.kspace[..., ~is_measured, :].any()
    assert bool(one.kspace[..., is_measured, :].any(-1).all())
    assert float(torch.linalg.eigvalsh(plan.covariance / plan.covariance.abs().max())[0]) > 0


@for_every_scan
def test_every_protocol_of_every_site_without_filter_combines_to_the_truth(site, protocol):
    _, one = of_site(EVERY_SCAN.index((site, protocol)))
    combined = reduce_coils(ifft2c(noiseless(one)), one.maps)
    assert relative_error(combined, one.truth) < 1e-5


def test_the_sites_of_the_program_span_nine_decades_and_odd_and_even_sizes():
    scans = [of_site(index) for index in range(len(EVERY_SCAN))]
    peaks = [float(one.kspace.abs().max()) for _, one in scans]
    assert max(peaks) / min(peaks) > 1e9
    sizes = [plan.sizes for plan, _ in scans]
    assert {size.matrix[0] % 2 for size in sizes} == {0, 1}
    assert {plan.recipe.protocol.contrast for plan, _ in scans} == set(CONTRASTS)
