"""The field test: what is scored against what, how weights are chosen, and how it ends."""

import io
import json
import math
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from scipy.stats import t as student_t
from typer.testing import CliRunner

from mrcli.cli import bench as command
from mrcli.errors import DataError, InputError, ModelError
from mrcli.io.bart_tool import Bart
from mrcli.metrics.image import Quality
from mrcli.physics.encoding import fft2c, ifft2c
from mrcli.schemas import violations
from mrcli.simulate.recipes import Cohort, Reduction, draw_sizes
from mrcli.simulate.scans import SimulatedSlice, plan_scan, simulate_slice
from mrcli.simulate.site_file import load_sites
from mrcli.site import Site
from mrcli.tasks import field_methods
from mrcli.tasks.bench import QualitySettings, run_field_test, run_quality
from mrcli.tasks.field_cases import ACCELERATIONS, PATTERNS, FieldDesign, FieldVersion, Group
from mrcli.tasks.field_methods import BART_CALLS, METHOD_NAMES, FieldMethod, find_methods
from mrcli.tasks.field_scans import make_scan, without_oversampling
from mrcli.tasks.field_scores import FieldFailure, FieldRow, choose_weights, run_case, run_method
from mrcli.tasks.field_summary import compare, summarise
from networks import installed, write_model

SITES = load_sites()
TINY = FieldVersion("tiny", Reduction(matrix=0.2, max_frames=2), True, True)
SITE = "Center107/Vida.sim"  # cine, lge and T1mappost; partial Fourier
SETTINGS = QualitySettings(TINY, sites=(SITE,), device="cpu")
HEAD = {"schema_version": 1, "command": "bench", "ok": True, "exit_code": 0}


def method(name, run, weights=()):
    return FieldMethod(name, "a test", "none", run, weights)


def rss(scan, weight=None):
    """Combine the zero-filled coils: the quickest method there is."""
    del weight
    return ifft2c(scan.slice_kspace(0)).abs().square().sum(1).sqrt().numpy()


def case_at(name=SITE, contrast="cine", **changes):
    cases = FieldDesign(TINY, 0).test_cases(SITES)
    found = [
        c for c in cases if (c.recipe.site.name, c.recipe.protocol.contrast) == (name, contrast)
    ]
    return replace(found[0], **changes)


def row_of(case, psnr_db, name="rss", weight=None):
    quality = Quality(psnr_db, 0.9, 0.1)
    qualities = {"clean": quality, "cmrxrecon2025": quality}
    return FieldRow(case, name, weight, qualities, 3.0, (2, 8, 8), 1.0)


@contextmanager
def copied_scans():
    """Take one scan for all cases, each under its own name: who asks what does not depend on it."""
    one = make_scan(case_at())

    def copy(case, device):
        assert device == "cpu"
        return replace(one, scan=replace(one.scan, path=Path(case.name)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mrcli.tasks.bench.make_scan", copy)
        yield


@pytest.fixture(autouse=True, scope="module")
def _no_model(tmp_path_factory):
    with installed(tmp_path_factory.mktemp("pretrained")):
        yield


@pytest.fixture(scope="module")
def seen_by_grid():
    """What a method with a grid is called with: scan and weight."""
    return []


@pytest.fixture(scope="module")
def result(seen_by_grid):
    """A field test of one site with a method, one that has a grid, and one that fails at times."""

    def blurred(scan, weight):
        seen_by_grid.append((str(scan.path), weight))
        image = rss(scan)
        return image + weight * image.max()

    def fragile(scan, weight):
        if "ktRadial8" in scan.path.name and "cine" in str(scan.path):
            raise DataError("it does not like spokes")
        return rss(scan, weight)

    methods = (
        method("sense", rss),
        method("grid", blurred, (1.0, 0.0, 0.5)),
        method("fragile", fragile),
    )
    with copied_scans():
        return run_field_test(SETTINGS, methods)


def test_a_method_that_returns_the_truth_or_its_multiple_scores_infinite_psnr():
    scan = make_scan(case_at())
    for factor in (1.0, 4.0, 2.0**40):
        found = run_method(case_at(), scan, method("it", lambda *_, f=factor: f * scan.truth), None)
        assert found.qualities["clean"].psnr_db == math.inf
        assert found.qualities["clean"].ssim == pytest.approx(1)
        assert found.qualities["clean"].nmse == 0
        assert math.isfinite(found.qualities["cmrxrecon2025"].psnr_db)


def test_a_method_that_returns_the_noisy_coils_pleases_the_challenge_only():
    scan = make_scan(case_at())
    found = run_method(case_at(), scan, method("it", lambda *_: scan.rss), None)
    assert found.qualities["cmrxrecon2025"].psnr_db == math.inf
    assert math.isfinite(found.qualities["clean"].psnr_db)


def test_the_truth_is_noiseless_and_the_other_reference_is_the_full_sampling():
    case = case_at(removes_oversampling=False)
    plan = plan_scan(case.recipe)
    one = simulate_slice(plan, plan.sizes.n_slices // 2)
    scan = make_scan(case)
    assert np.array_equal(scan.truth, one.truth.abs().numpy())
    coils = ifft2c(one.kspace).abs().square().sum(1).sqrt()
    np.testing.assert_allclose(scan.rss, coils.numpy(), rtol=1e-5)
    in_air = scan.truth < np.quantile(scan.truth, 0.1)
    assert scan.rss[in_air].mean() > 10 * scan.truth[in_air].mean()  # air has a noise floor


def test_the_scan_holds_what_the_mask_says_and_states_it():
    scan = make_scan(case_at(pattern="Uniform", acceleration=8)).scan  # it has line 0
    mask, kspace = scan.slice_mask(0), scan.slice_kspace(0)
    assert scan.mask_source == "file"
    assert scan.noise is None
    assert not (kspace * ~mask).any()
    n_y = scan.header.matrix[0]
    assert not mask[:, :, : round(0.125 * n_y)].any()  # partial Fourier of this site
    assert (scan.header.site.center, scan.header.protocol) == ("Center107", "Cine")


def test_loading_a_slice_gives_a_copy_that_may_be_changed():
    scan = make_scan(case_at()).scan
    scan.slice_kspace(0).zero_()
    assert scan.slice_kspace(0).any()


@pytest.mark.parametrize("n_x", [16, 18, 17])
def test_without_oversampling_the_object_is_that_in_the_middle(n_x):
    random = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 9, n_x, dtype=torch.complex64, generator=random)
    maps = torch.randn(3, 9, n_x, dtype=torch.complex64, generator=random)
    full = SimulatedSlice(truth, maps, fft2c(truth[:, None] * maps))
    less = without_oversampling(full, 2.0)
    assert less.truth.shape[-1] == round(n_x / 2)
    assert torch.equal(less.truth[..., round(n_x / 2) // 2], truth[..., n_x // 2])
    torch.testing.assert_close(less.kspace, fft2c(less.truth[:, None] * less.maps))


def test_a_version_that_removes_oversampling_halves_the_readout():
    case = case_at()
    n_y, n_x = draw_sizes(case.recipe).matrix
    assert make_scan(case).scan.header.matrix == (n_y, round(n_x / 2))
    whole = replace(case, removes_oversampling=False)
    assert make_scan(whole).scan.header.matrix == (n_y, n_x)


def test_the_same_seed_gives_the_same_scores_and_another_seed_others():
    (own,) = (one for one in field_methods.own_methods("cpu") if one.name == "sense")

    def scores(seed):
        case = FieldDesign(TINY, seed).test_cases(SITES)[40]
        (row,) = run_case(case, [(own, None)], make_scan)
        return row.qualities

    first, other = scores(3), scores(4)
    assert scores(3) == first != other


def test_our_methods_are_those_of_recon_on_the_same_scan():
    scan = make_scan(case_at())
    found = {one.name: one for one in field_methods.own_methods("cpu")}
    assert tuple(found) == ("zero-filled", "sense", "cs")
    for one in found.values():
        image = one.run(scan.scan, None)
        assert image.shape == scan.truth.shape
        assert image.dtype == np.float32
        assert one.weights == ()


NETWORKS = ("network", "network-universal", "network-plain")


def test_without_a_model_the_networks_are_left_out_with_the_reason():
    methods, left_out = find_methods(("sense", *NETWORKS), "cpu")
    assert [one.name for one in methods] == ["sense"]
    assert [(one.name, one.reason) for one in left_out] == [
        (name, "no model is installed") for name in NETWORKS
    ]
    with pytest.raises(InputError, match="no method can run: network: no model is installed"):
        find_methods(("network",), "cpu")
    with pytest.raises(ModelError, match="no model is called"):
        find_methods(("network",), "cpu", "absent")
    assert [one.name for one in find_methods(("sense",), "cpu", "absent")[0]] == ["sense"]


def test_the_three_networks_are_one_model_with_other_adapters(tmp_path):
    """Its only site is that of the case; so are its protocol and the universal adapter."""
    adapters = (("protocol", "Cine"), ("site", SITE), ("universal", "universal"))
    write_model(tmp_path / "small", adapters=adapters)
    methods, left_out = find_methods(NETWORKS, "cpu", str(tmp_path / "small"))
    assert (tuple(one.name for one in methods), left_out) == (NETWORKS, ())
    scan = make_scan(case_at())
    images = [one.run(scan.scan, None) for one in methods]
    assert {image.shape for image in images} == {scan.truth.shape}
    assert len({image.tobytes() for image in images}) == 3
    assert [one.settings.split(", ")[1] for one in methods] == [
        "adapter auto",
        "adapter universal",
        "adapter none",
    ]
    elsewhere = replace(scan.scan.header, site=Site("Center999", "New"))
    unknown = replace(scan.scan, header=elsewhere)
    assert np.array_equal(methods[0].run(unknown, None), images[1])


def test_a_model_without_a_universal_adapter_has_no_such_method(tmp_path):
    write_model(tmp_path / "m", adapters=())
    methods, (left_out,) = find_methods(NETWORKS, "cpu", str(tmp_path / "m"))
    assert [one.name for one in methods] == ["network", "network-plain"]
    assert left_out.name == "network-universal"
    assert "no universal adapter" in left_out.reason


def test_the_document_names_the_model_and_not_its_folder():
    assert QualitySettings(model="/home/person/small").document()["model"] == "small"
    assert QualitySettings().document()["model"] is None


def test_every_case_has_a_row_or_a_failure_and_others_go_on(result):
    assert result.exit_code == 8
    (failure,) = result.failures
    assert (failure.method, failure.error.message) == ("fragile", "it does not like spokes")
    assert failure.case.name.endswith("cine/ktRadial8")
    assert len(result.rows) == 3 * len(result.test_cases) - 1 == 3 * 27 - 1
    (reason,) = result.reasons
    assert reason.message == f"{failure.case.name}: fragile: it does not like spokes"


def test_without_a_failure_the_exit_code_is_0(result):
    assert replace(result, failures=()).exit_code == 0


def test_the_best_weight_is_chosen_per_pattern_and_used_on_the_test_set(result):
    assert [one.pattern for one in result.tunings] == ["Uniform", "ktGaussian", "ktRadial"]
    assert {one.chosen for one in result.tunings} == {0.0}
    assert {row.weight for row in result.rows if row.method == "grid"} == {0.0}
    assert {row.weight for row in result.rows if row.method != "grid"} == {None}


def test_weights_are_chosen_before_and_never_on_the_test_set(result, seen_by_grid):
    tuning = {case.name for case in result.tuning_cases}
    test = {case.name for case in result.test_cases}
    seen = [name for name, _ in seen_by_grid]
    n_tried = 3 * len(tuning)
    assert len(tuning) == 9
    assert set(seen[:n_tried]) == tuning
    assert set(seen[n_tried:]) == test
    assert {case.recipe.cohort for case in result.tuning_cases} == {Cohort.TUNE}
    assert {row.case.name for row in result.rows} == test


def test_the_choice_is_the_highest_mean_of_the_weights_that_failed_least():
    case = FieldDesign(TINY, 0).tuning_cases(SITES)[0]
    tried = method("grid", rss, (1.0, 2.0, 3.0))
    rows = [
        row_of(case, psnr, "grid", w) for w, psnr in ((1.0, 30), (1.0, 20), (2.0, 26), (2.0, 25))
    ]
    rows.append(row_of(case, 50, "grid", 3.0))  # once only: it failed on the other case
    chosen = {one.pattern: one for one in choose_weights(rows, [tried])}
    assert chosen["Uniform"].scores == ((1.0, 2, 25), (2.0, 2, 25.5), (3.0, 1, 50))
    assert chosen["Uniform"].chosen == 2.0
    assert chosen["ktRadial"].chosen is None


def test_a_method_whose_weights_all_failed_is_listed_on_every_test_case():
    def never(*_):
        raise DataError("never")

    with copied_scans():
        small = run_field_test(SETTINGS, [method("never", never, (1.0,))])
    assert not small.rows
    on_test = [one for one in small.failures if one.case.recipe.cohort is Cohort.TEST]
    assert len(on_test) == len(small.test_cases)
    assert {one.error.message[:30] for one in on_test} == {"no weight could be chosen for "}


def test_a_case_that_cannot_be_simulated_fails_for_every_method():
    def impossible(case):
        raise DataError(f"{case.pattern} does not fit")

    calls = [(method("a", rss), None), (method("b", rss), None)]
    found = run_case(case_at(), calls, impossible)
    assert [type(one) for one in found] == [FieldFailure, FieldFailure]
    assert [one.method for one in found] == ["a", "b"]


@pytest.mark.parametrize(
    "image", [np.zeros((2, 3, 3), np.float32), np.full((2, 26, 38), np.nan, np.float32)]
)
def test_an_image_that_cannot_be_scored_is_a_failure(image):
    found = run_method(case_at(), make_scan(case_at()), method("it", lambda *_: image), None)
    assert isinstance(found, FieldFailure)


def test_lack_of_memory_is_a_failure_of_that_case():
    def greedy(*_):
        raise MemoryError

    found = run_method(case_at(), make_scan(case_at()), method("it", greedy), None)
    assert found.error.code == "ResourceError"


def test_cases_of_one_patient_count_once():
    case = case_at()
    others = [replace(case, acceleration=r) for r in (16, 24)]
    other = replace(case, recipe=replace(case.recipe, patient=99))
    rows = [row_of(case, 30), row_of(others[0], 32), row_of(others[1], 34), row_of(other, 40)]
    (whole,) = (one for one in summarise(rows) if one.level == "group")
    found = whole.statistics["clean"]["psnr_db"]
    assert (whole.n_cases, found.n, found.mean) == (4, 2, 36)
    assert found.sd == pytest.approx(math.sqrt(32))
    half = student_t.ppf(0.975, 1) * 4
    assert found.ci95 == pytest.approx((36 - half, 36 + half))


def test_differences_are_paired_case_by_case_and_cases_without_a_pair_are_left_out():
    case = case_at()
    others = [replace(case, recipe=replace(case.recipe, patient=n)) for n in (50, 51)]
    rows = [
        row_of(case, 30, "sense"),
        row_of(others[0], 20, "sense"),
        row_of(case, 31, "cs"),
        row_of(others[0], 23, "cs"),
        row_of(others[1], 99, "cs"),
    ]
    (whole,) = (one for one in compare(rows) if one.level == "group")
    found = whole.statistics["clean"]["psnr_db"]
    assert (whole.method, whole.against, found.n, found.mean) == ("cs", "sense", 2, 2)


def test_two_infinite_values_do_not_differ():
    rows = [row_of(case_at(), math.inf, name) for name in ("sense", "cs")]
    assert compare(rows)[0].statistics["clean"]["psnr_db"].mean == 0


def test_every_level_has_its_means(result):
    counts = {}
    for one in result.summary:
        if one.method == "sense":
            counts[one.level] = counts.get(one.level, 0) + 1
    assert counts == {"group": 1, "sampling": 9, "protocol": 3, "site": 1, "cell": 27}
    assert {one.against for one in result.paired} == {"sense"}
    assert {one.facts["group"] for one in result.summary} == {Group.UNSEEN.value}


def test_the_document_is_as_promised_and_json_can_say_it(result):
    document = result.document()
    assert violations(HEAD | document) == ()
    assert document["is_simulated"] is True
    json.dumps(document, allow_nan=False)


def test_parts_are_listed_in_order_of_pattern_and_acceleration(result):
    stream = io.StringIO()
    command.show_quality(result, Console(file=stream, width=80), is_quiet=True)
    expected = [f"{pattern.value}{r}" for pattern in PATTERNS for r in ACCELERATIONS]
    first = [line.split()[0] for line in stream.getvalue().splitlines() if line]
    assert [word for word in first if word in expected] == 2 * expected


@pytest.mark.parametrize("width", [80, 100_000])
def test_tables_fit_into_80_characters_and_lose_nothing(result, width):
    stream = io.StringIO()
    names = (*METHOD_NAMES, "network-one")
    methods = tuple(method(name, rss) for name in names)
    rows = tuple(row_of(c, 30 + n, name) for c in result.test_cases for n, name in enumerate(names))
    shown = replace(result, methods=methods, rows=rows)
    command.show_quality(shown, Console(file=stream, width=width), is_quiet=True)
    text = stream.getvalue()
    lines = [line for line in text.splitlines() if not line.startswith(("grid:", "left out:"))]
    assert width > 80 or max(len(line.rstrip()) for line in lines) <= 80
    assert "…" not in text
    assert text.count("ktGaussian16") == 4  # two metric sets, two tables each, none folded
    for name in ("ktGaussian16", "network-one", "Center107/Vida.sim", "Mapping", "30.0±0.0"):
        assert name in text


def test_captions_say_that_scans_are_simulated(result, capsys):
    command.show_quality(result, Console(file=io.StringIO()))
    captions = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(captions) == 5
    assert all(line.startswith("simulated scans, ") for line in captions)


def test_without_bart_its_methods_are_left_out_with_the_reason(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    methods, left_out = find_methods((), "cpu")
    assert [one.name for one in methods] == ["zero-filled", "sense", "cs"]
    assert [one.name for one in left_out] == [*NETWORKS, *(call.name for call in BART_CALLS)]
    assert {one.reason for one in left_out if one.name.startswith("bart")} == {
        "the BART toolbox is not installed: no program bart on the search path"
    }
    with pytest.raises(InputError, match="no method can run: bart-l2: the BART toolbox"):
        find_methods(("bart-l2",), "cpu")


def test_a_bart_that_does_not_run_is_left_out_too(tmp_path, monkeypatch):
    program = tmp_path / "bart"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda _: str(program))
    _, left_out = find_methods((), "cpu")
    reasons = {one.reason for one in left_out if one.name.startswith("bart")}
    assert reasons == {"bart version ended with 1: broken"}


def test_a_failing_bart_is_a_failure_of_that_case(tmp_path, monkeypatch):
    program = tmp_path / "bart"
    program.write_text('#!/bin/sh\n[ "$1" = version ] && echo v0 && exit\necho no >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda _: str(program))
    (one,), _ = find_methods(("bart-l2",), "cpu")
    found = run_method(case_at(), make_scan(case_at()), one, 0.01)
    assert found.error.message == "bart ecalib ended with 1: no"


def test_bart_is_given_its_options_with_the_weight(monkeypatch):
    calls = []

    monkeypatch.setattr(Bart, "ecalib", lambda _, calibration: calls.append(calibration))
    monkeypatch.setattr(
        Bart, "pics", lambda _, kspace, __, options: calls.append(options) or kspace[:, 0]
    )
    scan = make_scan(case_at(pattern="ktRadial", acceleration=24)).scan
    field_methods._by_bart(scan, 0.25, bart=Bart(Path("bart")), options="-R T:1024:0:{} -i 50")
    calibration, options = calls
    assert options == ("-R", "T:1024:0:0.25", "-i", "50")
    mask, kspace = scan.slice_mask(0).expand(2, -1, -1, -1), scan.slice_kspace(0)
    both = mask[0] & mask[1]
    expected = torch.where(both, kspace.mean(0), kspace.sum(0))
    torch.testing.assert_close(calibration, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (QualitySettings(TINY, sites=("Center107/Vidas",)), "no site is called 'Center107/Vidas'"),
        (QualitySettings(TINY, methods=("sens",)), "no method is called 'sens'"),
    ],
)
def test_unknown_names_are_input_errors(settings, message):
    with pytest.raises(InputError, match=message):
        run_quality(settings)


@pytest.fixture
def invoke(monkeypatch, result):
    """Run the verb as it would be registered; the test itself is replaced."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("bench")(command.bench)
    asked = []
    monkeypatch.setattr(
        "mrcli.tasks.bench.run_quality", lambda settings, _: asked.append(settings) or result
    )
    return lambda *arguments: (CliRunner().invoke(app, list(arguments)), asked)


def test_the_verb_writes_the_document_that_it_prints(invoke, tmp_path):
    file = tmp_path / "quality.json"
    ended, (settings,) = invoke(
        "quality",
        "--quick",
        "--json",
        "-q",
        "-o",
        str(file),
        "--methods",
        "sense, cs",
        "--seed",
        "7",
        "--model",
        "models/small",
    )
    assert ended.exit_code == 8
    assert (settings.version.name, settings.methods, settings.seed) == ("quick", ("sense", "cs"), 7)
    assert settings.model == "models/small"
    written, printed = json.loads(file.read_text()), json.loads(ended.stdout)
    printed["error"] = written["error"]  # on the terminal a single reason is named
    assert written == printed
    assert written["command"] == "bench"
    assert [path.name for path in tmp_path.iterdir()] == ["quality.json"]


def test_a_file_that_cannot_be_written_is_known_before_the_long_run(invoke, tmp_path):
    (tmp_path / "file").write_text("")
    ended, asked = invoke("quality", "-o", str(tmp_path / "file/quality.json"))
    assert ended.exit_code != 0
    assert type(ended.exception).__name__ == "OutputError"
    assert asked == []


def test_another_subject_is_a_usage_error(invoke):
    ended, asked = invoke("speed")
    assert (ended.exit_code, asked) == (2, [])
