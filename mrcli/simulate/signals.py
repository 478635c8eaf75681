"""Signal equations: the transverse magnetisation of a tissue under a sequence, equilibrium 1.

All functions broadcast; angles are in degrees at the border, times in milliseconds. A signal is
complex where its phase carries information, real and signed where it does not.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Values = Float[Tensor, "..."]
Signal = Complex[Tensor, "..."]


def balanced_ssfp(
    flip_deg: Values, tr_ms: Values, t1_ms: Values, t2_ms: Values, off_resonance_hz: Values
) -> Signal:
    """Return the steady state of balanced SSFP at ``TE = TR / 2``, phase-alternated pulses.

    The elliptical signal model (Xiang 2014, doi:10.1002/mrm.25098):
    ``M (1 - a exp(i theta)) / (1 - b cos(theta))`` right after the pulse, with ``theta`` half a
    turn from the precession per TR; it decays and refocuses until the echo.
    """
    e1, e2 = torch.exp(-tr_ms / t1_ms), torch.exp(-tr_ms / t2_ms)
    alpha = torch.deg2rad(flip_deg)
    cos = torch.cos(alpha)
    turn = 2 * torch.pi * off_resonance_hz * tr_ms / 1000
    theta = turn + torch.pi
    denominator = 1 - e1 * cos - e2.square() * (e1 - cos)
    size = (1 - e1) * torch.sin(alpha) / denominator
    b = e2 * (1 - e1) * (1 + cos) / denominator
    after_pulse = size * (1 - e2 * torch.exp(-1j * theta)) / (1 - b * torch.cos(theta))
    return after_pulse * torch.exp(1j * turn / 2) * torch.sqrt(e2)


def spoiled_gradient_echo(
    flip_deg: Values, tr_ms: Values, te_ms: Values, t1_ms: Values, t2star_ms: Values
) -> Values:
    """Return ``sin a (1 - E1) / (1 - E1 cos a) exp(-TE / T2*)`` (Ernst 1966)."""
    e1, alpha = torch.exp(-tr_ms / t1_ms), torch.deg2rad(flip_deg)
    steady = torch.sin(alpha) * (1 - e1) / (1 - e1 * torch.cos(alpha))
    return steady * torch.exp(-te_ms / t2star_ms)


def spin_echo(tr_ms: Values, te_ms: Values, t1_ms: Values, t2_ms: Values) -> Values:
    """Return ``(1 - exp(-TR / T1)) exp(-TE / T2)``."""
    return (1 - torch.exp(-tr_ms / t1_ms)) * torch.exp(-te_ms / t2_ms)


def inversion_recovery(
    ti_ms: Values, tr_ms: Values, t1_ms: Values, *, efficiency: float = 1.0
) -> Values:
    """Return ``Mz`` a time TI after an inversion that is repeated every TR, signed.

    ``1 - (1 + f) exp(-TI / T1) / (1 + f exp(-TR / T1))``, `f` the efficiency of the inversion: the
    steady state of inversions alone, the readout's own disturbance left out.
    """
    decay = torch.exp(-ti_ms / t1_ms)
    return 1 - (1 + efficiency) * decay / (1 + efficiency * torch.exp(-tr_ms / t1_ms))


def saturation_recovery(delay_ms: Values, t1_ms: Values) -> Values:
    """Return ``Mz = 1 - exp(-TD / T1)`` after a saturation."""
    return 1 - torch.exp(-delay_ms / t1_ms)


def double_inversion(ti_ms: Values, tr_ms: Values, t1_ms: Values, refilled: Values) -> Values:
    """Return ``Mz`` after a double inversion: inverted blood that has refilled the slice is dark.

    Still tissue is inverted twice and stays at its equilibrium of ``1 - exp(-TR / T1)``; the share
    `refilled` was inverted once (Edelman 1991, doi:10.1148/radiology.181.3.1947077).
    """
    at_rest = 1 - torch.exp(-tr_ms / t1_ms)
    return (1 - refilled) * at_rest + refilled * inversion_recovery(ti_ms, tr_ms, t1_ms)


def look_locker(
    ti_ms: Values, flip_deg: Values, t1_ms: Values, t2_ms: Values, *, efficiency: float = 0.96
) -> Values:
    """Return the approach to the steady state of balanced SSFP after an inversion, signed.

    ``S_ss (1 - INV exp(-t / T1*))`` with ``1/T1* = cos^2(a/2)/T1 + sin^2(a/2)/T2`` (Schmitt 2004,
    doi:10.1002/mrm.20058); the result is relative to what
    ``sin(a/2)`` gives without any preparation.
    """
    half = torch.deg2rad(flip_deg) / 2
    cos2, sin2 = torch.cos(half).square(), torch.sin(half).square()
    apparent_t1_ms = 1 / (cos2 / t1_ms + sin2 / t2_ms)
    steady = torch.cos(half) / (cos2 + sin2 * t1_ms / t2_ms)
    inversion = 1 + efficiency / steady
    return steady * (1 - inversion * torch.exp(-ti_ms / apparent_t1_ms))


def prepared_decay(duration_ms: Values, constant_ms: Values) -> Values:
    """Return ``exp(-t / T)``: what a T2 preparation or a spin lock leaves."""
    return torch.exp(-duration_ms / constant_ms)


def with_contrast_agent(
    t1_ms: Values, concentration_mm: Values, *, relaxivity_per_mm_s: float = 4.5
) -> Values:
    """Return T1 with a contrast agent: ``1/T1 + r1 C``, C in millimole per litre."""
    return 1 / (1 / t1_ms + relaxivity_per_mm_s * concentration_mm / 1000)


def gamma_variate(time_s: Values, arrival_s: Values, width_s: Values) -> Values:
    """Return a bolus with its peak of 1 a time `width` after `arrival`, 0 before.

    ``(t / w)^3 exp(3 (1 - t / w))`` (Thompson 1964, doi:10.1161/01.RES.14.6.502).
    """
    relative = ((time_s - arrival_s) / width_s).clamp(min=0)
    return relative**3 * torch.exp(3 * (1 - relative))


def phase_contrast(velocity_cm_s: Values, venc_cm_s: Values) -> Signal:
    """Return ``exp(i pi v / venc)``."""
    return torch.exp(1j * torch.pi * velocity_cm_s / venc_cm_s)
