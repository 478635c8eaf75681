"""How SENSE and compressed sensing depend on what is kept for the maps, and on their errors.

    python tests/benchmarks/map_weights.py

Sweeps the smallest singular value of `mrcli/physics/sensitivity.py` and the weight for errors of
maps of `mrcli/physics/sense.py`. Mean PSNR in dB by the definition of the metric set `clean`: real
brains against their full sampling (twix needs twixtools), simulated scans of tuning patients
against the truth. The values in the code are the best compromise of these tables.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from real_data import clean, images_of, mat_brain, twix_brain

from mrcli.methods import METHODS
from mrcli.metrics.cmrxrecon2025 import FrameChoice
from mrcli.metrics.sets import score_clean
from mrcli.physics import sense, sensitivity
from mrcli.physics.pattern_names import draw_mask
from mrcli.physics.patterns import uniform_lines
from mrcli.pipeline import reference_image
from mrcli.simulate.recipes import Cohort, Reduction, ScanRecipe
from mrcli.simulate.scans import plan_scan, simulate_slice
from mrcli.simulate.site_file import load_sites
from phantoms import scan_of

SINGULAR_VALUES = (0.001, 0.01, 0.015, 0.02, 0.025, 0.0316)
MAP_ERRORS = (0.0, 5e-4, 1e-3, 2e-3, 4e-3)
SCANS = (
    ("Center101/umr780.sim", "cine"),
    ("Center102/CIMA.X.sim", "lge"),
    ("Center103/umr880.sim", "T1w"),
    ("Center105/umr670.sim", "perfusion"),
    ("Center106/Prisma.sim", "flow2d"),
    ("Center105/Vida.sim", "T1map"),
)
SAMPLING = (("Uniform", 8), ("ktGaussian", 16), ("ktRadial", 16))


def brains():
    for name, read in {"MAT brain": mat_brain, "twix brain": twix_brain}.items():
        try:
            kspace = torch.from_numpy(read().astype(np.complex64))[None, None]
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        reference = reference_image(scan_of(kspace))
        for acceleration in (4, 8):
            mask = uniform_lines(kspace.shape[-2], acceleration)[None]
            yield f"{name} {acceleration}", kspace, mask, reference


def simulated():
    sites = {site.name: site for site in load_sites()}
    less = Reduction(matrix=0.5, max_frames=3, max_slices=1)
    for patient, (name, contrast) in enumerate(SCANS):
        protocol = sites[name].protocol(contrast)
        recipe = ScanRecipe(sites[name], protocol, patient, 0, Cohort.TUNE, reduction=less)
        plan = plan_scan(recipe)
        one = simulate_slice(plan, 0)
        truth = one.truth.abs().numpy()[:, None]
        for pattern, acceleration in SAMPLING:
            n_frames, matrix = len(truth), plan.sizes.matrix
            mask = draw_mask(pattern, acceleration, n_frames=n_frames, matrix=matrix, seed=1)
            yield one.kspace[:, None], mask[:, None], truth


def mean_psnr(cases, method):
    found = [
        score_clean(
            images_of(kspace, mask, METHODS[method]).abs().numpy(), truth, FrameChoice.FIRST_THREE
        )
        for kspace, mask, truth in cases
    ]
    return float(np.mean([one.volume.psnr_db for one in found]))


def show(module, name, values, real, scans):
    before = getattr(module, name)
    print(f"{name.strip('_').lower()} (in the code: {before:g})")
    print(f"  {'':>8}{'sense':>8}{'cs':>8}  sense on real data: {', '.join(c[0] for c in real)}")
    for value in values:
        setattr(module, name, value)
        own = [clean(images_of(k, mask, METHODS["sense"]), ref).psnr_db for _, k, mask, ref in real]
        means = (mean_psnr(scans, method) for method in ("sense", "cs"))
        print(f"  {value:8g}", *(f"{v:7.2f}" for v in (*means, *own)), flush=True)
    setattr(module, name, before)


if __name__ == "__main__":
    real, scans = tuple(brains()), tuple(simulated())
    show(sensitivity, "_SMALLEST_SINGULAR_VALUE", SINGULAR_VALUES, real, scans)
    show(sense, "_MAP_ERROR", MAP_ERRORS, real, scans)
