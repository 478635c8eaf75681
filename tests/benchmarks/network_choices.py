"""What coils, precision and last iterations are worth in a trained network, without training.

    python tests/benchmarks/network_choices.py [--model NAME|DIR] [--every 6]

PSNR in dB of the set `clean` against the truth, mean over every sixth case of the quick field test
at unseen sites; the backbone has no adapters. "first image" is what the network starts from.
"""

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from mrcli.models.store import load_model
from mrcli.nn import inputs
from mrcli.nn.backbone import Backbone
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.pipeline import encode_slice
from mrcli.simulate.site_file import load_sites
from mrcli.tasks.field_cases import QUICK, FieldDesign, Group
from mrcli.tasks.field_scans import make_scan
from mrcli.tasks.field_scores import score_image


def with_iterations(backbone, n):
    other = Backbone(replace(backbone.spec, n_final_iterations=n))
    other.load_state_dict(backbone.state_dict())
    return other.to(memory_format=torch.channels_last).eval()


def variants(backbone, data, prepare):
    for n_coils in (6, 8, 10):
        given = prepare(data, n_coils)
        yield f"first image, {n_coils} coils", given.start
        yield f"{n_coils} coils, bf16", backbone(given, torch.bfloat16)
    yield "10 coils, fp32", backbone(given)
    for n in (1, 8):
        yield (
            f"10 coils, bf16, {n} last iterations",
            with_iterations(backbone, n)(given, torch.bfloat16),
        )


def prepared(data, n_coils):
    inputs.compress_coils.__defaults__ = (n_coils,)
    return inputs.prepare(data.encoding, data.kspace, data.calibrated, data.noise_sigma)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--every", type=int, default=6)
    asked = parser.parse_args()
    backbone = load_model(asked.model).backbone
    cases = [
        case for case in FieldDesign(QUICK, 0).test_cases(load_sites())
        if case.group is Group.UNSEEN
    ][:: asked.every]  # fmt: skip
    scores = defaultdict(list)
    for case in cases:
        scan = make_scan(case)
        kspace, mask = scan.scan.slice_kspace(0), scan.scan.slice_mask(0)
        kspace = kspace / kspace.abs().amax()
        data = encode_slice(kspace, mask, estimate_noise_sigma(kspace, mask))
        for name, image in variants(backbone, data, prepared):
            quality = score_image(case, scan, image.abs().numpy())["clean"]
            scores[name].append(quality.psnr_db)
    for name, values in scores.items():
        print(f"{name:<40}{np.mean(values):7.2f} dB, n = {len(values)}")


if __name__ == "__main__":
    main()
