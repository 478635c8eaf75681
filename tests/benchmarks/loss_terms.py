"""What each term of the training loss is worth: the same short training with and without it.

    python tests/benchmarks/loss_terms.py CHECKPOINT [--steps 300] [--pool DIR]

Every variant goes on from the same checkpoint of `mrcli train` over the same samples, its learning
rate falling to zero, and is scored on the same test patients of held-out sites (see `adapters.py`),
paired with the first. PSNR and SSIM of the set `clean` against the truth.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from adapters import DTYPE, MOST_PIXELS, SEED, interval, load_backbone, test_samples
from mrcli.metrics.cmrxrecon2025 import FrameChoice
from mrcli.metrics.sets import score_clean
from mrcli.simulate.recipes import generator_of
from mrcli.tasks.train import training_sites
from mrcli.training.curriculum import Curriculum
from mrcli.training.losses import LossWeights, loss_of
from mrcli.training.pool import Pool, sample_of_step
from mrcli.training.state import Schedule, TrainingState

VARIANTS = {
    "default": LossWeights(),
    "no structure": LossWeights(structure=0.0),
    "with frequency": LossWeights(frequency=0.5),
    "no magnitude": LossWeights(error=2.0, magnitude=0.0),
}
RATE = 3e-4


def learn(checkpoint, pool, weights, steps, n_samples):
    backbone = load_backbone(checkpoint).requires_grad_(True)
    state, schedule = TrainingState(backbone), Schedule(steps, RATE, warm_up=10)
    for step in range(steps):
        number = int(torch.randint(n_samples, (1,), generator=generator_of(SEED, "loss", step)))
        sample = sample_of_step(pool.sample(number), step, SEED, MOST_PIXELS)
        loss_of(backbone(sample.given, DTYPE), sample.target, weights).total.backward()
        state.update(schedule.rate(step))
    for name, parameter in backbone.named_parameters():
        parameter.data.copy_(state.average[name])
    return backbone.eval()


@torch.inference_mode()
def scores(backbone, tests):
    rows = []
    for sample in tests:
        image, truth = backbone(sample.given, DTYPE).abs(), sample.target.abs()
        keep = truth.amax((-2, -1)) > 0
        pair = (one[keep].numpy()[:, None] for one in (image, truth))
        quality = score_clean(*pair, FrameChoice.ALL).volume
        rows.append((quality.psnr_db, quality.ssim))
    return np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--pool", type=Path, default=Path("pool"))
    asked = parser.parse_args()
    pool = Pool(Curriculum(training_sites(), SEED), asked.pool)
    tests = [sample for sample, is_seen in test_samples(asked.pool) if not is_seen]
    baseline = None
    for name, weights in VARIANTS.items():
        backbone = learn(asked.checkpoint, pool, weights, asked.steps, asked.samples)
        found = scores(backbone, tests)
        baseline = found if baseline is None else baseline
        gain = found - baseline
        facts = {"psnr_db": found[:, 0].mean(), "ssim": found[:, 1].mean()}
        facts |= {"gain_db": gain[:, 0].mean(), "ci95": interval(gain[:, 0])}
        facts |= {"gain_ssim": gain[:, 1].mean()}
        rounded = {key: round(float(value), 4) for key, value in facts.items()}
        print(json.dumps({"variant": name, **rounded}), flush=True)


if __name__ == "__main__":
    main()
