"""`mrcli train` as a task: it goes on to the same bits, refuses mixtures, and writes a model."""

import json
import multiprocessing
import os
import signal
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from mrcli.errors import DataError, InputError, LockedError, ModelError
from mrcli.io.lock import output_lock
from mrcli.models.store import load_folder
from mrcli.nn.backbone import SPECS
from mrcli.tasks import train_run, train_world
from mrcli.tasks.train import TrainSettings, run_training, train_backbone
from mrcli.tasks.train_log import line_of, means_of_last, read_log, running_mean
from mrcli.tasks.train_pool import claim, pool_of
from mrcli.tasks.train_record import draws_of, takes_universal
from mrcli.tasks.train_run import loop_of
from mrcli.tasks.train_settings import training_sites
from mrcli.tasks.train_world import joined_world
from mrcli.training.loop import StepRecord
from tiny import SPEC, fill_pool

N = 6


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(SPECS, "tiny", SPEC)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A folder with all samples that the first steps may draw."""
    folder = tmp_path_factory.mktemp("pool")
    own = TrainSettings(folder, pool_dir=folder)
    fill_pool(pool_of(own, training_sites(), "cpu"), range(204))
    return folder


@pytest.fixture
def settings(tmp_path, pool):
    return TrainSettings(tmp_path / "run", "tiny", N, precision="fp32", pool_dir=pool)


def stop_after(n, act):
    """Return what is told of each step, and acts after the n-th."""
    told = []

    def on_step(record, n_steps):
        assert n_steps == N
        told.append(record.step)
        if len(told) == n:
            act()

    return on_step


def interrupt():
    signal.raise_signal(signal.SIGINT)


def weights(settings):
    return load_file(settings.checkpoint)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def steps_of(settings):
    return [line["step"] for line in read_log(settings.log)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pool):
    """A training that nothing interrupted, and what came of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPECS, "tiny", SPEC)
        out = tmp_path_factory.mktemp("whole")
        own = TrainSettings(out, "tiny", N, precision="fp32", pool_dir=pool)
        return own, train_backbone(own)


def test_a_training_ends_with_a_model_of_the_running_average(whole):
    settings, result = whole
    model = load_folder(settings.model)
    own = weights(settings)
    for name, one in model.backbone.state_dict().items():
        assert torch.equal(one, own[f"average/{name}"])
    assert not torch.equal(own["weight/steps"], own["average/steps"])
    assert result.is_done
    assert (result.step, result.n_taken, model.name) == (N, N, "tiny")
    assert result.document()["model"] == str(settings.model)


def test_the_record_tells_how_the_model_came_to_be_and_names_nobody(whole):
    settings, _ = whole
    record = load_folder(settings.model).card["training"]
    assert (record["steps"], record["seed"], record["precision"]) == (N, 2025, "fp32")
    assert record["samples"] == N  # none was drawn twice
    assert 0 < record["patients"] <= N
    assert record["real_anatomy"] is False
    assert record["real_patients"] == 0
    assert record["seconds"] > 0
    assert set(record["losses"]) == {"error", "magnitude", "structure"}
    counts = record["data_fingerprint"]["samples"]
    assert sum(n for sites in counts.values() for n in sites.values()) == N
    logged = {(line["modality"], line["site"]) for line in read_log(settings.log)}
    assert logged == {(protocol, site) for protocol, sites in counts.items() for site in sites}


def test_each_step_has_one_line_and_the_course_is_drawn(whole):
    settings, result = whole
    assert steps_of(settings) == list(range(N))
    lines = read_log(settings.log)
    gains = [line["start_error"] - line["terms"]["error"] for line in lines]
    assert result.gain_db == pytest.approx(sum(gains) / N)
    assert (settings.run_dir / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupt_saves_and_going_on_gives_the_same_bits(whole, settings):
    with pytest.raises(KeyboardInterrupt):
        train_backbone(settings, stop_after(2, interrupt))
    assert steps_of(settings) == [0, 1]
    result = train_backbone(settings)
    assert result.n_taken == N - 2
    assert same(weights(settings), weights(whole[0]))
    assert read_log(settings.log) == read_log(whole[0].log)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_signal_waits_and_the_second_acts_at_once(settings):
    def twice():
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        train_backbone(settings, stop_after(2, twice))
    assert not settings.checkpoint.exists()


def test_a_termination_acts_as_it_would_have(settings):
    def handler(number, frame):
        del number, frame
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit):
            train_backbone(settings, stop_after(1, lambda: signal.raise_signal(signal.SIGTERM)))
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert settings.checkpoint.exists()


def test_a_deadline_ends_a_piece_and_each_piece_takes_a_step(whole, settings):
    results = [train_backbone(settings, deadline=0.0) for _ in range(3)]
    assert [one.step for one in results] == [1, 2, 3]
    assert not any(one.is_done for one in results)
    assert results[-1].document()["model"] is None
    assert not settings.model.exists()
    assert results[2].seconds > results[0].seconds
    train_backbone(settings)
    assert same(weights(settings), weights(whole[0]))


def killed_at(settings, n):
    """Run a process that dies at once after some steps, saving after each but the last."""

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def work():
        train_run._SECONDS_BETWEEN_CHECKPOINTS = -1.0
        told = []

        def on_step(record, n_steps):
            del n_steps
            told.append(record.step)
            if len(told) == n - 1:
                train_run._SECONDS_BETWEEN_CHECKPOINTS = 1e9
            if len(told) == n:
                die()

        train_backbone(settings, on_step)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_a_kill_loses_no_more_than_the_steps_since_the_checkpoint(whole, settings):
    killed_at(settings, 4)
    with settings.log.open("a") as log:
        log.write('{"step": 2, "loss": 0}\n{"step": 3, "lo')  # as a later kill leaves it
    torn = settings.run_dir / ".mrcli-0123.partial"
    torn.touch()
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mrcli.io.lock.FileLock", patient_lock)
        train_backbone(settings, lambda record, _: told.append(record.step))
    assert told == [2, 3, 4, 5]
    assert same(weights(settings), weights(whole[0]))
    assert read_log(settings.log) == read_log(whole[0].log)
    assert not torn.exists()


def patient_lock(path, timeout):
    """Wait for the helper of the process that was killed, which ends soon after."""
    del timeout
    return FileLock(path, timeout=30)


def test_a_finished_training_takes_no_step_and_writes_the_same_model(whole):
    settings, first = whole
    before = {path.name: path.read_bytes() for path in settings.model.iterdir()}
    again = train_backbone(settings)
    assert (again.n_taken, again.is_done, again.seconds) == (0, True, first.seconds)
    assert {path.name: path.read_bytes() for path in settings.model.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": 1}, "seed"),
        ({"n_steps": 7}, "n_steps"),
        ({"peak_rate": 0.5}, "peak_rate"),
        ({"size": "small"}, "size"),
        ({"precision": "bf16"}, "precision"),
        ({"leave_out": ("Center101/umr780.sim",)}, "leave_out"),
        ({"most_pixels": 9000}, "most_pixels"),
    ],
)
def test_other_settings_are_refused_by_name_before_any_change(whole, change, key):
    settings, before = whole[0], whole[0].checkpoint.read_bytes()
    with pytest.raises(InputError, match=rf"settings\.json: {key} was ") as caught:
        train_backbone(replace(settings, **change))
    assert caught.value.hint
    assert settings.checkpoint.read_bytes() == before


def test_what_an_earlier_version_did_not_write_down_counts_as_its_default(settings):
    train_backbone(settings, deadline=0.0)
    path = settings.run_dir / "settings.json"
    facts = json.loads(path.read_text())
    known = ("size", "n_steps", "peak_rate", "seed", "precision", "anatomy")
    path.write_text(json.dumps({key: facts[key] for key in known}))
    assert train_backbone(settings, deadline=0.0).step == 2
    with pytest.raises(InputError, match=r"leave_out was \[\], now"):
        train_backbone(replace(settings, leave_out=("Center101/umr780.sim",)))


def test_a_folder_in_use_is_refused(settings):
    with output_lock(settings.out_dir), pytest.raises(LockedError):
        train_backbone(settings)


def test_a_checkpoint_that_is_none_is_refused(settings):
    settings.out_dir.mkdir()
    settings.checkpoint.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no checkpoint of this network"):
        train_backbone(settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": "huge"}, "no size is called 'huge'"),
        ({"stage": "both"}, "no stage"),
        ({"form": "round"}, "no form"),
        ({"precision": "fp8"}, "no precision"),
        ({"n_steps": 0}, "at least 1"),
        ({"most_pixels": 999}, "pixels are at least 1000"),
        ({"n_workers": -1}, "workers at least 0"),
        ({"peak_rate": float("nan")}, "rate is nan"),
        ({"universal_share": 1.5}, "universal share is 1.5"),
        ({"leave_out": ("Center101/umr790.sim",)}, "no site is called"),
        ({"leave_out": tuple(site.name for site in training_sites())}, "no site is left"),
        ({"stage": "adapters"}, "no model to learn adapters for"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, change, words):
    with pytest.raises(InputError, match=words):
        run_training(replace(settings, **change))


def test_samples_of_other_sites_are_never_mixed_in(settings, pool, tmp_path):
    train_backbone(settings, deadline=0.0)
    other = replace(settings, out_dir=tmp_path / "other", leave_out=("Center101/umr780.sim",))
    with pytest.raises(InputError, match=r"curriculum\.json: sites was "):
        train_backbone(other)
    assert other.samples == pool


def test_samples_without_a_record_are_taken_over_where_they_fit(tmp_path):
    own = TrainSettings(tmp_path / "a", pool_dir=tmp_path / "p")
    ours = pool_of(own, training_sites(), "cpu")
    other = pool_of(replace(own, seed=1), training_sites(), "cpu")
    fill_pool(ours, range(40))
    with pytest.raises(DataError, match="another curriculum"):
        claim(other)
    claim(ours)
    with pytest.raises(InputError, match="seed was 2025, now 1"):
        claim(other)


def test_a_site_that_is_left_out_has_a_folder_of_samples_of_its_own(tmp_path):
    own = TrainSettings(tmp_path, stage="adapters")
    assert own.samples == tmp_path / "samples"
    without = replace(own, leave_out=("Center101/umr780.sim",))
    assert without.samples == tmp_path / "adapters" / "samples"


@pytest.fixture(scope="module")
def adapters(whole, tmp_path_factory, pool):
    """Adapters learned for the model of the whole training."""
    out = tmp_path_factory.mktemp("adapters")
    settings = TrainSettings(
        out,
        n_steps=N,
        peak_rate=1e-2,
        precision="fp32",
        pool_dir=pool,
        stage="adapters",
        model_dir=whole[0].model,
        universal_share=0.5,
    )
    return settings, run_training(settings)


def test_adapters_leave_the_backbone_as_it_was(whole, adapters):
    settings, result = adapters
    base, model = load_folder(whole[0].model), load_folder(settings.model)
    assert model.sha256 == base.sha256
    assert model.card == base.card
    names = {one.name for one in model.adapters}
    assert set(result.adapters) == names
    assert names == {*model.protocols, *model.sites, "universal"}


def test_only_adapters_that_learned_are_written_with_their_own_data(adapters):
    settings, _ = adapters
    model = load_folder(settings.model)
    pool = pool_of(settings, training_sites(), "cpu")
    draws = draws_of(settings, loop_of(settings), pool, 1)
    assert set(model.protocols) == {draw.protocol for draw in draws}
    assert set(model.sites) == {draw.site for draw in draws if not draw.takes_universal}
    n_universal = sum(takes_universal(settings, step) for step in range(N))
    assert 0 < n_universal < N
    assert model.universal.card.training["steps_of_its_own"] == n_universal
    for one in model.sites.values():
        counts = one.card.data_fingerprint["samples"]
        assert {site for sites in counts.values() for site in sites} == {one.name}


def test_adapters_are_no_longer_the_identity_and_unused_ones_have_no_moments(adapters):
    settings, _ = adapters
    model = load_folder(settings.model)
    for one in model.adapters:
        learned = [form.scale_shift.gain for form in one.adapter.by_slot().values()]
        assert any(bool(gain.abs().max() > 0) for gain in learned), one.name
    own = weights(settings)
    trained = {name for name in own if name.startswith("exp_avg/")}
    everything = {name for name in own if name.startswith("weight/")}
    assert 0 < len(trained) < len(everything)


def test_learning_adapters_goes_on_to_the_same_bits(adapters, tmp_path):
    first, _ = adapters
    settings = replace(first, out_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_training(settings, stop_after(2, interrupt))
    run_training(settings)
    assert same(weights(settings), weights(first))
    for one, other in zip(
        load_folder(settings.model).adapters, load_folder(first.model).adapters, strict=True
    ):
        assert same(one.adapter.state_dict(), other.adapter.state_dict())


def test_both_stages_share_a_folder(pool, tmp_path):
    backbone = TrainSettings(tmp_path, "tiny", 2, precision="fp32", pool_dir=pool)
    train_backbone(backbone)
    result = run_training(replace(backbone, stage="adapters", universal_share=1.0))
    assert result.is_done
    assert "universal" in result.adapters
    assert not load_folder(backbone.model).sites


def test_adapters_of_another_backbone_or_form_are_not_gone_on_with(adapters, tmp_path):
    settings, _ = adapters
    with pytest.raises(InputError, match="form was combined, now low-rank"):
        run_training(replace(settings, form="low-rank"))
    other = TrainSettings(tmp_path, "tiny", 1, precision="fp32", seed=1)
    fill_pool(pool_of(other, training_sites(), "cpu"), range(204))
    train_backbone(other)
    with pytest.raises(InputError, match="holds another backbone"):
        run_training(replace(settings, model_dir=other.model))


@pytest.mark.parametrize(("share", "n"), [(0.0, 0), (1.0, 200), (0.3, 60)])
def test_the_universal_adapter_takes_its_share(tmp_path, share, n):
    own = TrainSettings(tmp_path, universal_share=share)
    assert sum(takes_universal(own, step) for step in range(200)) == pytest.approx(
        n, abs=20 * (0 < share < 1)
    )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def one_of_two(rank, port, settings, out):
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    states, run_piece = [], train_run.TrainingState
    train_run.TrainingState = lambda module: states.append(run_piece(module)) or states[0]
    told = []
    result = run_training(settings, lambda record, _: told.append(record.step))
    tensors = {name: one.detach() for name, one in states[0].parameters.items()}
    torch.save((tensors, told, result.speaks), out / f"{rank}.pt")


def run_two(settings, out):
    port, fork = free_port(), multiprocessing.get_context("fork")
    both = [fork.Process(target=one_of_two, args=(rank, port, settings, out)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_processes_learn_the_same_weights_and_one_speaks(whole, settings, tmp_path):
    (first, told, speaks), (second, silent, is_second) = run_two(settings, tmp_path)
    assert same(first, second)
    assert told == list(range(N))
    assert (silent, speaks, is_second) == ([], True, False)
    alone = load_folder(whole[0].model).backbone.state_dict()
    model = load_folder(settings.model)
    assert not same(model.backbone.state_dict(), alone)  # twice the samples
    assert model.card["training"]["samples"] > N
    with pytest.raises(InputError, match="processes was 2, now 1"):
        train_backbone(settings)


def test_two_processes_learn_the_same_adapters(whole, settings, tmp_path):
    own = replace(settings, stage="adapters", model_dir=whole[0].model)
    (first, *_), (second, *_) = run_two(own, tmp_path)
    assert same(first, second)
    stored = weights(own)
    n_unused = sum(f"exp_avg/{name}" not in stored for name in first)
    assert 0 < n_unused < len(first)


def record_of(**changes):
    plain = StepRecord(0, -1.0, {"error": -12.0}, -10.0, 1.0, 1e-3, "Cine", "a/b")
    return replace(plain, **changes)


def test_workers_change_the_time_and_nothing_else(whole, settings):
    """All samples are there already: they find nothing to do, and training does not wait."""
    train_backbone(replace(settings, n_workers=2))
    assert same(weights(settings), weights(whole[0]))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("n_gpus", "backend", "own"), [(2, "nccl", 1), (1, "gloo", 0)])
def test_more_processes_than_gpus_share_them(monkeypatch, n_gpus, backend, own):
    """No GPU is needed to see which one a process takes, and how it talks to the others."""
    asked, taken = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(train_world.distributed, "init_process_group", asked.append)
    monkeypatch.setattr(train_world.distributed, "destroy_process_group", lambda: None)
    for name, value in {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "RANK": 1, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    with joined_world("cuda") as (_, device):
        assert (asked, taken, device) == ([backend], [f"cuda:{own}"], f"cuda:{own}")


def test_a_number_that_is_not_finite_is_null_in_the_log(tmp_path):
    line = json.loads(line_of(record_of(gradient_norm=float("nan"), terms={"error": float("inf")})))
    assert line["gradient_norm"] is None
    assert line["terms"] == {"error": None}
    (tmp_path / "log").write_text(line_of(record_of()) + line_of(record_of(terms={})))
    assert means_of_last(tmp_path / "log") == (2.0, {"error": -12.0})
    assert means_of_last(tmp_path / "absent") == (None, {})


def test_the_running_mean_is_over_a_twentieth_of_the_steps_and_skips_gaps():
    values = np.arange(60.0)
    assert running_mean(values)[10] == pytest.approx(9)  # of 8, 9, 10
    values[9] = np.nan
    assert running_mean(values)[10] == pytest.approx(9)
    assert running_mean(values)[9] == pytest.approx(7.5)
