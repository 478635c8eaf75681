"""What adapters are worth: forms, selection, leave-one-site-out, against full fine-tuning.

    python tests/benchmarks/adapters.py MODEL.safetensors forms | universal | table [--steps 400]
        [--fold SITE ...] [--pool DIR] [--anatomy FILE]

The backbone is frozen but for "full". All variants see the same samples in the same order and are
scored on the same test patients by PSNR of the set `clean` against the truth, paired, so that
differences are far better known than levels. The backbone itself has seen the training sites:
leaving one out concerns its adapter. Sites that no part of training has seen are the held-out ones.
"""

import argparse
import copy
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.family import Family, adapted
from mrcli.io.anatomy_images import load_anatomy_images
from mrcli.metrics.cmrxrecon2025 import FrameChoice
from mrcli.metrics.sets import score_clean
from mrcli.nn.backbone import SMALL, Backbone, count_parameters
from mrcli.simulate.recipes import Cohort, generator_of
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import Split
from mrcli.tasks.simulate_plan import patients_of
from mrcli.training.curriculum import MASKS_PER_GROUP, Curriculum
from mrcli.training.losses import LossWeights, loss_of
from mrcli.training.pool import Pool, sample_of_step
from mrcli.training.state import Schedule, TrainingState

SEED, MOST_PIXELS, DTYPE = 2028, 45_000, torch.bfloat16  # samples that the backbone never saw
TEST_SEED = 2025
RATE, FULL_RATE = 4e-4, 4e-5
PER_SITE = 5  # test samples, each of a patient of its own
FORMS = {
    "scale-shift": AdapterSpec("scale-shift", 0),
    "low-rank": AdapterSpec("low-rank", 3),
    "combined": AdapterSpec("combined", 2),
    "bottleneck": AdapterSpec("bottleneck", 3),
    "combined, last 4 cascades": AdapterSpec("combined", 5, 4),
}


def load_backbone(path):
    tensors = load_file(path)
    averages = {n.removeprefix("average/"): t for n, t in tensors.items() if n[:8] == "average/"}
    backbone = Backbone(SMALL).to(memory_format=torch.channels_last)
    backbone.load_state_dict(averages or tensors)
    return backbone.eval().requires_grad_(False)


def test_samples(pool):
    """Test samples of all sites, and whether the training has seen the site."""
    for site in load_sites():
        own = Pool(
            Curriculum((site,), SEED, Cohort.TEST),
            Path(f"{pool}-test") / site.name.replace("/", "-"),
        )
        for group in range(PER_SITE):
            number = MASKS_PER_GROUP * group + group % MASKS_PER_GROUP
            yield own.sample(number), site.split is Split.TRAIN


class ImageAdapter(nn.Module):
    """Acts on the final magnitude, as the published code: z-scored, bounded, 9,986 numbers."""

    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(0.01))
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 1, 3, padding=1),
        )  # fmt: skip

    def forward(self, magnitude):
        mean = magnitude.mean((-2, -1), keepdim=True)
        spread = magnitude.std((-2, -1), keepdim=True)
        z = ((magnitude - mean) / spread)[:, None]
        z = z + self.alpha.clamp(-0.1, 0.1) * torch.tanh(self.layers(z))
        return z[:, 0] * spread + mean


class Images(nn.Module):
    """One image adapter per site and per protocol; unknown ones are left out."""

    def __init__(self, protocols, sites):
        super().__init__()
        self.names = {name: i for i, name in enumerate([*sites, *protocols])}
        self.members = nn.ModuleList(ImageAdapter() for _ in self.names)

    def forward(self, magnitude, modality, site):
        for name in (site, modality):
            if name in self.names:
                magnitude = self.members[self.names[name]](magnitude)
        return magnitude


class Bench:
    """Samples and the frozen backbone of one run."""

    def __init__(self, asked):
        self.backbone, self.steps = load_backbone(asked.model), asked.steps
        images = () if asked.anatomy is None else load_anatomy_images(asked.anatomy)
        training = patients_of(images, Cohort.TRAIN) if asked.anatomy else ()
        sites = load_sites()
        seen = tuple(site for site in sites if site.split is Split.TRAIN)
        self.seen = [site.name for site in seen]
        self.unseen = [site.name for site in sites if site.split is not Split.TRAIN]
        self.protocols = sorted({one.modality for site in seen for one in site.protocols})
        self.pool = Pool(Curriculum(seen, SEED), asked.pool or Path("pool"), training)
        self.n_samples = asked.samples
        self.tests = [sample for sample, _ in test_samples(asked.pool or Path("pool"))]

    def draws(self, without=()):
        """The samples of all steps, those of some sites replaced by the next that is not."""
        for step in range(self.steps):
            random = generator_of(SEED, "adapters", step)
            number = int(torch.randint(self.n_samples, (1,), generator=random))
            while (sample := self.pool.sample(number % self.n_samples)).site in without:
                number += 1
            yield step, sample_of_step(sample, step, SEED, MOST_PIXELS)

    def learn(self, learned, reconstruct, rate=RATE, without=(), weights=None):
        state, schedule = TrainingState(learned), Schedule(self.steps, rate, warm_up=20)
        weights = weights or LossWeights()
        for step, sample in self.draws(without):
            image = reconstruct(sample, step)
            loss_of(image, sample.target, weights).total.backward()
            state.update(schedule.rate(step))
        for name, parameter in learned.named_parameters():
            parameter.data.copy_(state.average[name])
        return learned.eval()

    def family(self, spec, share, without=(), protocol_only=False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            family = Family(self.backbone, spec, protocols=self.protocols, sites=self.seen)

        def reconstruct(sample, step):
            drawn = float(torch.rand(1, generator=generator_of(SEED, "universal", step)))
            chain = family.chain(sample.modality, None if drawn < share else sample.site)
            chain = chain[:1] if protocol_only else chain
            return adapted(self.backbone, chain, sample.given, DTYPE)

        return self.learn(family, reconstruct, without=without)

    @torch.inference_mode()
    def scores(self, magnitude, tests=None):
        """PSNR of each test sample; `magnitude` takes a sample."""
        return np.array([psnr(magnitude(one), one.target) for one in tests or self.tests])

    def of_chain(self, choose, tests=None):
        def magnitude(one):
            return adapted(self.backbone, choose(one), one.given, DTYPE).abs()

        return self.scores(magnitude, tests)

    def rows(self, name, values, baseline, extra=None):
        gains = values - baseline
        sites = np.array([sample.site for sample in self.tests])
        mean = {
            "seen": gains[np.isin(sites, self.seen)],
            "unseen": gains[np.isin(sites, self.unseen)],
        }
        facts = {key: [round(float(g.mean()), 3), round(interval(g), 3)] for key, g in mean.items()}
        print(json.dumps({"variant": name, "gain_db": facts, **(extra or {})}), flush=True)


def interval(gains):
    """Half of the 95 % interval of a mean of independent patients."""
    return 1.96 * gains.std(ddof=1) / np.sqrt(len(gains))


def psnr(magnitude, target):
    image, truth = (one.abs().numpy()[:, None] for one in (magnitude, target))
    keep = truth.max((1, 2, 3)) > 0
    return score_clean(image[keep], truth[keep], FrameChoice.ALL).volume.psnr_db


def forms(bench, plain):
    for name, spec in FORMS.items():
        n = count_parameters(Adapter.of(bench.backbone, spec))
        family = bench.family(spec, 0.3)
        share = n / count_parameters(bench.backbone)
        extra = {"parameters": n, "share": round(share, 4)}
        both = bench.of_chain(lambda s, f=family: f.chain(s.modality, s.site))
        bench.rows(name, both, plain, extra)


def universal(bench, plain):
    for share in (0.1, 0.3, 0.5):
        family = bench.family(AdapterSpec(), share)
        both = bench.of_chain(lambda s, f=family: f.chain(s.modality, s.site))
        anywhere = bench.of_chain(lambda s, f=family: f.chain(s.modality, None))
        bench.rows(f"p = {share}: site, universal if unknown", both, plain)
        bench.rows(f"p = {share}: universal", anywhere, plain)


def table(bench, plain, folds):
    print(json.dumps({"variant": "none", "psnr_db": round(float(plain.mean()), 2)}), flush=True)
    spec = AdapterSpec()
    alone = bench.family(spec, 0.0, protocol_only=True)
    bench.rows("protocol", bench.of_chain(lambda s: alone.chain(s.modality, None)[:1]), plain)
    family = bench.family(spec, 0.3)
    chains = {
        "site": lambda s: family.chain(None, s.site),
        "both": lambda s: family.chain(s.modality, s.site),
        "universal": lambda s: family.chain(s.modality, None),
    }
    for name, choose in chains.items():
        bench.rows(name, bench.of_chain(choose), plain)
    tuned = copy.deepcopy(bench.backbone).requires_grad_(True)
    bench.learn(tuned, lambda s, _: tuned(s.given, DTYPE), FULL_RATE)
    bench.rows("full fine-tuning", bench.scores(lambda s: tuned(s.given, DTYPE).abs()), plain)
    image_domain(bench, plain)
    for site in folds or bench.seen:
        left_out(bench, plain, site)


def image_domain(bench, plain):
    images = Images(bench.protocols, bench.seen)

    def adapted_magnitude(sample, _=0):
        with torch.no_grad():
            magnitude = bench.backbone(sample.given, DTYPE).abs()
        return images(magnitude, sample.modality, sample.site)

    weights = LossWeights(error=0.0, magnitude=2.0)
    bench.learn(
        images, lambda s, step: torch.complex(m := adapted_magnitude(s, step), 0 * m), RATE,
        weights=weights,
    )  # fmt: skip
    n = count_parameters(images.members[0])
    values = bench.scores(adapted_magnitude)
    bench.rows("image domain, published form", values, plain, {"parameters": n})


def left_out(bench, plain, site):
    """Train without a site's adapter and samples; what the others learned for it."""
    family = bench.family(AdapterSpec(), 0.3, without=(site,))
    own = [index for index, sample in enumerate(bench.tests) if sample.site == site]
    tests = [bench.tests[index] for index in own]
    values = bench.of_chain(lambda s: family.chain(s.modality, None), tests)
    gains = values - plain[own]
    facts = {"left_out": site, "universal_gain_db": round(float(gains.mean()), 3)}
    print(json.dumps(facts | {"ci95": round(interval(gains), 3)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("what", choices=("forms", "universal", "table"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--samples", type=int, default=320, help="of the curriculum to learn from")
    parser.add_argument("--fold", action="append", default=[])
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--anatomy", type=Path)
    asked = parser.parse_args()
    bench = Bench(asked)
    plain = bench.of_chain(lambda _: ())
    levels = defaultdict(list)
    for sample, value in zip(bench.tests, plain, strict=True):
        levels[sample.site].append(float(value))
    print(json.dumps({"plain_psnr_db": {k: round(np.mean(v), 2) for k, v in levels.items()}}))
    what = {"forms": forms, "universal": universal}
    if asked.what == "table":
        table(bench, plain, asked.fold)
    else:
        what[asked.what](bench, plain)


if __name__ == "__main__":
    main()
