"""How the quality of compressed sensing depends on its weights, in units of the noise.

    python tests/benchmarks/cs_weights.py [--field]

Single frames: a real brain (against its full sampling) and simulated hearts (against the truth).
Series of frames: simulated hearts. With --field instead the quick field test's sites that are not
held out, the mean of nine cases per pattern. PSNR in dB by the definition of the metric set
`clean`. The defaults in mrcli/physics/compressed_sensing.py are the steadiest good ones.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from real_data import clean, images_of, mat_brain

from ellipses import PhantomSpec, simulate_kspace, simulate_maps, simulate_truth
from mrcli.methods import METHODS
from mrcli.physics import compressed_sensing
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.physics.patterns import kt_gaussian_lines, uniform_lines
from mrcli.physics.sampling import Pattern
from mrcli.pipeline import encode_slice, reference_image
from mrcli.simulate.site_file import load_sites
from mrcli.tasks.field_cases import QUICK, FieldDesign, Group
from mrcli.tasks.field_scans import make_scan
from mrcli.tasks.field_scores import score_image
from phantoms import scan_of

STATIC = (0.15, 0.2, 0.3, 0.45, 0.6, 0.8)
RATIOS = (1, 1.5, 2, 3)


def heart(snr, n_frames):
    spec = replace(PhantomSpec(), n_frames=n_frames, n_slices=1, snr=snr)
    truth = simulate_truth(spec)
    return simulate_kspace(truth, simulate_maps(spec), spec), truth.abs().numpy()


def sweep(name, weights, kspace, reference, mask):
    values = []
    for weight in weights:
        setattr(compressed_sensing, name, weight)
        values.append(clean(images_of(kspace, mask, METHODS["cs"]), reference).psnr_db)
    return " ".join(f"{value:7.2f}" for value in values)


def show(name, weights, cases):
    before = getattr(compressed_sensing, name)
    print(f"{name.strip('_').lower():<36}{' '.join(f'{w:7g}' for w in weights)}")
    for title, case in cases:
        print(f"  {title:<34}{sweep(name, weights, *case)}", flush=True)
    setattr(compressed_sensing, name, before)


def single_frames():
    brain = torch.from_numpy(mat_brain())[None, None]
    for acceleration in (4, 8):
        mask = uniform_lines(brain.shape[-2], acceleration)[None]
        yield f"real brain, Uniform {acceleration}", (brain, reference_image(scan_of(brain)), mask)
    for snr in (15, 40, 160):
        kspace, truth = heart(snr, 1)
        for acceleration in (4, 8):
            mask = uniform_lines(144, acceleration)[None]
            yield f"heart, SNR {snr}, Uniform {acceleration}", (kspace, truth, mask)


def series():
    for snr in (15, 50):
        kspace, truth = heart(snr, 12)
        masks = {
            "Uniform 8": uniform_lines(144, 8),
            "ktGaussian 8": kt_gaussian_lines(12, 144, 8, seed=1),
            "ktGaussian 16": kt_gaussian_lines(12, 144, 16, seed=1),
        }
        for name, mask in masks.items():
            yield f"cine, SNR {snr}, {name}", (kspace, truth, mask.unsqueeze(1))


def field():
    """Print the mean over the cases of each pattern, for each static weight."""
    cases = FieldDesign(QUICK, 0).test_cases(load_sites())
    for pattern in (Pattern.UNIFORM, Pattern.KT_GAUSSIAN, Pattern.KT_RADIAL):
        own = [c for c in cases if c.group is not Group.UNSEEN and c.pattern is pattern]
        values = []
        for weight in STATIC:
            compressed_sensing._STATIC_WEIGHT = weight
            values.append((weight, round(sum(map(of_case, own)) / len(own), 2)))
        print(f"{pattern}, n {len(own)}:", ", ".join(f"{w} {v}" for w, v in values), flush=True)


def of_case(case):
    scan = make_scan(case)
    kspace, mask = scan.scan.slice_kspace(0), scan.scan.slice_mask(0)
    peak = float(kspace.abs().amax())
    data = encode_slice(kspace / peak, mask, estimate_noise_sigma(kspace, mask) / peak)
    return score_image(case, scan, METHODS["cs"](data).abs().numpy())["clean"].psnr_db


if __name__ == "__main__":
    if "--field" in sys.argv:
        field()
    else:
        show("_STATIC_WEIGHT", STATIC, single_frames())
        show("_DYNAMIC_OVER_STATIC", RATIOS, series())
