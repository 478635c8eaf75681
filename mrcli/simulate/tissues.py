"""Tissues of the thorax: relaxation, proton density and chemical shift, by field strength.

Measured at 1.5 and 3 T: muscle and arterial blood of Stanisz 2005 (doi:10.1002/mrm.20605), fat,
liver and marrow of de Bazelaire 2004 (doi:10.1148/radiol.2303021331), myocardium in vivo within
the normal values of Kawel-Boehm 2020 (doi:10.1186/s12968-020-00683-3). Lung, fluid, scar, the
shorter T2 of venous blood, T1rho a little above T2, and the proton densities are plausible choices.
Other fields follow the power law of Bottomley 1984 (doi:10.1118/1.595535) through both values; 5 T
is therefore an extrapolation.
"""

import math
from dataclasses import dataclass
from enum import IntEnum


class Tissue(IntEnum):
    """The kinds of tissue; their numbers index the first axis of `TissueFractions`."""

    LUNG = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    LIVER = 4
    FLUID = 5  # cerebrospinal, pericardial
    MYOCARDIUM = 6
    SCAR = 7
    LEFT_BLOOD = 8  # left heart, aorta
    RIGHT_BLOOD = 9  # right heart, veins, pulmonary artery


N_TISSUES = len(Tissue)
BLOOD = (Tissue.LEFT_BLOOD, Tissue.RIGHT_BLOOD)
FAT_SHIFT_PPM = -3.4  # main methylene peak against water


@dataclass(frozen=True)
class Relaxation:
    """What a tissue is to a sequence; times in milliseconds."""

    t1_ms: float
    t2_ms: float
    t1rho_ms: float
    proton_density: float  # of water's
    shift_ppm: float = 0.0
    contrast_share: float = 0.0  # contrast agent in the tissue over that in blood, steady state


@dataclass(frozen=True)
class _Measured:
    t1_ms: tuple[float, float]  # at 1.5 and 3 T
    t2_ms: tuple[float, float]
    proton_density: float
    t1rho_over_t2: float = 1.15
    shift_ppm: float = 0.0
    contrast_share: float = 0.0


# the share of contrast agent is the extracellular volume over that of blood (1 - haematocrit)
_MEASURED = {
    Tissue.LUNG: _Measured((1200, 1350), (40, 30), 0.16, contrast_share=0.3),
    Tissue.FAT: _Measured((343, 382), (58, 68), 0.90, 1.3, FAT_SHIFT_PPM, 0.05),
    Tissue.MUSCLE: _Measured((1008, 1412), (44, 50), 0.80, contrast_share=0.18),
    Tissue.BONE: _Measured((549, 586), (49, 49), 0.45, 1.2, 0.6 * FAT_SHIFT_PPM, 0.2),
    Tissue.LIVER: _Measured((586, 809), (46, 34), 0.80, contrast_share=0.45),
    Tissue.FLUID: _Measured((3500, 4000), (1400, 1100), 1.0),
    Tissue.MYOCARDIUM: _Measured((990, 1160), (52, 45), 0.80, contrast_share=0.47),
    Tissue.SCAR: _Measured((1120, 1290), (58, 51), 0.85, contrast_share=0.95),
    Tissue.LEFT_BLOOD: _Measured((1441, 1932), (290, 275), 0.95, contrast_share=1.0),
    Tissue.RIGHT_BLOOD: _Measured((1441, 1932), (190, 110), 0.95, contrast_share=1.0),
}


def relaxation(tissue: Tissue, field_strength_t: float) -> Relaxation:
    """Return the properties of a tissue at a field strength in tesla."""
    one = _MEASURED[tissue]
    t2_ms = _power_law(one.t2_ms, field_strength_t)
    return Relaxation(
        _power_law(one.t1_ms, field_strength_t),
        t2_ms,
        one.t1rho_over_t2 * t2_ms,
        one.proton_density,
        one.shift_ppm,
        one.contrast_share,
    )


def _power_law(measured_ms: tuple[float, float], field_strength_t: float) -> float:
    """Return ``T(B) = T(1.5) (B / 1.5)^p`` through the values at 1.5 and 3 T."""
    at_low, at_high = measured_ms
    power = math.log2(at_high / at_low)
    return at_low * (field_strength_t / 1.5) ** power
