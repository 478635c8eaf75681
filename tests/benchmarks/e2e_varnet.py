"""The `small` backbone beside the E2E-VarNet of the fastmri package, trained on the same samples.

    pip install fastmri                       # in an environment of its own: it brings much
    python tests/benchmarks/e2e_varnet.py time
    python tests/benchmarks/e2e_varnet.py train-varnet OUT --minutes 20
    mrcli train -o OUT2 --steps N             # N: what takes as long
    python tests/benchmarks/e2e_varnet.py score OUT [OUT2]

`time`: seconds per frame at 12 frames x 10 coils x 198 x 444, coil maps included, one warm-up.
`train-varnet`: the default E2E-VarNet (Sriram 2020, doi:10.1007/978-3-030-59713-9_7) on the samples
that the first steps of `mrcli train` draw, one frame a step, with the loss of magnitudes that
`mrcli train` uses; the clock starts when the samples lie in memory.
`score`: PSNR of the set `clean` against the truth on the unseen sites of the quick field test.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from fastmri.models import VarNet
from safetensors.torch import load_file, save_file

from mrcli.errors import MrcliError
from mrcli.memory import keep_freed_memory
from mrcli.nn.backbone import SMALL, Backbone, count_parameters
from mrcli.nn.inputs import prepare
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.physics.pattern_names import draw_mask
from mrcli.pipeline import encode_slice
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.scans import wanted_lines
from mrcli.simulate.site_file import load_sites
from mrcli.tasks.field_cases import QUICK, FieldDesign, Group
from mrcli.tasks.field_scans import make_scan
from mrcli.tasks.field_scores import score_image
from mrcli.tasks.train import training_sites
from mrcli.training.curriculum import MASKS_PER_GROUP, Curriculum
from mrcli.training.losses import LossWeights, loss_of
from mrcli.training.samples import simulate
from mrcli.training.state import Schedule, TrainingState

SEED, N_SAMPLES, N_ACS = 2025, 200, 20
WEIGHTS = LossWeights(error=0.0, magnitude=2.0)  # the phase of VarNet's coils is not an image's
VARNET = "varnet.safetensors"


def varnet_image(network, kspace, mask):
    """RSS magnitude ``(y, x)`` of one frame ``(coil, y, x)``; lines lie along its last axis."""
    data = torch.view_as_real(kspace.transpose(-1, -2).contiguous()).unsqueeze(0)
    lines = mask.transpose(-1, -2)[None, ..., None]
    return network(data, lines, num_low_frequencies=N_ACS)[0].transpose(-1, -2)


def samples():
    """k-space, mask and truth of the first samples of the curriculum, scaled to 1."""
    curriculum = Curriculum(training_sites(), SEED)
    for group in range(N_SAMPLES // MASKS_PER_GROUP):
        plan, one = simulate(curriculum.slice_of(group))
        n_y, n_x = one.truth.shape[-2:]
        for number in range(group * MASKS_PER_GROUP, (group + 1) * MASKS_PER_GROUP):
            recipe = curriculum.mask_of(number)
            try:
                mask = draw_mask(
                    recipe.pattern,
                    recipe.acceleration,
                    n_frames=len(one.truth),
                    matrix=(n_y, n_x),
                    n_acs=min(N_ACS, min(n_y, n_x) // 2),
                    seed=recipe.seed,
                )
            except MrcliError:
                continue
            mask = mask & wanted_lines(plan)[:, None]
            scale = one.truth.abs().quantile(0.99) if one.truth.numel() < 2**24 else 1.0
            yield one.kspace / scale * mask, mask, one.truth.abs() / scale


def train_varnet(out, minutes):
    torch.manual_seed(SEED)
    network = VarNet()
    print(f"E2E-VarNet: {count_parameters(network)} parameters", flush=True)
    data = list(samples())
    state, start = TrainingState(network), time.monotonic()
    schedule = Schedule(n_steps=10**9, peak=3e-4, warm_up=20)
    while (spent := time.monotonic() - start) < 60 * minutes:
        random = generator_of(SEED, "varnet", state.step)
        kspace, mask, truth = data[int(torch.randint(len(data), (1,), generator=random))]
        frame = int(torch.randint(len(kspace), (1,), generator=random))
        own = mask[frame if len(mask) > 1 else 0].expand(1, -1, -1)
        image = varnet_image(network, kspace[frame], own)
        loss = loss_of(torch.complex(image, 0 * image)[None], truth[frame, None] + 0j, WEIGHTS)
        loss.total.backward()
        share = spent / (60 * minutes)  # half a cosine over the time that there is
        state.update(schedule.rate(state.step) * 0.5 * (1 + np.cos(np.pi * share)))
        if state.step % 20 == 0:
            print(state.step, round(spent), loss.terms, flush=True)
    out.mkdir(parents=True, exist_ok=True)
    save_file({n: p.detach().contiguous() for n, p in network.named_parameters()}, out / VARNET)
    print(json.dumps({"steps": state.step, "minutes": minutes}))


def load_varnet(folder):
    network = VarNet()
    network.load_state_dict(load_file(folder / VARNET))
    return network.eval()


def by_varnet(network, scan):
    kspace, mask = scan.slice_kspace(0), scan.slice_mask(0)
    scale = float(kspace.abs().amax()) / 50  # networks of this kind want data of order 1
    frames = [
        varnet_image(network, one / scale, mask[index if len(mask) > 1 else 0].expand(1, -1, -1))
        for index, one in enumerate(kspace)
    ]
    return torch.stack(frames).numpy()


def by_small(network, scan):
    kspace, mask = scan.slice_kspace(0), scan.slice_mask(0)
    peak = kspace.abs().amax()
    kspace = kspace / peak
    data = encode_slice(kspace, mask, estimate_noise_sigma(kspace, mask))
    given = prepare(data.encoding, data.kspace, data.calibrated, data.noise_sigma)
    return network(given, torch.bfloat16).abs().numpy()


def load_small(folder):
    checkpoint = load_file(folder / "checkpoint.safetensors")
    weights = {n.removeprefix("average/"): t for n, t in checkpoint.items() if "average/" in n}
    network = Backbone(SMALL).to(memory_format=torch.channels_last)
    network.load_state_dict(weights)
    return network.eval()


@torch.inference_mode()
def score(varnet, small):
    runs = [("E2E-VarNet", load_varnet(varnet), by_varnet)]
    if small is not None:
        runs.append(("small", load_small(small), by_small))
    cases = FieldDesign(QUICK, 0).test_cases(load_sites())
    scores = {name: [] for name, _, _ in runs}
    for case in cases:
        if case.group is not Group.UNSEEN:
            continue
        scan = make_scan(case)
        for name, network, run in runs:
            image = run(network, scan.scan).astype(np.float32)
            scores[name].append(score_image(case, scan, image)["clean"].psnr_db)
    for name, values in scores.items():
        print(f"{name}: {np.mean(values):.2f} dB, n={len(values)}, worst {min(values):.2f}")
    if small is not None:
        gains = np.subtract(scores["small"], scores["E2E-VarNet"])
        print(f"small - E2E-VarNet: {gains.mean():.2f} dB, worst {gains.min():.2f}")


@torch.inference_mode()
def time_both():
    random = torch.Generator().manual_seed(0)
    kspace = torch.randn(12, 10, 198, 444, dtype=torch.complex64, generator=random)
    mask = draw_mask("ktGaussian", 8, n_frames=12, matrix=(198, 444), seed=0)
    varnet, small = VarNet().eval(), Backbone(SMALL).eval().to(memory_format=torch.channels_last)

    def run_varnet():
        for frame, lines in zip(kspace * mask, mask, strict=True):
            varnet_image(varnet, frame, lines)

    def run_small(dtype):
        data = encode_slice(kspace * mask, mask, 1.0)
        small(prepare(data.encoding, data.kspace, data.calibrated, data.noise_sigma), dtype)

    def seconds(run, n=3):
        times = []
        for _ in range(n):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) / 12)
        return min(times)

    slow = seconds(run_varnet, 2)
    print(f"E2E-VarNet fp32: {slow:.3f} s per frame, {count_parameters(varnet)} parameters")
    for dtype in (torch.float32, torch.bfloat16):
        fast = seconds(lambda dtype=dtype: run_small(dtype))
        print(f"small {dtype}: {fast:.3f} s per frame, {slow / fast:.1f} x faster")
    print(f"small: {count_parameters(small)} parameters; {torch.get_num_threads()} threads")


def main():
    keep_freed_memory()  # as the program does; both networks have it
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("time", "train-varnet", "score"))
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    asked = parser.parse_args()
    if asked.what == "time":
        time_both()
    elif asked.what == "train-varnet":
        train_varnet(asked.folders[0], asked.minutes)
    else:
        score(asked.folders[0], asked.folders[1] if len(asked.folders) > 1 else None)


if __name__ == "__main__":
    main()
