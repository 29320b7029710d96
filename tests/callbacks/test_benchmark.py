"""The latency benchmark inside a run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from distill.callbacks.benchmark import LatencyBenchmark, flatten_result, reference_latency
from distill.reporting.size import num_parameters, size_bytes
from distill.types import UserError

from .fakes import FakeModule, tiny_trainer

SMALL = {"batch_sizes": (2, 1), "lengths": (8, 16), "rounds": 2, "warmup": 1}


def test_grid_rows_cover_both_models_at_every_point():
    module = FakeModule()
    result = json.loads(json.dumps(LatencyBenchmark(**SMALL).run(module)))
    points = {(row["model"], row["batch_size"], row["length"]) for row in result["rows"]}
    assert points == {(model, b, s) for model in ("student", "teacher") for b in (2, 1) for s in (8, 16)}
    assert len(result["rows"]) == 8
    assert result["reference"] == {"batch_size": 2, "length": 16}
    assert result["models"]["teacher"]["num_parameters"] == num_parameters(module.teacher)
    assert result["models"]["student"]["size_bytes"] == size_bytes(module.student)
    assert result["environment"]["device"] == "cpu"
    for row in result["rows"]:
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert row["peak_memory_bytes"] > 0


def test_reference_latency_is_the_row_of_the_reference_point():
    result = LatencyBenchmark(**SMALL).run(FakeModule())
    row = next(r for r in result["rows"] if (r["model"], r["batch_size"], r["length"]) == ("teacher", 2, 16))
    assert reference_latency(result, "teacher").p50_ms == row["p50_ms"]
    assert flatten_result(result)["latency/teacher/p50_ms/b2_s16"] == row["p50_ms"]


def test_bfloat16_is_measured_on_copies():
    module = FakeModule()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    result = LatencyBenchmark(**SMALL, dtype="bfloat16").run(module)
    assert result["models"]["student"]["size_bytes"] == size_bytes(module.student, torch.bfloat16)
    after = module.state_dict()
    assert all(
        torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in before.items()
    )


def test_modes_threads_and_random_state_are_left_as_found():
    module = FakeModule()
    module.student.train()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    result = LatencyBenchmark(**SMALL, num_threads=threads + 1).run(module)
    assert result["environment"]["num_threads"] == threads + 1
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert module.student.training
    assert not module.teacher.training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_fit_writes_and_logs_the_result(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="run")
    benchmark = LatencyBenchmark(**SMALL)
    tiny_trainer(tmp_path, [benchmark], logger=logger).fit(FakeModule())
    assert json.loads((tmp_path / "run" / "latency.json").read_text(encoding="utf-8")) == benchmark.result
    header = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "latency/student/p50_ms/b2_s16" in header
    assert "latency/teacher/windows_per_second/b1_s8" in header


def test_a_single_model_is_measured_alone(tmp_path):
    benchmark = LatencyBenchmark(**SMALL)
    tiny_trainer(tmp_path, [benchmark]).fit(FakeModule(with_teacher=False))
    assert set(benchmark.result["models"]) == {"student"}
    assert (tmp_path / "latency.json").is_file()


def test_a_trial_run_leaves_no_file(tmp_path):
    benchmark = LatencyBenchmark(**SMALL)
    tiny_trainer(tmp_path, [benchmark], fast_dev_run=True).fit(FakeModule())
    assert benchmark.result is not None
    assert not (tmp_path / "latency.json").exists()


@pytest.mark.parametrize(("every", "runs"), [(None, 1), (1, 3), (2, 2)])
def test_it_runs_between_epochs_where_asked(tmp_path, monkeypatch, every, runs):
    benchmark = LatencyBenchmark(**SMALL, every_n_epochs=every)
    count, run = [], benchmark.run
    monkeypatch.setattr(benchmark, "run", lambda module: count.append(1) or run(module))
    logger = CSVLogger(tmp_path, name="", version="run")
    tiny_trainer(tmp_path, [benchmark], logger=logger).fit(FakeModule())
    assert len(count) == runs


@pytest.mark.parametrize(("longest", "lengths"), [(384, (64, 128, 384)), (128, (64, 128)), (32, (32,))])
def test_short_lengths_are_timed_beside_the_longest_window(longest, lengths):
    benchmark = LatencyBenchmark()
    module = FakeModule()
    for model in (module.student, module.teacher):
        model.config.max_position_embeddings = 512
    benchmark.on_fit_start(SimpleNamespace(datamodule=SimpleNamespace(max_length=longest)), module)
    assert benchmark.lengths == lengths
    assert benchmark.reference_point == (1, longest)


def test_a_length_beyond_the_models_positions_ends_before_training(tmp_path):
    module = FakeModule()
    with pytest.raises(UserError, match=r"length 64 is more than the 32 tokens that the student takes"):
        tiny_trainer(tmp_path, [LatencyBenchmark(lengths=(8, 64))]).fit(module)
    assert module.last_evaluation is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch_sizes": ()}, "batch_sizes"),
        ({"batch_sizes": (0,)}, "batch_sizes"),
        ({"lengths": (8, -1)}, "lengths"),
        ({"rounds": 0}, "rounds"),
        ({"warmup": -1}, "warmup"),
        ({"num_threads": 0}, "num_threads"),
        ({"every_n_epochs": 0}, "every_n_epochs"),
        ({"dtype": "float64"}, "dtype"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(UserError, match=message):
        LatencyBenchmark(**setting)
