"""Statistics of a report: closed forms, and intervals that cover what they promise."""

import math

import numpy as np
import pytest

from mrcli.metrics.image import Quality
from mrcli.metrics.sets import FrameQuality, Scores
from mrcli.report.comparison import compare_rows
from mrcli.report.csv_table import COLUMNS, csv_text, safe_cell
from mrcli.report.limits import LimitError, find_offenders, parse_limit
from mrcli.report.rows import Conditions, Row
from mrcli.report.summary import describe_values, summarise
from mrcli.site import Site


def row(scan="a", psnr_db=30.0, *, metric_set="clean", ssim=0.9, nmse=0.01, **conditions):
    quality = Quality(psnr_db, ssim, nmse)
    scores = Scores(quality, (FrameQuality(2, 1, quality),))
    return Row(scan, f"{scan}.nii.gz", metric_set, scores, Conditions(**conditions), "image r")


def test_the_interval_of_two_values_is_students():
    # values 1 and 3: mean 2, sd sqrt 2, standard error 1, quantile 12.7062 at one degree of freedom
    found = describe_values([1.0, 3.0])
    assert (found.n, found.mean) == (2, 2)
    assert found.sd == pytest.approx(math.sqrt(2))
    assert found.ci95 == pytest.approx((2 - 12.706204736, 2 + 12.706204736))


def test_one_value_has_no_interval():
    found = describe_values([1.5])
    assert (found.mean, found.sd, found.ci95) == (1.5, None, None)


def test_an_infinite_value_leaves_no_spread():
    found = describe_values([30.0, math.inf])
    assert (found.mean, found.sd, found.ci95) == (math.inf, None, None)
    assert found.document()["mean"] is None


@pytest.mark.parametrize("n", [5, 10, 20])
def test_intervals_cover_the_mean_in_95_of_100_cohorts(n):
    cohorts = np.random.default_rng(n).normal(7.0, 2.0, (2000, n)).tolist()
    intervals = [describe_values(cohort).ci95 for cohort in cohorts]
    covered = np.mean([low <= 7.0 <= high for low, high in intervals])
    assert 0.93 <= covered <= 0.97


def test_groups_are_made_of_site_protocol_acceleration_pattern_and_method():
    rows = [
        row("a", 30.0, nominal_acceleration=4.0, true_acceleration=3.1),
        row("b", 34.0, nominal_acceleration=4.0, true_acceleration=3.2),
        row("c", 20.0, nominal_acceleration=8.0),
        row("d", 21.0, nominal_acceleration=4.0, site=Site("Center001", "umr780")),
        row("a", 25.0, metric_set="fastmri", nominal_acceleration=4.0),
    ]
    groups = summarise(rows)
    assert [one.statistics["psnr_db"].n for one in groups] == [2, 1, 1, 1]
    first = groups[0].document()
    assert first["psnr_db"]["mean"] == 32
    assert (first["psnr_db"]["worst"], first["psnr_db"]["worst_path"]) == (30, "a.nii.gz")


def test_the_worst_nmse_is_the_largest():
    (group,) = summarise([row("a", nmse=0.01), row("b", nmse=0.2)])
    assert (group.worst["nmse"].value, group.worst["nmse"].path) == (0.2, "b.nii.gz")


def test_differences_are_paired_by_scan_and_set():
    mine = [row("a", 31.0), row("b", 33.0), row("c", 99.0)]
    theirs = [row("b", 30.0), row("a", 30.0), row("d", 1.0), row("a", 5.0, metric_set="fastmri")]
    compared = compare_rows(mine, theirs)
    assert [(one.metric_set, one.metric) for one in compared] == [
        ("clean", "psnr_db"),
        ("clean", "ssim"),
        ("clean", "nmse"),
    ]
    assert [(one.scan, one.value) for one in compared[0].differences] == [("a", 1.0), ("b", 3.0)]
    assert compared[0].statistic.mean == 2


def test_two_infinite_values_do_not_differ():
    (psnr_db, *_) = compare_rows([row("a", math.inf)], [row("a", math.inf)])
    assert psnr_db.differences[0].value == 0


@pytest.mark.parametrize(
    ("text", "offends"),
    [
        ("psnr=30", False),
        ("psnr_db=30.1", True),
        ("clean.psnr=31", True),
        ("fastmri.psnr=31", False),
        ("ssim=0.95", True),
        ("nmse=0.01", False),
        ("nmse=0.005", True),
    ],
)
def test_a_limit_is_violated_on_the_bad_side_only(text, offends):
    limit = parse_limit(text, ("clean", "fastmri"))
    found = find_offenders([row("a", 30.0)], [limit])
    assert bool(found) is offends
    assert all(one.path == "a.nii.gz" for one in found)


def test_an_offender_is_told_in_words():
    limits = [parse_limit(text, ("clean",)) for text in ("clean.psnr=50", "nmse=0.001")]
    found = find_offenders([row("a", 39.97)], limits)
    assert [one.sentence() for one in found] == [
        "a.nii.gz: clean.psnr_db 39.97 is below 50",
        "a.nii.gz: clean.nmse 0.01 is above 0.001",
    ]


def test_an_infinite_psnr_violates_no_limit():
    assert not find_offenders([row("a", math.inf)], [parse_limit("psnr=99", ("clean",))])


@pytest.mark.parametrize(
    "text", ["", "psnr", "psnr=", "psnr=a", "psnr=nan", "snr=3", "cmrxrecon2025.psnr=3", "psnr=1=2"]
)
def test_a_limit_that_makes_no_sense_is_a_usage_error(text):
    with pytest.raises(LimitError, match="cannot be understood") as caught:
        parse_limit(text, ("clean",))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@sum", "\t=1", " =1", "\n=1", "-x"])
def test_what_a_spreadsheet_would_compute_gets_an_apostrophe(text):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.5", "+2e-7", "1e9", "a=b", ".5", "scan-1"])
def test_numbers_and_plain_texts_stay(text):
    assert safe_cell(text) == text


def test_the_csv_has_one_line_per_row_and_an_infinite_psnr_is_inf():
    lines = csv_text([row("a", math.inf, method="sense"), row("=b")], []).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    cells = dict(zip(COLUMNS, lines[1].split(","), strict=True))
    assert (cells["path"], cells["psnr_db"], cells["method"]) == ("a.nii.gz", "inf", "sense")
    assert lines[2].startswith("'=b.nii.gz,")
