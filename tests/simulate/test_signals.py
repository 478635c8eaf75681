"""Signal equations against magnetisation that is turned and relaxed step by step.

The simulations here know rotations, relaxation and nothing else, so that they share no algebra with
the closed forms that they check.
"""

import math

import pytest
import torch
from torch.testing import assert_close

from mrcli.simulate import signals

EXACT = {"rtol": 0, "atol": 1e-12}
TISSUES_MS = ((1000.0, 50.0), (1550.0, 240.0), (380.0, 70.0), (4000.0, 1400.0), (600.0, 590.0))


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def turn_about_y(angle):
    """Tip the equilibrium, along z, towards +x."""
    c, s, o = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    one = torch.ones_like(angle)
    rows = [[c, o, s, o], [o, one, o, o], [-s, o, c, o], [o, o, o, one]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def precess(time_ms, t1_ms, t2_ms, off_resonance_hz):
    """Turn ``x + iy`` by ``exp(2 pi i f t)`` while it decays and z recovers to 1."""
    angle = 2 * torch.pi * off_resonance_hz * time_ms / 1000
    e1, e2 = torch.exp(-time_ms / t1_ms), torch.exp(-time_ms / t2_ms)
    e1, e2, angle = torch.broadcast_tensors(e1, e2, angle)
    c, s, o = e2 * torch.cos(angle), e2 * torch.sin(angle), torch.zeros_like(angle)
    one = torch.ones_like(angle)
    rows = [[c, -s, o, o], [s, c, o, o], [o, o, e1, 1 - e1], [o, o, o, one]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def equilibrium(mz=1.0):
    return number([0.0, 0.0, mz, 1.0])[:, None]


def transverse(state):
    return torch.complex(state[..., 0, 0], state[..., 1, 0])


def steady_echo_by_rotations(flip_deg, tr_ms, t1_ms, t2_ms, off_resonance_hz):
    """Alternate the sign of the pulses 40 000 times; the echo follows a pulse that tips to +x."""
    alpha = torch.deg2rad(flip_deg)
    wait = precess(tr_ms, t1_ms, t2_ms, off_resonance_hz)
    two_pulses = turn_about_y(alpha) @ wait @ turn_about_y(-alpha) @ wait
    state = torch.linalg.matrix_power(two_pulses, 20_000) @ equilibrium()
    return transverse(precess(tr_ms / 2, t1_ms, t2_ms, off_resonance_hz) @ state)


@pytest.mark.parametrize(("t1_ms", "t2_ms"), TISSUES_MS)
@pytest.mark.parametrize("tr_ms", [2.7, 5.0])
def test_balanced_ssfp_is_the_fixed_point_of_rotations_and_relaxation(t1_ms, t2_ms, tr_ms):
    flip_deg = number([3.0, 28.0, 60.0, 90.0, 150.0])[:, None]
    off_resonance_hz = torch.linspace(-450, 450, 61, dtype=torch.float64)
    arguments = flip_deg, number(tr_ms), number(t1_ms), number(t2_ms), off_resonance_hz
    assert_close(
        signals.balanced_ssfp(*arguments),
        steady_echo_by_rotations(*arguments),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize(("t1_ms", "t2_ms"), TISSUES_MS)
def test_balanced_ssfp_on_resonance_is_the_textbook_formula(t1_ms, t2_ms):
    flip_deg, tr_ms = torch.linspace(1, 179, 40, dtype=torch.float64), number(4.0)
    e1, e2 = math.exp(-4 / t1_ms), math.exp(-4 / t2_ms)
    alpha = torch.deg2rad(flip_deg)
    textbook = torch.sin(alpha) * (1 - e1) / (1 - (e1 - e2) * torch.cos(alpha) - e1 * e2)
    echo = signals.balanced_ssfp(flip_deg, tr_ms, number(t1_ms), number(t2_ms), number(0.0))
    assert_close(echo.real, textbook * math.sqrt(e2), **EXACT)
    assert_close(echo.imag, torch.zeros_like(alpha), **EXACT)


@pytest.mark.parametrize(("t1_ms", "t2_ms"), TISSUES_MS)
def test_balanced_ssfp_is_at_best_half_the_root_of_t2_over_t1(t1_ms, t2_ms):
    tr_ms, flip_deg = number(0.001), torch.linspace(1, 179, 3561, dtype=torch.float64)
    size = signals.balanced_ssfp(flip_deg, tr_ms, number(t1_ms), number(t2_ms), number(0.0)).abs()
    best_deg = math.degrees(math.acos((t1_ms / t2_ms - 1) / (t1_ms / t2_ms + 1)))
    assert float(size.max()) == pytest.approx(0.5 * math.sqrt(t2_ms / t1_ms), rel=1e-4)
    assert float(flip_deg[size.argmax()]) == pytest.approx(best_deg, abs=0.1)


def test_balanced_ssfp_repeats_every_1_over_tr_with_its_sign_turned():
    tr_ms = number(3.2)
    off_resonance_hz = torch.linspace(-400, 400, 33, dtype=torch.float64)
    echoes = [
        signals.balanced_ssfp(number(40.0), tr_ms, number(990.0), number(52.0), frequency)
        for frequency in (off_resonance_hz, off_resonance_hz + 1000 / tr_ms)
    ]
    assert_close(echoes[1], -echoes[0], **EXACT)


@pytest.mark.parametrize(("t1_ms", "t2_ms"), TISSUES_MS[:3])
def test_bands_of_balanced_ssfp_lie_half_a_turn_per_tr_away(t1_ms, t2_ms):
    tr_ms = number(3.0)
    off_resonance_hz = torch.linspace(0, 1000 / 3.0, 401, dtype=torch.float64)
    echo = signals.balanced_ssfp(
        number(60.0), tr_ms, number(t1_ms), number(t2_ms), off_resonance_hz
    )
    assert int(echo.abs().argmin()) == 200
    assert float(echo[200].abs()) < 0.12 * float(echo[0].abs())
    assert float(echo[190].real) > 0 > float(echo[210].real)  # opposed on either side


@pytest.mark.parametrize("flip_deg", [5.0, 12.0, 70.0])
def test_spoiled_gradient_echo_is_the_fixed_point_of_pulses_without_memory(flip_deg):
    tr_ms, te_ms, t1_ms, t2star_ms = 6.0, 2.4, 900.0, 30.0
    mz, e1 = 1.0, math.exp(-tr_ms / t1_ms)
    for _ in range(6000):
        mz = 1 + (mz * math.cos(math.radians(flip_deg)) - 1) * e1
    echo = mz * math.sin(math.radians(flip_deg)) * math.exp(-te_ms / t2star_ms)
    found = signals.spoiled_gradient_echo(
        number(flip_deg), number(tr_ms), number(te_ms), number(t1_ms), number(t2star_ms)
    )
    assert float(found) == pytest.approx(echo, rel=1e-12)


def test_spoiled_gradient_echo_is_brightest_at_the_ernst_angle():
    tr_ms, t1_ms = number(8.0), number([300.0, 1000.0, 2500.0])[:, None]
    flip_deg = torch.linspace(0.5, 60, 5951, dtype=torch.float64)
    size = signals.spoiled_gradient_echo(flip_deg, tr_ms, number(0.0), t1_ms, number(math.inf))
    ernst_deg = torch.rad2deg(torch.acos(torch.exp(-tr_ms / t1_ms)))[:, 0]
    assert_close(flip_deg[size.argmax(1)], ernst_deg, rtol=0, atol=0.011)
    best = torch.tan(torch.deg2rad(ernst_deg) / 2)  # sin a (1 - cos a) / sin^2 a
    assert_close(size.amax(1), best, rtol=1e-6, atol=0)


def test_spin_echo_is_recovery_times_decay():
    echo = signals.spin_echo(number(800.0), number(36.0), number(1000.0), number(45.0))
    assert float(echo) == pytest.approx((1 - math.exp(-0.8)) * math.exp(-0.8), rel=1e-12)


@pytest.mark.parametrize("tr_ms", [700.0, 1800.0, 1e6])
def test_inversion_recovery_is_nulled_where_the_textbook_says(tr_ms):
    t1_ms = number([250.0, 500.0, 1550.0])
    null_ms = t1_ms * torch.log(2 / (1 + torch.exp(-tr_ms / t1_ms)))
    nulled = signals.inversion_recovery(null_ms, number(tr_ms), t1_ms)
    assert_close(nulled, torch.zeros(3, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize("efficiency", [1.0, 0.96, 0.5])
def test_inversion_recovery_is_the_fixed_point_of_inversions(efficiency):
    ti_ms, tr_ms, t1_ms = 280.0, 900.0, 1160.0
    before = 1.0
    for _ in range(200):
        before = 1 - (1 + efficiency * before) * math.exp(-tr_ms / t1_ms)
    at_ti = 1 - (1 + efficiency * before) * math.exp(-ti_ms / t1_ms)
    found = signals.inversion_recovery(
        number(ti_ms), number(tr_ms), number(t1_ms), efficiency=efficiency
    )
    assert float(found) == pytest.approx(at_ti, abs=1e-12)


def test_recovery_from_saturation_starts_at_zero_and_forgets_in_steps():
    t1_ms, first, second = number(1160.0), number(110.0), number(240.0)
    assert float(signals.saturation_recovery(number(0.0), t1_ms)) == 0
    assert float(signals.saturation_recovery(t1_ms, t1_ms)) == pytest.approx(1 - math.exp(-1))
    left = [1 - signals.saturation_recovery(delay, t1_ms) for delay in (first, second)]
    both = signals.saturation_recovery(first + second, t1_ms)
    assert_close(both, 1 - left[0] * left[1], **EXACT)


def test_blood_that_refilled_after_a_double_inversion_is_nulled_and_still_tissue_is_untouched():
    tr_ms, blood_ms, muscle_ms = number(1800.0), number(1560.0), number(990.0)
    null_ms = blood_ms * torch.log(2 / (1 + torch.exp(-tr_ms / blood_ms)))
    full, none = number(1.0), number(0.0)
    assert abs(float(signals.double_inversion(null_ms, tr_ms, blood_ms, full))) < 1e-12
    still = 1 - torch.exp(-tr_ms / muscle_ms)
    for ti_ms in (number(10.0), null_ms, number(1000.0)):
        assert_close(signals.double_inversion(ti_ms, tr_ms, muscle_ms, none), still, **EXACT)
    half = signals.double_inversion(null_ms, tr_ms, blood_ms, number(0.5))
    assert_close(half, 0.5 * (1 - torch.exp(-tr_ms / blood_ms)), **EXACT)


def echoes_after_an_inversion(flip_deg, tr_ms, t1_ms, t2_ms, efficiency, n_echoes):
    """Half a pulse, then pulses of alternating sign: echoes relative to ``sin(a / 2)``."""
    alpha = torch.deg2rad(number(flip_deg))
    half_wait = precess(number(tr_ms / 2), number(t1_ms), number(t2_ms), number(0.0))
    state = half_wait @ turn_about_y(-alpha / 2) @ equilibrium(-efficiency)
    echoes, sign = [], 1
    for _ in range(n_echoes):
        state = half_wait @ turn_about_y(sign * alpha) @ state
        echoes.append(sign * transverse(state).real / torch.sin(alpha / 2))
        state, sign = half_wait @ state, -sign
    return torch.stack(echoes)


@pytest.mark.parametrize("flip_deg", [20.0, 35.0, 60.0])
@pytest.mark.parametrize(("t1_ms", "t2_ms"), TISSUES_MS[:3])
def test_look_locker_follows_a_train_of_pulses_within_two_percent(flip_deg, t1_ms, t2_ms):
    tr_ms, n_echoes = 2.0, 1000
    train = echoes_after_an_inversion(flip_deg, tr_ms, t1_ms, t2_ms, 0.96, n_echoes)
    times_ms = (torch.arange(n_echoes, dtype=torch.float64) + 1) * tr_ms
    found = signals.look_locker(times_ms, number(flip_deg), number(t1_ms), number(t2_ms))
    assert float((found - train).abs().max()) < 0.02


@pytest.mark.parametrize(("t1_ms", "t2_ms"), TISSUES_MS)
def test_look_locker_starts_inverted_and_ends_in_the_steady_state_of_balanced_ssfp(t1_ms, t2_ms):
    flip_deg, t1_ms, t2_ms = number([10.0, 35.0, 70.0]), number(t1_ms), number(t2_ms)
    start = signals.look_locker(number(0.0), flip_deg, t1_ms, t2_ms, efficiency=0.9)
    assert_close(start, torch.full((3,), -0.9, dtype=torch.float64), **EXACT)
    end = signals.look_locker(number(1e6), flip_deg, t1_ms, t2_ms)
    steady = signals.balanced_ssfp(flip_deg, number(1e-4), t1_ms, t2_ms, number(0.0)).abs()
    assert_close(end, steady / torch.sin(torch.deg2rad(flip_deg) / 2), rtol=1e-5, atol=0)


def test_without_flip_look_locker_is_a_plain_inversion_recovery():
    times_ms = torch.linspace(0, 4000, 9, dtype=torch.float64)
    found = signals.look_locker(times_ms, number(0.0), number(1160.0), number(45.0))
    plain = signals.inversion_recovery(times_ms, number(1e9), number(1160.0), efficiency=0.96)
    assert_close(found, plain, **EXACT)


def test_a_preparation_leaves_one_over_e_after_its_time_constant():
    constant = number([45.0, 52.0])
    left = signals.prepared_decay(constant, constant)
    assert_close(left, torch.full((2,), math.exp(-1), dtype=torch.float64), **EXACT)
    assert float(signals.prepared_decay(number(0.0), number(45.0))) == 1


def test_rates_of_contrast_agents_add():
    t1_ms = number([1560.0, 990.0])
    twice = signals.with_contrast_agent(
        signals.with_contrast_agent(t1_ms, number(0.2)), number(0.3)
    )
    assert_close(twice, signals.with_contrast_agent(t1_ms, number(0.5)), rtol=1e-12, atol=0)
    one_mm = signals.with_contrast_agent(number(1000.0), number(1.0), relaxivity_per_mm_s=4.0)
    assert float(one_mm) == pytest.approx(200.0)  # 1 + 4 per second
    assert_close(signals.with_contrast_agent(t1_ms, number(0.0)), t1_ms)


def test_a_bolus_is_one_at_its_peak_and_nothing_before_it_arrives():
    time_s = torch.linspace(0, 40, 4001, dtype=torch.float64)
    bolus = signals.gamma_variate(time_s, number(6.5), number(4.0))
    assert float(time_s[bolus.argmax()]) == pytest.approx(10.5)
    assert float(bolus.max()) == pytest.approx(1, abs=1e-12)
    assert not bolus[time_s <= 6.5].any()
    assert bool((bolus[time_s > 6.5] > 0).all())


def test_the_phase_of_flow_is_half_a_turn_at_venc_and_wraps_beyond():
    venc, velocity = number(150.0), number([0.0, 75.0, -75.0, 149.0])
    signal = signals.phase_contrast(velocity, venc)
    assert_close(signal.angle(), torch.pi * velocity / venc, **EXACT)
    assert_close(signals.phase_contrast(velocity + 2 * venc, venc), signal, **EXACT)
    assert_close(signals.phase_contrast(venc, venc).real, number(-1.0), **EXACT)
