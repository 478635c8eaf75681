"""Time and memory of SENSE beside BART, on one simulated cine of clinical size.

    python tests/benchmarks/sense_speed.py [--repeats 5]

Prints, for 12 frames x 10 coils x 444 x 198 at AF 8 with 20 ACS lines: the solver alone (data and
maps in memory, or in files of a memory disk for BART), whole commands (file in, image out, maps
included), peak memory over input size, and the start of the command line. Runs alternate, so that
a busy machine slows both; the minimum of each counts.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bart import BART, bart, write_kspace
from ellipses import (
    PhantomSpec,
    simulate_kspace,
    simulate_maps,
    simulate_truth,
)
from mrcli.io.cmrxrecon_files import write_kspace_mat
from mrcli.methods import METHODS, EncodedSlice
from mrcli.physics.encoding import CartesianEncoding, decouple_readout_
from mrcli.physics.patterns import kt_gaussian_lines, uniform_lines

SPEC = PhantomSpec(12, 1, 10, (198, 444), (0.9, 1.6, 8.0))
MASKS = {
    "Uniform 8": uniform_lines(198, 8),
    "ktGaussian 8": kt_gaussian_lines(12, 198, 8, seed=1),
}


def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(actions, repeats):
    """Return the least time of each action; a first round warms up."""
    times = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            elapsed = seconds(action)
            if turn:
                times[name].append(elapsed)
    return {name: min(values) for name, values in times.items()}


def solver(kspace, mask, maps, folder, repeats):
    data, lines, axes = decouple_readout_(kspace.clone(), mask)
    acs = torch.zeros(1, 1, 198, 1, dtype=torch.bool)
    acs[:, :, 89:109] = True
    encoded = EncodedSlice(CartesianEncoding(maps[None], lines, axes), data, acs, 1 / SPEC.snr)
    actions = {f"mrcli {name}": lambda m=method: m(encoded) for name, method in METHODS.items()}
    if BART:
        write_kspace(folder / "kspace", kspace)
        write_kspace(folder / "maps", maps[None])
        call = ("pics", "-l2", "-r", "0.01", "-i30", "kspace", "maps", "image")
        actions["bart pics -l2 -i30"] = lambda: bart(folder, *call)
    return alternate(actions, repeats)


def commands(kspace, folder, repeats):
    write_kspace_mat(folder / "scan.mat", "kus", kspace[:, None].numpy())
    write_kspace(folder / "kspace", kspace)
    call = [sys.executable, "-m", "mrcli", "recon", "scan.mat", "-o", "out", "-q", "--overwrite"]

    def ours():
        subprocess.run([*call, "--method", "sense"], cwd=folder, check=True, capture_output=True)

    def theirs():
        bart(folder, "ecalib", "-m1", "kspace", "maps")
        bart(folder, "pics", "-l2", "-r", "0.01", "-i30", "kspace", "maps", "image")

    actions = {"mrcli recon --method sense": ours}
    if BART:
        actions["bart ecalib + pics -l2 -i30"] = theirs
    return alternate(actions, repeats)


def peak_bytes(arguments, folder):
    """Return the peak resident memory of a command run by a fresh interpreter."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "capture_output=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) * 1024


def memory(kspace, folder):
    """Print peak memory over input size, for one slice and for six of the same size."""
    load = [sys.executable, "-c", "import mrcli.tasks.recon, mrcli.cli.app"]
    empty = peak_bytes(load, folder)
    for n_slices in (1, 6):
        stored = np.repeat(kspace[:, None].numpy(), n_slices, axis=1)
        write_kspace_mat(folder / "scan.mat", "kus", stored)
        for method in METHODS:
            call = [sys.executable, "-m", "mrcli", "recon", "scan.mat", "-o", "out", "-q"]
            peak = peak_bytes([*call, "--overwrite", "--method", method], folder)
            print(
                f"peak memory, {n_slices} slices ({stored.nbytes / 2**20:.0f} MiB), {method}: "
                f"{peak / 2**20:.0f} MiB = {peak / stored.nbytes:.2f} x input; above the "
                f"{empty / 2**20:.0f} MiB of the libraries {(peak - empty) / stored.nbytes:.2f} x"
            )


def start_up():
    times = []
    for _ in range(11):
        call = [sys.executable, "-m", "mrcli", "--help"]
        times.append(seconds(lambda c=call: subprocess.run(c, check=True, capture_output=True)))
    print(f"mrcli --help: median {sorted(times)[5]:.2f} s of {len(times)} runs")


def show(title, times):
    print(title)
    for name, value in times.items():
        print(f"  {name:<30}{value:8.2f} s")
    rivals = [value for name, value in times.items() if name.startswith("bart")]
    for name, value in times.items():
        if rivals and "sense" in name:
            print(f"  {name} / BART: {value / rivals[0]:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    truth, maps = simulate_truth(SPEC), simulate_maps(SPEC)
    full = simulate_kspace(truth, maps, SPEC)[:, 0]
    disk = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(dir=disk))
    try:
        for name, mask in MASKS.items():
            kspace = full * mask
            show(f"{name}, solver", solver(kspace, mask, maps, folder, repeats))
            show(f"{name}, whole command", commands(kspace, folder, repeats))
        memory(full * MASKS["Uniform 8"], folder)
        start_up()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
