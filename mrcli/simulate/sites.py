"""Sites as data: what makes one hospital's scanner different from another's.

`mrcli.simulate.site_file` reads them. None of the sites of the program is a real scanner.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from mrcli.errors import InputError
from mrcli.simulate.acquisition import KSpaceFilter
from mrcli.simulate.coils import CoilArray
from mrcli.simulate.contrast import Timing
from mrcli.site import Site


class Split(StrEnum):
    """What a site is for: to train on, or never seen in training."""

    TRAIN = "train"
    HELD_OUT = "held-out"


class Container(StrEnum):
    """How the CMRxRecon tree stores a protocol of a site."""

    HDF5 = "hdf5"  # MATLAB 7.3
    CLASSIC = "classic"  # MATLAB 5


@dataclass(frozen=True)
class ProtocolSpec:
    """One protocol of a site: views, sizes and timing; a scan draws one size and varies it."""

    modality: str  # as the folders of the challenge call it
    contrast: str  # key of `CONTRASTS`, and stem of the name of the file
    views: tuple[str, ...]
    matrices: tuple[tuple[int, int], ...]  # (y, x)
    n_frames: tuple[int, ...]
    n_slices: tuple[int, ...]
    fov_y_mm: float
    fov_x_mm: float  # with oversampling
    thickness_mm: float
    flip_deg: float
    tr_ms: float
    te_ms: float
    container: Container
    averages: float = 1.0  # of the signal, or a narrower bandwidth that does as much

    def timing(self, n_frames: int) -> Timing:
        """Return what the signal equations need."""
        return Timing(self.flip_deg, self.tr_ms, self.te_ms, n_frames)


@dataclass(frozen=True)
class SiteSpec:
    """A simulated site."""

    center: str
    scanner: str
    vendor: str
    field_strength_t: float
    modelled_on: str
    split: Split
    array: CoilArray
    n_virtual: int  # coils after compression; no more than the array has
    body_noise: float  # share of the noise that the body makes, and neighbours share
    gain_spread: float
    snr: float  # of water at rest in 1.5 x 1.5 x 8 mm at 3 T, fully sampled and combined
    off_resonance_hz: float  # standard deviation over the chest
    transmit_spread: float  # standard deviation of the flip angle, relative
    peak: tuple[float, float]  # largest magnitude of k-space, lowest and highest over scans
    kspace_filter: KSpaceFilter
    partial_fourier: float  # share of the lines along y that is measured
    drift_mm: float
    mistrigger: float  # share of the beats
    readout_oversampling: float
    patterns: tuple[str, ...]  # what the site samples with, such as shifted-uniform4
    anatomy: Path | None  # real images of its patients; None: procedural
    protocols: tuple[ProtocolSpec, ...]

    @property
    def name(self) -> str:
        """Return ``center/scanner``: what an option names."""
        return f"{self.center}/{self.scanner}"

    @property
    def folder(self) -> str:
        """Return the scanner as the folder convention writes it, 3.0 T as ``30T``."""
        return f"{self.vendor}_{round(10 * self.field_strength_t):02d}T_{self.scanner}"

    @property
    def site(self) -> Site:
        """Return the facts that a file states."""
        return Site(self.center, self.scanner, self.vendor, self.field_strength_t)

    def protocol(self, contrast: str) -> ProtocolSpec:
        """Return a protocol by its contrast; raises `InputError`."""
        for one in self.protocols:
            if one.contrast == contrast:
                return one
        known = ", ".join(one.contrast for one in self.protocols)
        raise InputError(
            f"site {self.name} has no protocol {contrast!r}", hint=f"its protocols are {known}"
        )


def choose_sites(sites: Iterable[SiteSpec], names: Iterable[str]) -> tuple[SiteSpec, ...]:
    """Return the sites of these names, ``center/scanner``, each once; raises `InputError`."""
    by_name = {site.name: site for site in sites}
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in by_name:
            near = get_close_matches(name, by_name, 1)
            hint = f"did you mean {near[0]}?" if near else f"the sites are {', '.join(by_name)}"
            raise InputError(f"no site is called {name!r}", hint=hint)
    return tuple(by_name[name] for name in wanted)
