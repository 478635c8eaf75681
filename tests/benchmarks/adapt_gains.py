"""What an adapter of a few scans gains at simulated sites that the backbone has not seen.

    python tests/benchmarks/adapt_gains.py MODEL --scans 1 3 5 --site Center107/Sola.sim

Half the matrix, up to six frames, one protocol per site. Patients to learn from and patients to
score are different ones. Scores are PSNR of magnitudes against the noiseless truth, paired over
patients, with the interval of their mean; what fitting and gate see is never the truth. Prints a
JSON line per site, number of scans and way.
"""

import argparse
import copy
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from adapters import ImageAdapter, interval
from mrcli.adapt.build import supervised_trial, withheld_trials
from mrcli.adapt.fit import FitSettings, Frozen, Material, fit
from mrcli.adapt.sampling import drawn_masks
from mrcli.adapt.trials import decibels, part_of
from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.errors import MrcliError
from mrcli.metrics.sets import FrameChoice, score_clean
from mrcli.models.store import load_model
from mrcli.pipeline import Calibration, calibrated_slice
from mrcli.precision import DTYPES, choose_precision
from mrcli.simulate.cropping import without_oversampling
from mrcli.simulate.recipes import Cohort, Reduction, ScanRecipe, generator_of
from mrcli.simulate.scans import plan_scan, simulate_slice
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import Split
from mrcli.training.state import Schedule, TrainingState

PATTERNS = ("Uniform8", "ktGaussian8", "Uniform16", "ktRadial16")
RATES = (3e-5, 1e-4, 3e-4)  # of full fine-tuning, the best of which counts
SEED, SIZE = 77, Reduction(0.5, 6, 1)


class Patient:
    """One simulated scan: its full sampling, its truth, and trials as the options say."""

    def __init__(self, site, protocol, number, cohort, size=SIZE, change=None):
        recipe = ScanRecipe(site, protocol, number, SEED, cohort, reduction=size)
        one = simulate_slice(plan_scan(recipe), 0)
        one = without_oversampling(one, site.readout_oversampling)
        one = one if change is None else change(one)
        everywhere = torch.ones(1, 1, one.kspace.shape[-2], 1, dtype=torch.bool)
        self.full = calibrated_slice(one.kspace.clone(), everywhere, Calibration(None, 0.0))
        self.truth = one.truth.abs() / self.full.scale
        self.modality, self.key = protocol.modality, f"{site.name} {number} {cohort}"

    def corrupt(self):
        """Shuffle frames and lines: what is stored is no image any more."""
        random = generator_of(SEED, self.key, "corrupt")
        n_frames, _, n_y, _ = self.full.kspace.shape
        lines = torch.randperm(n_y, generator=random)
        frames = torch.randperm(n_frames, generator=random)
        self.full = replace(self.full, kspace=self.full.kspace[frames][:, :, lines])

    def masks(self):
        n_frames, _, *matrix = self.full.kspace.shape
        random = generator_of(SEED, self.key)
        return list(drawn_masks(PATTERNS, n_frames, tuple(matrix), random))

    def supervised(self):
        trials = []
        for sampled in self.masks():
            try:
                trials.append(
                    supervised_trial(self.full, sampled, self.modality, is_noise_measured=False)
                )
            except MrcliError:
                continue
        return trials

    def withheld(self):
        """A scan that was acquired under one of the masks only, as sites do."""
        random = generator_of(SEED, self.key, "withheld")
        masks = self.masks()
        sampled = masks[int(torch.randint(len(masks), (1,), generator=random))]
        acquired = calibrated_slice(
            self.full.kspace * sampled.mask, sampled.mask, Calibration(None, 0.0)
        )
        return list(withheld_trials(acquired, self.modality, sampled.name, random, 4))


def psnr(image, trial, patient):
    """PSNR against the truth; the maps have unit RSS as those of the truth have."""
    magnitude = image.abs().numpy()[:, None] * trial.given.scale
    truth = patient.truth.numpy()[:, None]
    keep = truth.max((1, 2, 3)) > 0
    return score_clean(magnitude[keep], truth[keep], FrameChoice.ALL).volume.psnr_db


def scores(patients, image_of):
    """Mean PSNR per patient."""
    with torch.inference_mode():
        return np.array(
            [np.mean([psnr(image_of(t), t, p) for t in trials]) for p, trials in patients]
        )


def tune_all(frozen, material, settings, rate):
    """Fine-tune all numbers of the backbone with the same steps; the best by validation."""
    tuned = copy.deepcopy(frozen.backbone).requires_grad_(True)
    state, schedule = TrainingState(tuned), Schedule(settings.n_steps, rate, 10)
    own = Frozen(tuned, {}, frozen.dtype)
    best, best_error = copy.deepcopy(tuned), math.inf
    for step in range(settings.n_steps + 1):
        if step % settings.check_every == 0:
            copied = copy.deepcopy(tuned)
            for name, parameter in copied.named_parameters():
                parameter.data.copy_(state.average[name])
            look = Frozen(copied, {}, frozen.dtype)
            error = np.mean([look.decibels(None, t) for t in material.validation[:6]])
            if error < best_error:
                best, best_error = copied, error
        random = generator_of(settings.seed, "adapt", step)
        chosen = material.training[
            int(torch.randint(len(material.training), (1,), generator=random))
        ]
        part = part_of(chosen, float(torch.rand(1, generator=random)), settings.most_pixels)
        part.loss(own.image(None, part)).backward()
        state.update(schedule.rate(step))
    return best, best_error


def image_domain(frozen, material, settings):
    """The published form of adapter, on the final magnitude."""
    learned = ImageAdapter()
    state, schedule = TrainingState(learned), Schedule(settings.n_steps, 2e-3, 10)
    for step in range(settings.n_steps):
        random = generator_of(settings.seed, "adapt", step)
        chosen = material.training[
            int(torch.randint(len(material.training), (1,), generator=random))
        ]
        with torch.no_grad():
            magnitude = frozen.image(None, chosen).abs()
        target = chosen.target.abs()
        error = (learned(magnitude) - target).square().sum() / target.square().sum()
        decibels(error).backward()
        state.update(schedule.rate(step))
    return learned.eval()


class Site:
    """The patients of one site, and what they score without an adapter."""

    def __init__(self, site, model, asked):
        protocol = site.protocols[SEED % len(site.protocols)]
        n_learners = max(asked.scans)
        self.learners = [Patient(site, protocol, n, Cohort.TRAIN) for n in range(1, n_learners + 1)]
        judges = [Patient(site, protocol, n, Cohort.TEST) for n in range(1, asked.judges + 1)]
        self.judged = [(one, one.supervised()) for one in judges]
        self.frozen = Frozen(model.backbone, {}, DTYPES[choose_precision("auto", "cpu")[0]])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            self.first = Adapter.of(model.backbone, AdapterSpec(asked.form, asked.rank))
        self.settings = FitSettings(n_steps=asked.steps, peak_rate=asked.rate)
        self.plain = scores(self.judged, lambda t: self.frozen.image(None, t))
        level = round(float(self.plain.mean()), 2)
        self.head = {"site": site.name, "protocol": protocol.modality, "plain_db": level}

    def row(self, n, way, image_of, start, **extra):
        gains = scores(self.judged, image_of) - self.plain
        facts = {"scans": n, "way": way, "gain_db": round(gains.mean(), 3)}
        facts |= {"ci95": round(interval(gains), 3), "worst": round(gains.min(), 3)}
        print(json.dumps(self.head | facts | {"seconds": round(time.time() - start)} | extra))

    def fitted(self, n, way):
        start, material = time.time(), self.material(n, way)
        found = fit(self.frozen, self.first, material, self.settings)
        pairs = [(self.frozen.decibels(None, t), self.frozen.decibels(found.adapter, t))
                 for _, own in self.judged for t in own]  # fmt: skip
        seen = float(np.mean([before - after for before, after in pairs]))
        extra = {"best_step": found.best_step, "as_the_gate_sees_db": round(seen, 3)}
        self.row(n, way, lambda t: self.frozen.image(found.adapter, t), start, **extra)

    def tuned(self, n):
        start, material = time.time(), self.material(n, "supervised")
        tuned = [tune_all(self.frozen, material, self.settings, rate) for rate in RATES]
        own = Frozen(min(tuned, key=lambda one: one[1])[0], {}, self.frozen.dtype)
        self.row(n, "full", lambda t: own.image(None, t), start)

    def image(self, n):
        start, material = time.time(), self.material(n, "supervised")
        learned = image_domain(self.frozen, material, self.settings)
        self.row(n, "image-domain", lambda t: learned(self.frozen.image(None, t).abs()), start)

    def material(self, n, way):
        is_full = way == "supervised"
        trials = [p.supervised() if is_full else p.withheld() for p in self.learners[:n]]
        flat = tuple(t for one in trials for t in one)
        if n < 3:
            return Material(flat, flat)
        return Material(tuple(t for one in trials[1:] for t in one), tuple(trials[0]))


def run(site, asked):
    for n in asked.scans:
        for way in asked.ways:
            if way == "full":
                site.tuned(n)
            elif way == "image":
                site.image(n)
            else:
                site.fitted(n, way)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--scans", type=int, nargs="+", default=[1, 3, 5, 10])
    parser.add_argument("--judges", type=int, default=4)
    parser.add_argument("--steps", type=int, default=FitSettings.n_steps)
    parser.add_argument("--rate", type=float, default=FitSettings.peak_rate)
    parser.add_argument("--form", default=AdapterSpec.form)
    parser.add_argument("--rank", type=int, default=AdapterSpec.rank)
    parser.add_argument(
        "--ways", nargs="+", default=["supervised", "self-supervised", "full", "image"]
    )
    parser.add_argument("--site", action="append", default=[])
    asked = parser.parse_args()
    model = load_model(Path(asked.model) if Path(asked.model).is_dir() else asked.model)
    unseen = [site for site in load_sites() if site.split is not Split.TRAIN]
    for site in unseen:
        if not asked.site or site.name in asked.site:
            run(Site(site, model, asked), asked)


if __name__ == "__main__":
    main()
