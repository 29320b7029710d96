"""Teachers as the module asks for them: run or read, one or several."""

import logging
from dataclasses import replace

import pytest
import torch

from distill.models.loading import load_frozen
from distill.teaching.sources import LOGITS_ALONE
from distill.teaching.teachers import ExtraTeacher, TeacherCache, Teachers, TeachingRun
from distill.types import RecordingPlan, UserError

from .conftest import training_windows

EVERYTHING = RecordingPlan(frozenset({0, 2}), frozenset({1}), logits=True)
EXACT = TeacherCache(dtype="float32")


@pytest.fixture
def models(task, teacher_folder):
    """Three teachers: the tiny one, and two with other weights."""
    first, second, third = (load_frozen(task, str(teacher_folder)) for _ in range(3))
    with torch.no_grad():
        for model, seed in ((second, 1), (third, 2)):
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return [first, second, third]


@pytest.fixture
def run(windows, tmp_path) -> TeachingRun:
    return TeachingRun(windows, tmp_path / "stores", torch.device("cpu"))


def logits_of(teachers: Teachers, batch, plan=LOGITS_ALONE) -> torch.Tensor:
    """Return the logits of the real tokens."""
    return teachers.record(batch, plan).logits[batch.attention_mask.bool()]


def forbid(monkeypatch, *models) -> None:
    for model in models:
        monkeypatch.setattr(model, "forward", lambda **_: pytest.fail("a teacher ran"))


def files(run: TeachingRun) -> list[str]:
    return [path.name for path in run.folder.iterdir()] if run.folder.exists() else []


@pytest.mark.parametrize(("cache", "tolerance"), [(EXACT, 1e-6), (TeacherCache(), 1e-3)])
def test_stored_logits_are_those_of_the_model_without_running_it(models, task, run, monkeypatch, cache, tolerance):
    batch = run.windows[[5, 0, 3]]
    expected = logits_of(Teachers(task, models[:1]), batch)
    teachers = Teachers(task, models[:1], cache=cache)
    teachers.prepare(LOGITS_ALONE, run)
    forbid(monkeypatch, models[0])
    torch.testing.assert_close(logits_of(teachers, batch), expected, rtol=tolerance, atol=tolerance)
    # Another run finds them.
    again = Teachers(task, models[:1], cache=cache)
    again.prepare(LOGITS_ALONE, replace(run, may_build=False))
    torch.testing.assert_close(logits_of(again, batch), expected, rtol=tolerance, atol=tolerance)


def test_logits_of_whole_windows_are_read_back_too(pairs_teacher, pairs, tmp_path, monkeypatch):
    batch = pairs[[7, 0, 22]]
    expected = pairs_teacher.record(batch, LOGITS_ALONE).logits
    teachers = Teachers(pairs_teacher.task, [pairs_teacher.model], cache=EXACT)
    teachers.prepare(LOGITS_ALONE, TeachingRun(pairs, tmp_path / "stores", torch.device("cpu")))
    forbid(monkeypatch, pairs_teacher.model)
    found = teachers.record(batch, LOGITS_ALONE).logits
    assert found.shape == (3, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("change", ["weight", "text", "max_length", "precision", "products", "dtype"])
def test_whatever_logits_depend_on_misses_the_older_store(models, task, run, change, settings, squad_file, monkeypatch):
    Teachers(task, models[:1], cache=EXACT).prepare(LOGITS_ALONE, run)
    assert len(files(run)) == 1
    cache = EXACT
    if change == "weight":
        with torch.no_grad():
            models[0].qa_outputs.bias[0] += 1e-3
    elif change == "text":
        squad_file.write_text(squad_file.read_text(encoding="utf-8").replace("1903", "1913", 1), encoding="utf-8")
        run = replace(run, windows=training_windows(settings))
    elif change == "max_length":
        run = replace(run, windows=training_windows({**settings, "max_length": 60}))
    elif change == "precision":
        run = replace(run, precision="bf16-mixed")
    elif change == "products":
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    else:
        cache = TeacherCache(dtype="float16")
    Teachers(task, models[:1], cache=cache).prepare(LOGITS_ALONE, run)
    assert len(files(run)) == 2


def test_damaged_store_is_said_and_built_again(models, task, run, caplog):
    teachers = Teachers(task, models[:1], cache=EXACT)
    teachers.prepare(LOGITS_ALONE, run)
    (path,) = run.folder.iterdir()
    good = path.read_bytes()
    path.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
    with caplog.at_level(logging.WARNING, "lightning.pytorch"):
        Teachers(task, models[:1], cache=EXACT).prepare(LOGITS_ALONE, run)
    assert f"{path}: its checksum is wrong; it is built again" in caplog.text
    assert path.read_bytes() == good


@pytest.mark.parametrize(
    "plan", [EVERYTHING, RecordingPlan(frozenset({1}), logits=False), RecordingPlan(padding=True)], ids=str
)
def test_stage_that_needs_more_than_logits_of_real_tokens_runs_the_teacher(models, task, run, plan):
    teachers = Teachers(task, models[:1], cache=EXACT)
    teachers.prepare(plan, run)
    assert not files(run)
    recording = teachers.record(run.windows[[0, 1]], plan)
    assert set(recording.hidden_states) == set(plan.hidden_states)
    assert (recording.logits is not None) is plan.logits
    teachers.prepare(LOGITS_ALONE, run)
    padded = teachers.record(run.windows[[0, 1]], RecordingPlan(padding=True)).logits
    assert padded.min() > -1e3  # the model's own at padding, not the mask's


@pytest.mark.parametrize("change", [{"may_build": False}, {"windows": None}], ids=str)
def test_without_a_store_the_teacher_runs(models, task, run, change):
    teachers = Teachers(task, models[:1], cache=EXACT)
    teachers.prepare(LOGITS_ALONE, replace(run, **change))
    assert not files(run)
    assert torch.equal(logits_of(teachers, run.windows[[1]]), logits_of(Teachers(task, models[:1]), run.windows[[1]]))


def test_what_cannot_be_stored_is_said_once_and_the_teacher_runs(models, task, run, tmp_path, caplog, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    teachers = Teachers(task, models[:1], cache=TeacherCache(folder=str(tmp_path / "file")))
    with caplog.at_level(logging.WARNING, "lightning.pytorch"):
        teachers.prepare(LOGITS_ALONE, run)
        monkeypatch.setattr("distill.teaching.teachers.build_store", lambda *_: pytest.fail("tried again"))
        teachers.prepare(LOGITS_ALONE, run)
    assert caplog.text.count("so it runs in every step") == 1
    assert torch.isfinite(logits_of(teachers, run.windows[[0]])).all()


def test_folder_of_the_cache_goes_before_the_runs(models, task, run, tmp_path):
    Teachers(task, models[:1], cache=TeacherCache(folder=str(tmp_path / "named"))).prepare(LOGITS_ALONE, run)
    assert not files(run)
    assert len(list((tmp_path / "named").iterdir())) == 1


def test_several_teachers_are_averaged_alike_with_and_without_stores(models, task, run, monkeypatch):
    weights = [1.0, 0.5, 2.5]
    batch = run.windows[[2, 4, 1]]
    each = [logits_of(Teachers(task, [model]), batch) for model in models]
    expected = (1.0 * each[0] + 0.5 * each[1] + 2.5 * each[2]) / 4.0
    torch.testing.assert_close(logits_of(Teachers(task, models, weights), batch), expected)
    teachers = Teachers(task, models, weights, EXACT)
    teachers.prepare(LOGITS_ALONE, run)
    assert len(files(run)) == 3
    with monkeypatch.context() as patch:
        forbid(patch, *models)
        torch.testing.assert_close(logits_of(teachers, batch), expected, rtol=1e-6, atol=1e-6)
    # Hidden states are the first one's, which then runs; the others are still read.
    forbid(monkeypatch, *models[1:])
    recording = teachers.record(batch, EVERYTHING)
    alone = Teachers(task, models[:1]).record(batch, EVERYTHING)
    assert all(torch.equal(recording.hidden_states[state], alone.hidden_states[state]) for state in (0, 2))
    torch.testing.assert_close(recording.logits[batch.attention_mask.bool()], expected, rtol=1e-6, atol=1e-6)


def test_stores_are_shared_whatever_the_weights(models, task, run, monkeypatch):
    Teachers(task, models, [1.0, 1.0, 1.0], EXACT).prepare(LOGITS_ALONE, run)
    forbid(monkeypatch, *models)
    Teachers(task, models[::-1], [1.0, 2.0, 3.0], EXACT).prepare(LOGITS_ALONE, run)
    assert len(files(run)) == 3


def test_stage_with_other_terms_stores_only_the_extra_teachers(models, task, run):
    Teachers(task, models, [1.0] * 3, EXACT).prepare(EVERYTHING, run)
    assert len(files(run)) == 2


def test_only_models_that_run_are_on_the_device(models, task, run):
    moved = {id(model): [] for model in models[:2]}
    for model in models[:2]:
        model.to = lambda device, model=model: moved[id(model)].append(device.type)
    on_meta = replace(run, device=torch.device("meta"), windows=None)
    teachers = Teachers(task, models[:2], [1.0, 1.0])
    for plan in (None, RecordingPlan(frozenset({1}), logits=False), LOGITS_ALONE):
        teachers.prepare(plan, on_meta)
    assert moved[id(models[0])] == ["cpu", "meta", "meta"]
    assert moved[id(models[1])] == ["cpu", "cpu", "meta"]


def test_settings_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"teacher_cache\.dtype must be float16 or float32, not int8"):
        TeacherCache(dtype="int8")
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="the weight of one must be more than 0"):
            ExtraTeacher("one", weight)
