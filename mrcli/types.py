"""The shapes that arrays have, named once; signatures use these names.

Per slice, all frames together, the canonical order is ``(frame, coil, y, x)``: ``y`` is the phase
encode direction, ``x`` the readout. ``docs/conventions.md`` has origin, sign and scale.
"""

from jaxtyping import Bool, Complex, Float
from torch import Tensor

Image = Complex[Tensor, "*batch y x"]
Magnitude = Float[Tensor, "*batch y x"]
CoilImages = Complex[Tensor, "*batch coil y x"]
KSpace = Complex[Tensor, "*batch coil y x"]
CroppedKSpace = Complex[Tensor, "*batch coil y cropped"]  # x without readout oversampling
SensitivityMaps = Complex[Tensor, "*maps_batch coil y x"]
SamplingMask = Bool[Tensor, "*mask_batch 1 y readout"]  # readout is x, or 1: constant along x
EncodingMask = Bool[Tensor, "*mask_batch 1 y mask_readout"]  # of data already transformed
NoiseSamples = Complex[Tensor, "coil sample"]
CoilMatrix = Complex[Tensor, "coil coil"]
