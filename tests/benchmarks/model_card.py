"""The tables of a model card, from a result of the field test.

    mrcli bench quality --quick --json > quick.json
    python tests/benchmarks/model_card.py quick.json

A cell is a modality, a pattern and an acceleration. "best classical" is the best mean of all
classical methods in that cell, ours and BART's, chosen after the fact: no single method reaches it
everywhere. Intervals are 95 % of the mean over cases, each of a patient of its own.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

NETWORKS = ("network", "network-universal", "network-plain")


def by_case(rows, metric):
    found = defaultdict(dict)
    for row in rows:
        found[row["case"]][row["method"]] = row[metric]
    return found


def interval(values):
    return 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))


def cell_of(row, keys):
    return tuple(row[key] for key in keys)


def overall(rows, metric, quantity):
    print(f"\n| {metric}, {quantity} | n | " + " | ".join(methods(rows)) + " |")
    print("|" + "---|" * (2 + len(methods(rows))))
    for group in dict.fromkeys(row["group"] for row in rows):
        for pattern in ("all", "Uniform", "ktGaussian", "ktRadial"):
            some = [r for r in rows if r["group"] == group and pattern in ("all", r["pattern"])]
            values = defaultdict(list)
            for row in some:
                values[row["method"]].append(row[metric][quantity])
            cells = [f"{np.mean(v):.3g}" if quantity == "ssim" else f"{np.mean(v):.2f} ± {interval(v):.2f}" for v in (values[m] for m in methods(rows))]  # fmt: skip  # noqa: E501
            n = len(next(iter(values.values())))
            print(f"| {group}, {pattern} | {n} | " + " | ".join(cells) + " |")


def methods(rows):
    return list(dict.fromkeys(row["method"] for row in rows))


def gains(rows, network):
    """Gain over the best classical method of each cell, at unseen sites."""
    cells = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["group"] == "unseen site":
            cell = cells[cell_of(row, ("modality", "pattern", "acceleration"))]
            cell[row["method"]].append(row["clean"]["psnr_db"])
    found = {}
    for cell, values in cells.items():
        means = {method: np.mean(one) for method, one in values.items()}
        best = max((m for m in means if m not in NETWORKS), key=means.get)
        found[cell] = (means[network] - means[best], means[network], best, means[best])
    return found


def show_gains(rows, network):
    found = gains(rows, network)
    values = np.array([one[0] for one in found.values()])
    print(
        f"\n{network} over the best classical method of each cell, unseen sites: "
        f"{values.mean():+.2f} ± {interval(values):.2f} dB, worst {values.min():+.2f}, "
        f"best {values.max():+.2f}; at least 0.5 dB above it in {(values >= 0.5).sum()} and above "
        f"it in {(values > 0).sum()} of {len(values)} cells"
    )
    for method in methods(rows):
        if method not in NETWORKS:
            single = single_gain(rows, network, method)
            print(f"  over {method} alone: {single.mean():+.2f} ± {interval(single):.2f} dB")
    return found


def single_gain(rows, network, method):
    pairs = by_case([row for row in rows if row["group"] == "unseen site"], "clean").values()
    return np.array([one[network]["psnr_db"] - one[method]["psnr_db"] for one in pairs])


def cell_table(found):
    modalities = sorted({cell[0] for cell in found})
    patterns = sorted({cell[1:] for cell in found})
    print("\n| gain in dB | " + " | ".join(f"{p} {a}" for p, a in patterns) + " |")
    print("|---" * (1 + len(patterns)) + "|")
    for modality in modalities:
        cells = [found.get((modality, *one)) for one in patterns]
        text = ["" if one is None else f"{one[0]:+.1f}" for one in cells]
        print(f"| {modality} | " + " | ".join(text) + " |")


def adapter_gains(rows):
    """What the adapters give to the plain backbone, case by case."""
    for group in dict.fromkeys(row["group"] for row in rows):
        pairs = by_case([row for row in rows if row["group"] == group], "clean").values()
        for name in NETWORKS[:2]:
            own = np.array([p[name]["psnr_db"] - p[NETWORKS[2]]["psnr_db"] for p in pairs])
            print(f"{name} over network-plain, {group}: {own.mean():+.2f} ± {interval(own):.2f} dB")


def main():
    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["rows"]
    for metric, quantity in (("clean", "psnr_db"), ("clean", "ssim"), ("cmrxrecon2025", "psnr_db")):
        overall(rows, metric, quantity)
    present = [name for name in NETWORKS if name in methods(rows)]
    if len(present) == len(NETWORKS):
        adapter_gains(rows)
    cell_table([show_gains(rows, name) for name in present][-2 if len(present) > 1 else -1])


if __name__ == "__main__":
    main()
