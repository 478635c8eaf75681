"""The network beside SENSE at full size: six cases of the full field test, at unseen sites.

    python tests/benchmarks/full_size.py

PSNR in dB of the set `clean` against the truth, and seconds per frame, maps included. Samples in
training had up to 8 frames; these have up to 40.
"""

from mrcli.simulate.site_file import load_sites
from mrcli.tasks.field_cases import FULL, FieldDesign, Group
from mrcli.tasks.field_methods import find_methods
from mrcli.tasks.field_scans import make_scan
from mrcli.tasks.field_scores import run_method

WANTED = (
    ("Cine", "Uniform", 8),
    ("Cine", "ktGaussian", 8),
    ("Perfusion", "Uniform", 8),
    ("Perfusion", "ktGaussian", 16),
    ("Mapping", "Uniform", 8),
    ("T2w", "Uniform", 8),
)


def main():
    methods, _ = find_methods(("sense", "network"), "cpu")
    cases = {}
    for case in FieldDesign(FULL, 0).test_cases(load_sites()):
        if case.group is Group.UNSEEN:
            cases.setdefault((case.modality, case.pattern, case.acceleration), case)
    for wanted in WANTED:
        case = cases[wanted]
        scan = make_scan(case)
        print(f"{case.name} {scan.truth.shape}, true acceleration {scan.true_acceleration:.1f}")
        for method in methods:
            row = run_method(case, scan, method, None)
            seconds = row.seconds / len(scan.truth)
            psnr = row.qualities["clean"].psnr_db
            print(f"  {method.name:<8} {psnr:6.2f} dB  {seconds:.2f} s per frame")


if __name__ == "__main__":
    main()
