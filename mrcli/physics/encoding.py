"""Cartesian SENSE encoding: the linear map from an image to its multi-coil k-space.

The model is ``y = M F S x``: the sensitivity maps ``S`` expand the image ``x`` over the coils,
``F`` is the centered unitary FFT, and the mask ``M`` keeps the acquired samples
(Pruessmann 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S).

A mask that is constant along the readout commutes with the transform over x. Then ``F_x^H y`` is
computed once (`decouple_readout_`) and the model needs transforms along y only, with the same image
as its answer. `CartesianEncoding.axes` says which of the two the operator is.
"""

from dataclasses import dataclass, replace

from torch import Tensor
from torch.fft import fftn, fftshift, ifftn, ifftshift

from mrcli.errors import ShapeError
from mrcli.types import (
    CoilImages,
    CroppedKSpace,
    EncodingMask,
    Image,
    KSpace,
    SamplingMask,
    SensitivityMaps,
)

Axes = tuple[int, ...]
YX: Axes = (-2, -1)
Y_ONLY: Axes = (-2,)
_X_ONLY: Axes = (-1,)
_COIL = -3


def fftc(coil_images: CoilImages, axes: Axes) -> KSpace:
    """Transform along `axes`, origin at ``n // 2``, kernel ``exp(-2 pi i k r / n) / sqrt(n)``."""
    return fftshift(fftn(ifftshift(coil_images, dim=axes), dim=axes, norm="ortho"), dim=axes)


def ifftc(kspace: KSpace, axes: Axes) -> CoilImages:
    """Transform back along `axes`; inverse and adjoint of `fftc`."""
    return fftshift(ifftn(ifftshift(kspace, dim=axes), dim=axes, norm="ortho"), dim=axes)


def fft2c(coil_images: CoilImages) -> KSpace:
    """Transform centered coil images to centered k-space."""
    return fftc(coil_images, YX)


def ifft2c(kspace: KSpace) -> CoilImages:
    """Transform centered k-space to centered coil images; inverse and adjoint of `fft2c`."""
    return ifftc(kspace, YX)


def expand_coils(image: Image, maps: SensitivityMaps) -> CoilImages:
    """Return the image as each coil sees it, ``maps * image``."""
    return maps * image.unsqueeze(_COIL)


def reduce_coils(coil_images: CoilImages, maps: SensitivityMaps) -> Image:
    """Return ``sum_coil conj(maps) * coil_images``; adjoint of `expand_coils`."""
    return (maps.conj() * coil_images).sum(_COIL)


def crop_readout(kspace: KSpace, n_x: int) -> CroppedKSpace:
    """Keep the central `n_x` pixels of the field of view along x: removes readout oversampling.

    The kept pixels are those around the origin, ``n // 2``. Noise per sample is unchanged.
    """
    start = kspace.shape[-1] // 2 - n_x // 2
    return fftc(ifftc(kspace, _X_ONLY)[..., start : start + n_x], _X_ONLY)


def is_constant_along_readout(mask: SamplingMask) -> bool:
    """Say whether whole lines were acquired, so that the readout can be transformed once."""
    return mask.shape[-1] == 1 or bool((mask == mask[..., :1]).all())


def decouple_readout_(kspace: KSpace, mask: SamplingMask) -> tuple[KSpace, EncodingMask, Axes]:
    """Return the data, mask and transform axes of the cheapest equivalent encoding.

    For line masks the data are transformed to ``(ky, x)``, in place since slices are large, and the
    mask comes back with a readout axis of 1; for all others nothing changes.
    """
    if not is_constant_along_readout(mask):
        return kspace, mask, YX
    for frame in kspace:  # one at a time: the shifts are copies
        frame.copy_(ifftc(frame, _X_ONLY))
    return kspace, mask[..., :1], Y_ONLY


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class CartesianEncoding:
    """The operator ``A = M F S`` of one acquisition.

    One set of maps or one mask may serve many images (batch axes of length 1), never the other
    way round: torch would broadcast the image, and ``adjoint`` would no longer be the adjoint.
    All methods raise `ShapeError` rather than let that happen.
    """

    maps: SensitivityMaps
    mask: SamplingMask
    axes: Axes = YX

    def forward(self, image: Image) -> KSpace:
        """Return ``A x``, zero wherever nothing was acquired."""
        self._require_fit((*image.shape[:-2], self.maps.shape[_COIL], *image.shape[-2:]))
        return self.mask * fftc(expand_coils(image, self.maps), self.axes)

    def adjoint(self, kspace: KSpace) -> Image:
        """Return ``A^H y``, the zero-filled coil-combined image; ignores unacquired samples."""
        self._require_fit(kspace.shape)
        return reduce_coils(ifftc(self.mask * kspace, self.axes), self.maps)

    def of_frame(self, frame: int) -> "CartesianEncoding":
        """Return the operator of one frame of ``(frame, coil, y, x)`` data, without that axis."""
        maps, mask = _frame_of(self.maps, frame), _frame_of(self.mask, frame)
        return replace(self, maps=maps, mask=mask)

    def _require_fit(self, data: tuple[int, ...]) -> None:
        _require_shareable("maps", self.maps.shape, data)
        readout = data[-1] if self.mask.shape[-1] > 1 else 1
        _require_shareable("mask", self.mask.shape, (*data[:-3], 1, data[-2], readout))


def _frame_of(shareable: Tensor, frame: int) -> Tensor:
    if shareable.ndim == 3:
        return shareable
    return shareable[frame if len(shareable) > 1 else 0]


def _require_shareable(name: str, own: tuple[int, ...], needed: tuple[int, ...]) -> None:
    batch_axes = zip(reversed(own[:-3]), reversed(needed[:-3]), strict=False)
    shareable = len(own) <= len(needed) and all(n in (1, m) for n, m in batch_axes)
    if own[-3:] != needed[-3:] or not shareable:
        raise ShapeError(
            f"{name}: shape {tuple(own)} cannot serve data that need {tuple(needed)}; "
            "only axes before coil, y, x may be 1, to be shared"
        )
