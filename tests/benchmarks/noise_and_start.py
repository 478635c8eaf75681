"""How well the noise is estimated, and how far the network's first image is from `cs`.

    python tests/benchmarks/noise_and_start.py --stride 3

Quick field test, sites that are held out, every third case: the ratio of the estimated sigma to
the simulated one, by the corners alone and as it is used; then PSNR of the first image after some
iterations, of `cs`, and of the 12 iterations over frames only that the first release had.
"""

import argparse
import math
from collections import defaultdict

import numpy as np
import torch

from mrcli.methods import METHODS
from mrcli.nn.first_image import sense_image
from mrcli.nn.inputs import compress_coils
from mrcli.nn.normal import NormalOperator
from mrcli.physics.compressed_sensing import cosine_transform, fast_shrinkage, shrinkage
from mrcli.physics.encoding import Y_ONLY
from mrcli.physics.noise import _corners, _middle_frame, _sigma, estimate_noise_sigma
from mrcli.physics.sense import (
    adjoint_image,
    map_error_regularization,
    wiener_regularization,
)
from mrcli.physics.wavelet import shrink
from mrcli.pipeline import encode_slice
from mrcli.simulate.site_file import load_sites
from mrcli.tasks.field_cases import QUICK, FieldDesign, Group
from mrcli.tasks.field_scans import _simulated, make_scan
from mrcli.tasks.field_scores import score_image

ITERATIONS = (16, 24, 32)


def over_frames(n_frames, sigma):
    cosines = cosine_transform(n_frames).to(torch.complex64)

    def step(image):
        components = torch.einsum("kf,fyx->kyx", cosines, image)
        components[1:] = shrink(components[1:], 0.6 * sigma)
        return torch.einsum("kf,kyx->fyx", cosines, components)

    return step


def first_images(case, scan, data):
    def psnr(image):
        return score_image(case, scan, image.abs().numpy())["clean"].psnr_db

    encoding, kspace = compress_coils(data.encoding, data.kspace)
    weight = wiener_regularization(encoding, kspace, data.noise_sigma, data.calibrated)
    weight += map_error_regularization(encoding)
    combined, normal = adjoint_image(encoding, kspace), NormalOperator.of(encoding)
    sense = sense_image(normal, combined, weight)
    n_frames, sigma = len(kspace), data.noise_sigma
    threshold = sigma * (0.6 if encoding.axes == Y_ONLY else 0.3)
    old = fast_shrinkage(normal, combined, sense, over_frames(n_frames, sigma), 12)
    values = [psnr(old if n_frames > 1 else sense)]
    for n in ITERATIONS:
        values.append(
            psnr(fast_shrinkage(normal, combined, sense, shrinkage(n_frames, threshold), n))
        )
    return [*values, psnr(METHODS["cs"](data))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=3)
    cases = FieldDesign(QUICK, 0).test_cases(load_sites())
    unseen = [case for case in cases if case.group is Group.UNSEEN]
    ratios, levels = defaultdict(list), defaultdict(list)
    for case in unseen[:: parser.parse_args().stride]:
        scan = make_scan(case)
        kspace, mask = scan.scan.slice_kspace(0), scan.scan.slice_mask(0)
        covariance = _simulated(case.recipe, "cpu")[0].covariance
        true = math.sqrt(float(covariance.diagonal().real.mean()))
        sigma = estimate_noise_sigma(kspace, mask)
        corners = _sigma(_corners(_middle_frame(kspace, mask)[0]))
        ratios[case.pattern].append((corners / true, sigma / true))
        peak = float(kspace.abs().amax())
        levels[case.pattern].append(
            first_images(case, scan, encode_slice(kspace / peak, mask, sigma / peak))
        )
    for pattern, values in ratios.items():
        low, middle, high = np.quantile(np.array(values), (0, 0.5, 1), axis=0).round(2)
        print(f"{pattern}: n {len(values)}; sigma over truth, corners alone", end=" ")
        print(f"{middle[0]} ({low[0]} to {high[0]}), as used {middle[1]} ({low[1]} to {high[1]})")
        mean = np.array(levels[pattern]).mean(0).round(2)
        names = ("over frames, 12", *(f"{n} iterations" for n in ITERATIONS), "cs")
        print("  PSNR:", ", ".join(f"{n} {v}" for n, v in zip(names, mean, strict=True)))


if __name__ == "__main__":
    main()
