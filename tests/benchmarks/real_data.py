"""Quality on real fully sampled multi-coil k-space, undersampled 4x with 20 ACS lines.

    python tests/benchmarks/real_data.py [--acceleration 4]

The reference is the coil-combined image of all samples, noise included, with maps from the same
data; the metric set is `clean`. These are brains: no fully sampled multi-coil heart can be had
freely. BART joins where it is installed, with maps by ecalib from the same ACS lines. The twix file
is read by the package twixtools where that is installed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.io
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bart import BART, ecalib, pics
from mrcli.checks import examine
from mrcli.methods import METHODS
from mrcli.metrics.cmrxrecon2025 import FrameChoice
from mrcli.metrics.sets import score_clean
from mrcli.models.store import load_model
from mrcli.network_method import NetworkMethod
from mrcli.physics.patterns import uniform_lines
from mrcli.pipeline import calibrate, reconstruct, reference_image
from phantoms import scan_of
from realdata import DATA

BART_CALLS = {
    "bart pics l2, lambda 0.01": ("-l2", "-r", "0.01", "-i", "100"),
    **{f"bart pics wavelet {w}": ("-l1", "-r", w, "-i", "100") for w in ("0.002", "0.005", "0.01")},
}


def mat_brain():
    stored = scipy.io.loadmat(DATA / "kspace/mphy5178_brain_8ch.mat")["kspace"]
    return np.ascontiguousarray(stored.T)


def twix_brain():
    import twixtools  # noqa: PLC0415 - optional

    image = twixtools.map_twix(str(DATA / "kspace/pulseq_brain_16ch.dat"))[-1]["image"]
    return np.ascontiguousarray(image[:].squeeze().transpose(1, 0, 2))


def clean(image, reference):
    scores = score_clean(
        np.abs(np.asarray(image, np.complex64)), reference, FrameChoice.FIRST_THREE
    )
    return scores.volume


def images_of(kspace, mask, method):
    scan = scan_of(kspace, mask)
    found = examine(scan)
    slices = list(reconstruct(scan, found.mask, calibrate(scan, found.noise_sigma), method))
    return torch.stack([one.image for one in slices], dim=1)


def network():
    """As `recon` takes it: without adapters, which its card leaves out; in single precision."""
    return NetworkMethod(load_model("small").backbone)


def bart_images(kspace, mask):
    undersampled = (kspace * mask)[:, 0]
    with tempfile.TemporaryDirectory() as folder:
        maps = ecalib(Path(folder), undersampled, 20)[None]
        for name, options in BART_CALLS.items():
            yield name, pics(Path(folder), undersampled, maps, *options)[:, None]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acceleration", type=int, default=4)
    acceleration = parser.parse_args().acceleration
    for name, read in {"MAT brain, 8 coils": mat_brain, "twix brain, 16 coils": twix_brain}.items():
        try:
            stored = read()
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        kspace = torch.from_numpy(stored.astype(np.complex64))[None, None]
        reference = reference_image(scan_of(kspace))
        mask = uniform_lines(kspace.shape[-2], acceleration)[None]
        print(f"{name}, {kspace.shape[-2]} x {kspace.shape[-1]}, Uniform {acceleration}")
        methods = METHODS | {"network": network()}
        images = {label: images_of(kspace, mask, one) for label, one in methods.items()}
        if BART:
            images |= dict(bart_images(kspace, mask))
        for method, image in images.items():
            found = clean(image, reference)
            print(f"  {method:<28}{found.psnr_db:7.2f} dB   SSIM {found.ssim:.3f}")


if __name__ == "__main__":
    main()
