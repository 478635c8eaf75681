"""Contrast: what each tissue gives in each frame of a protocol, and where in the slice.

The signal of a tissue is ``preparation(tissue, frame) * readout(tissue, y, x)``: what happens
before the readout differs from frame to frame, what the readout makes of it differs from place to
place with off-resonance and transmit field.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mrcli.simulate import signals
from mrcli.simulate.tissues import BLOOD, Relaxation, Tissue, relaxation

Preparation = Float[Tensor, "tissue frame"]
Readout = Complex[Tensor, "tissue y x"]
Plane = Float[Tensor, "y x"]

_HZ_PER_PPM_T = 42.577  # of protons
_FRESH_BLOOD = 0.4  # share of the blood in a slice that no pulse has reached yet
_RR_MS = 900.0  # one heart beat
_AGENT_LATE_MM = 0.32  # in blood, 10 to 20 minutes after the injection
_AGENT_BOLUS_MM = 3.5  # at the peak of the first pass


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Conditions:
    """Where the readout happens: field strength, off-resonance and transmit field of the slice."""

    field_strength_t: float
    off_resonance_hz: Plane
    transmit: Plane  # of the flip angle asked for

    def of(self, tissue: Tissue) -> Relaxation:
        """Return the properties of a tissue at this field."""
        return relaxation(tissue, self.field_strength_t)

    def shifted_hz(self, tissue: Tissue) -> Plane:
        """Return the off-resonance of a tissue, chemical shift included."""
        shift_hz = self.of(tissue).shift_ppm * _HZ_PER_PPM_T * self.field_strength_t
        return self.off_resonance_hz + shift_hz


@dataclass(frozen=True, eq=False)
class Contrast:
    """The signal of every tissue, in parts; see the module."""

    preparation: Preparation
    readout: Readout


@dataclass(frozen=True)
class Timing:
    """What a site sets for a protocol; times in milliseconds."""

    flip_deg: float
    tr_ms: float
    te_ms: float
    n_frames: int


ContrastOf = Callable[[Timing, Conditions], Contrast]


def cine(timing: Timing, place: Conditions) -> Contrast:
    """Balanced SSFP in its steady state; blood that just flowed in is brighter."""
    readout, start = _balanced_readout(timing, place), _start_of_balanced(timing, place)
    for tissue in BLOOD:
        readout[tissue] = (1 - _FRESH_BLOOD) * readout[tissue] + _FRESH_BLOOD * start[tissue]
    return Contrast(torch.ones(len(Tissue), timing.n_frames), readout)


def late_enhancement(timing: Timing, place: Conditions) -> Contrast:
    """Inversion recovery with healthy muscle nulled, signed; the second frame is the reference."""
    t1 = _t1_with_agent(place, _AGENT_LATE_MM)
    tr = torch.tensor(2 * _RR_MS)
    healthy = t1[Tissue.MYOCARDIUM]
    null_ms = healthy * torch.log(2 / (1 + torch.exp(-tr / healthy)))
    recovered = signals.inversion_recovery(null_ms, tr, t1, efficiency=0.98)
    reference = 0.6 * (1 - torch.exp(-2 * tr / t1))  # a small flip angle later, nearly at rest
    series = [recovered if frame % 2 == 0 else reference for frame in range(timing.n_frames)]
    return Contrast(torch.stack(series, 1), _gradient_echo_readout(timing, place))


def t1_map(timing: Timing, place: Conditions) -> Contrast:
    """Look-Locker images after inversions, sorted by inversion time."""
    return _recovery(timing, place, _t1_with_agent(place, 0.0))


def t1_map_post(timing: Timing, place: Conditions) -> Contrast:
    """Look-Locker images after contrast agent."""
    return _recovery(timing, place, _t1_with_agent(place, _AGENT_LATE_MM))


def t2_map(timing: Timing, place: Conditions) -> Contrast:
    """T2-prepared balanced SSFP, from no preparation up to 55 ms."""
    t2 = _per_tissue(place, "t2_ms")
    durations = torch.linspace(0, 55, timing.n_frames)
    prepared = signals.prepared_decay(durations, t2[:, None])
    return Contrast(prepared, _start_of_balanced(timing, place))


def t1rho_map(timing: Timing, place: Conditions) -> Contrast:
    """Spin-locked balanced SSFP, from no lock up to 50 ms."""
    t1rho = _per_tissue(place, "t1rho_ms")
    locks = torch.linspace(0, 50, timing.n_frames)
    prepared = signals.prepared_decay(locks, t1rho[:, None])
    return Contrast(prepared, _start_of_balanced(timing, place))


def perfusion(timing: Timing, place: Conditions) -> Contrast:
    """First pass: right heart, then left, then muscle; saturation recovery, one frame a beat."""
    time_s = torch.arange(timing.n_frames) * _RR_MS / 1000
    agent = _first_pass(time_s)
    t1 = signals.with_contrast_agent(_per_tissue(place, "t1_ms")[:, None], agent)
    recovered = signals.saturation_recovery(torch.tensor(110.0), t1)
    return Contrast(recovered, _gradient_echo_readout(timing, place))


def flow(timing: Timing, place: Conditions) -> Contrast:
    """Spoiled gradient echo, blood bright by inflow; the velocity is put in by whoever knows it."""
    t1 = _per_tissue(place, "t1_ms")
    flip = torch.tensor(timing.flip_deg)
    steady = signals.spoiled_gradient_echo(
        flip, torch.tensor(timing.tr_ms), torch.tensor(0.0), t1, torch.tensor(math.inf)
    )
    steady = steady / torch.sin(torch.deg2rad(flip))
    for tissue in BLOOD:
        steady[tissue] = (1 - _FRESH_BLOOD) * steady[tissue] + _FRESH_BLOOD
    return Contrast(
        steady[:, None].expand(-1, timing.n_frames).clone(), _gradient_echo_readout(timing, place)
    )


def black_blood(timing: Timing, place: Conditions) -> Contrast:
    """Double inversion and spin echo: blood is dark where it has left the slice."""
    t1 = _per_tissue(place, "t1_ms")
    tr = torch.tensor(2 * _RR_MS)
    blood = t1[Tissue.LEFT_BLOOD]
    null_ms = blood * torch.log(2 / (1 + torch.exp(-tr / blood)))
    refilled = torch.zeros(len(t1))
    for tissue in BLOOD:
        refilled[tissue] = 0.93
    weight = signals.double_inversion(null_ms, tr, t1, refilled).abs()
    return _echo(timing, place, weight)


def t1_weighted(timing: Timing, place: Conditions) -> Contrast:
    """Spin echo once a beat, short echo time."""
    return _echo(timing, place, 1 - torch.exp(-_RR_MS / _per_tissue(place, "t1_ms")))


def t2_weighted(timing: Timing, place: Conditions) -> Contrast:
    """Spin echo every third beat, long echo time."""
    return _echo(timing, place, 1 - torch.exp(-3 * _RR_MS / _per_tissue(place, "t1_ms")))


def _recovery(timing: Timing, place: Conditions, t1: Float[Tensor, " tissue"]) -> Contrast:
    # three inversions whose images are one beat apart, as in 5(3)3-like schemes
    starts_ms = torch.tensor([110.0, 190.0, 270.0])
    n = timing.n_frames
    times = starts_ms[torch.arange(n) % 3] + _RR_MS * (torch.arange(n) // 3)
    flip = torch.tensor(timing.flip_deg)
    t2 = _per_tissue(place, "t2_ms")[:, None]
    recovered = signals.look_locker(times.sort().values, 0.6 * flip, t1[:, None], t2)
    return Contrast(recovered, _start_of_balanced(timing, place))


def _first_pass(time_s: Float[Tensor, " frame"]) -> Preparation:
    """Return the concentration of contrast agent ``(tissue, frame)`` in millimole per litre."""

    def bolus(arrival_s: float, width_s: float) -> Float[Tensor, " frame"]:
        pass_ = signals.gamma_variate(time_s, torch.tensor(arrival_s), torch.tensor(width_s))
        return pass_ + 0.22 * torch.sigmoid((time_s - arrival_s - 2.5 * width_s) / 2)

    agent = torch.zeros(len(Tissue), len(time_s))
    agent[Tissue.RIGHT_BLOOD] = bolus(4.0, 4.0)
    agent[Tissue.LUNG] = 0.5 * bolus(6.5, 5.0)
    agent[Tissue.LEFT_BLOOD] = 0.8 * bolus(9.0, 5.0)
    agent[Tissue.MYOCARDIUM] = 0.17 * bolus(11.0, 8.5)
    agent[Tissue.SCAR] = 0.09 * bolus(12.5, 16.0)
    agent[Tissue.LIVER] = 0.12 * bolus(17.0, 14.0)
    agent[Tissue.MUSCLE] = 0.05 * bolus(14.0, 14.0)
    return _AGENT_BOLUS_MM * agent


def _t1_with_agent(place: Conditions, blood_mm: float) -> Float[Tensor, " tissue"]:
    agent = blood_mm * _per_tissue(place, "contrast_share")
    return signals.with_contrast_agent(_per_tissue(place, "t1_ms"), agent)


def _per_tissue(place: Conditions, name: str) -> Float[Tensor, " tissue"]:
    return torch.tensor([getattr(place.of(tissue), name) for tissue in Tissue])


def _balanced_readout(timing: Timing, place: Conditions) -> Readout:
    return torch.stack([_steady(timing, place, tissue) for tissue in Tissue])


def _steady(timing: Timing, place: Conditions, tissue: Tissue) -> Complex[Tensor, "y x"]:
    own, flip = place.of(tissue), timing.flip_deg * place.transmit
    tr, t1, t2 = (torch.tensor(value) for value in (timing.tr_ms, own.t1_ms, own.t2_ms))
    steady = signals.balanced_ssfp(flip, tr, t1, t2, place.shifted_hz(tissue))
    return own.proton_density * steady


def _start_of_balanced(timing: Timing, place: Conditions) -> Readout:
    """Return what a balanced readout right after a preparation sees, bands included."""
    readout = []
    for tissue in Tissue:
        own = place.of(tissue)
        steady = _steady(timing, place, tissue)
        tr, t1, t2 = (torch.tensor(value) for value in (timing.tr_ms, own.t1_ms, own.t2_ms))
        zero = torch.zeros(())
        passed = signals.balanced_ssfp(torch.tensor(timing.flip_deg), tr, t1, t2, zero)
        start = math.sin(math.radians(timing.flip_deg) / 2)
        readout.append(steady * (start / passed.abs()))
    return torch.stack(readout)


def _gradient_echo_readout(timing: Timing, place: Conditions) -> Readout:
    readout = []
    for tissue in Tissue:
        angle = 2 * torch.pi * place.shifted_hz(tissue) * timing.te_ms / 1000
        size = place.of(tissue).proton_density * torch.sin(
            torch.deg2rad(timing.flip_deg * place.transmit)
        )
        readout.append(torch.polar(size, angle))
    return torch.stack(readout)


def _echo(timing: Timing, place: Conditions, weight: Float[Tensor, " tissue"]) -> Contrast:
    decayed = weight * torch.exp(-timing.te_ms / _per_tissue(place, "t2_ms"))
    decayed[Tissue.FAT] *= 1.4  # trains of echoes keep fat bright: its coupling is undone
    density = _per_tissue(place, "proton_density")[:, None, None]
    pulses = torch.sin(torch.pi / 2 * place.transmit.clamp(max=1)) ** 3
    readout = (density.to(pulses.device) * pulses).to(torch.complex64)
    return Contrast(decayed[:, None].expand(-1, timing.n_frames).clone(), readout)


CONTRASTS: Mapping[str, ContrastOf] = MappingProxyType(
    {
        "cine": cine,
        "lge": late_enhancement,
        "T1map": t1_map,
        "T1mappost": t1_map_post,
        "T2map": t2_map,
        "T1rho": t1rho_map,
        "perfusion": perfusion,
        "flow2d": flow,
        "blackblood": black_blood,
        "T1w": t1_weighted,
        "T2w": t2_weighted,
    }
)
