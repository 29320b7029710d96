"""The comparison changes what it must and no more, keeps what was finished, and counts what it says."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from distill.checkpoints import save_checkpoint
from distill.files import write_json, write_text
from distill.metrics.bootstrap import bootstrap_interval
from distill.reporting.status import RunStatus, write_status
from distill.types import Answer, Example, UserError
from tests.benchmarks.recipes import comparison as comparison_module
from tests.benchmarks.recipes import runs as runs_module
from tests.benchmarks.recipes.__main__ import recipes
from tests.benchmarks.recipes.arms import ARMS
from tests.benchmarks.recipes.clock import TrainingClock
from tests.benchmarks.recipes.comparison import Comparison, Outcome, Question
from tests.benchmarks.recipes.embedded import embedded_parts
from tests.benchmarks.recipes.publishing import keep_runs
from tests.benchmarks.recipes.runs import Result, in_process, read_result
from tests.benchmarks.recipes.table import markdown, rows, summarise
from tests.conftest import squad_document


class FakeTraining:
    """Trains in no time: ``pace`` seconds a step by arm, a score by rate."""

    def __init__(self, pace: dict[str, float]) -> None:
        self.pace, self.calls = pace, []
        self.tasks: list[dict] = []

    def __call__(self, folder, recipe, settings, arm, seed, learning_rate) -> Result:
        num_steps = sum(value for name, value in settings.items() if name.endswith(".steps"))
        self.tasks.append(settings["model.task"])
        self.calls.append((folder.parts[-5], arm, learning_rate, num_steps, seed))
        seconds = 5.0 + num_steps * self.pace.get(arm, 1.0)
        return Result(arm, seed, learning_rate, num_steps, seconds, {"f1": -abs(learning_rate - 1e-3)}, {}, {})


@pytest.fixture
def question(teacher_folder, squad_file) -> Question:
    files = [str(squad_file)]
    return Question(str(teacher_folder), files, files, files, num_steps=100, learning_rates=[5e-4, 1e-3], seeds=[1, 2])


@pytest.fixture
def compared(question, tmp_path, monkeypatch):
    def run(fake: FakeTraining, **changes) -> Outcome:
        monkeypatch.setattr(comparison_module, "train", fake)
        monkeypatch.setattr(Comparison, "teacher_answers", lambda _: {})
        return Comparison(replace(question, **changes), tmp_path / "out").run()

    return run


def test_every_arm_has_its_best_rate_and_every_seed(compared):
    fake = FakeTraining({})
    outcome = compared(fake, equal_time=False)
    assert {arm: [(run.learning_rate, run.seed) for run in runs] for arm, runs in outcome.steps.items()} == {
        arm: [(1e-3, 1), (1e-3, 2)] for arm in ARMS
    }
    assert {run.num_steps for runs in outcome.steps.values() for run in runs} == {100}
    assert outcome.tried["paper"] == {5e-4: -5e-4, 1e-3: 0.0}
    assert len(fake.calls) == len(set(fake.calls)) == 7 * 3
    assert not outcome.time
    # Some of the test questions have no answer, whatever the set is like that a recipe was published for.
    task = {"class_path": "distill.QuestionAnswering", "init_args": {"null_threshold": 0.0}}
    assert all(each == task for each in fake.tasks)


def test_an_arm_may_have_rates_of_its_own(compared):
    fake = FakeTraining({})
    outcome = compared(fake, equal_time=False, own_rates={"best": [2e-4, 1e-4]})
    assert outcome.tried["best"].keys() == {1e-4, 2e-4}
    assert {run.learning_rate for run in outcome.steps["best"]} == {2e-4}
    assert outcome.tried["paper"].keys() == {5e-4, 1e-3}


def test_equal_time_is_what_best_takes_and_steps_are_corrected_until_it_is_met(compared):
    fake = FakeTraining({"best": 1.0, "labels": 0.25, "paper": 4.0})
    outcome = compared(fake)
    budget = 105.0
    for arm, runs in outcome.time.items():
        assert len({run.num_steps for run in runs}) == 1
        assert [run.seed for run in runs] == [1, 2]
        assert runs[0].seconds == pytest.approx(budget, rel=comparison_module.TOLERANCE), arm
    assert outcome.time["best"] == outcome.steps["best"]
    assert outcome.time["labels"][0].num_steps > 350
    assert outcome.time["paper"][0].num_steps < 28
    assert not [call for call in fake.calls if call[:2] == ("time", "best")]


@pytest.fixture
def early_look(question, tmp_path, monkeypatch):
    """Write finished runs of 100 steps at 1 s and the given validation F1 each, and look at them."""
    monkeypatch.setattr(Comparison, "teacher_answers", lambda _: {"q": "rojo"})

    def look(*runs: tuple) -> Outcome:
        for budget, arm, rate, seed, num_steps, seconds, f1 in runs:
            result = Result(arm, seed, rate, num_steps, seconds, {"f1": f1}, {}, {"q": "rojo"})
            folder = tmp_path / budget / arm / f"rate-{rate:g}" / f"steps-{num_steps}" / f"seed-{seed}"
            write_json(folder / "result.json", asdict(result))
        return Comparison(question, tmp_path).finished()

    return look


@pytest.fixture
def comparison(question, tmp_path) -> Comparison:
    return Comparison(question, tmp_path)


TEST_QUESTIONS = [Example("q", "¿?", "rojo", (Answer("rojo", 0),))]


def test_early_look_shows_what_is_finished_over_the_seeds_that_best_has_too(early_look):
    runs = (("paper", 1e-3, 1), ("paper", 1e-3, 2), ("paper", 5e-4, 1), ("best", 1e-3, 2))
    outcome = early_look(*(("steps", *run, 100, 1.0, 50.0) for run in runs))
    assert {arm: [run.seed for run in runs] for arm, runs in outcome.steps.items()} == {"paper": [1, 2], "best": [2]}
    assert outcome.steps["paper"][0].learning_rate == 1e-3
    paper, best = rows(outcome.steps, outcome.teacher, TEST_QUESTIONS)
    assert paper.f1 == best.f1 == [100.0]
    assert not outcome.time


@pytest.mark.parametrize("chosen", [5e-4, 1e-3])
def test_early_look_at_one_seed_each_shows_the_rate_that_validation_chooses(chosen, early_look):
    outcome = early_look(
        *(("steps", "best", rate, 1, 100, 1.0, 60.0 if rate == chosen else 50.0) for rate in (5e-4, 1e-3))
    )
    assert [run.learning_rate for run in outcome.steps["best"]] == [chosen]
    assert outcome.tried == {"best": {chosen: 60.0, 5e-4 + 1e-3 - chosen: 50.0}}


def test_early_look_at_equal_time_has_best_as_it_is_at_equal_steps(early_look):
    best = [("steps", "best", 1e-3, seed, 100, 10.0, 50.0) for seed in (1, 2)]
    # Two lengths with one seed each: what took as long as best's training is shown, whatever it scores.
    labels = [("time", "labels", 1e-3, 1, *trial) for trial in ((180, 14.0, 60.0), (130, 10.5, 40.0))]
    outcome = early_look(*best, *labels)
    assert outcome.time["best"] == outcome.steps["best"]
    assert [run.num_steps for run in outcome.time["labels"]] == [130]
    summary = summarise(outcome, TEST_QUESTIONS)
    assert [row["arm"] for row in summary["time"]] == ["labels", "best"]
    assert "| labels only | 0.001 | 130 |" in markdown(summary)


def test_budget_with_nothing_to_compare_has_no_table(early_look):
    summary = summarise(early_look(("steps", "paper", 1e-3, 1, 100, 1.0, 50.0)), TEST_QUESTIONS)
    assert "equal" not in markdown(summary)


def test_another_comparison_in_the_same_folder_is_refused(question, tmp_path):
    Comparison(question, tmp_path)
    Comparison(question, tmp_path)
    with pytest.raises(UserError, match="another comparison was begun"):
        Comparison(replace(question, num_steps=200), tmp_path)


def test_unknown_arms_are_refused(question):
    with pytest.raises(UserError, match="choose best and any of labels, logits"):
        replace(question, arms=["best", "worst"])


def test_own_rates_of_an_unknown_arm_or_none_at_all_are_refused(question):
    with pytest.raises(UserError, match="own_rates: worst is not among the arms"):
        replace(question, own_rates={"worst": [1e-3]})
    with pytest.raises(UserError, match="name at least one of each"):
        replace(question, own_rates={"best": []})


def test_leads_and_retention_by_hand():
    examples = [Example(f"q{i}", "¿?", f"contexto {i} rojo azul", (Answer("rojo azul", 11),)) for i in range(4)]

    def result(arm: str, seed: int, answers: list[str], seconds: float) -> Result:
        predictions = {example.question_id: answer for example, answer in zip(examples, answers, strict=True)}
        return Result(arm, seed, 1e-3, 10, seconds, {}, {}, predictions)

    right, half = "rojo azul", "rojo"
    results = {
        "labels": [result("labels", 1, ["", "", "", right], 1.0), result("labels", 2, [half] * 4, 3.0)],
        "best": [result("best", 1, [right] * 4, 2.0), result("best", 2, [right] * 3 + [""], 2.0)],
    }
    teacher = {example.question_id: right for example in examples[:3]} | {"q3": ""}
    labels, best = rows(results, teacher, examples)
    assert labels.f1 == pytest.approx([25.0, 200 / 3])
    assert best.f1 == pytest.approx([100.0, 75.0])
    assert labels.exact_match == [25.0, 0.0]
    assert labels.lead == pytest.approx(87.5 - (25 + 200 / 3) / 2)
    assert labels.interval.low <= labels.lead <= labels.interval.high
    assert labels.seconds == 2.0
    assert (labels.cost, best.cost) == (1.0, 1.0)
    expected = bootstrap_interval([100 / 3] * 3 + [250 / 3], range(4))
    assert labels.f1_interval == pytest.approx(expected)
    assert best.retention == pytest.approx(87.5 / 75)
    # Three questions of 100 % each, one of 50 points more than the teacher's 0: least where it is never drawn.
    assert best.retention_interval.low == 1.0
    assert best.lead is None
    summary = summarise(Outcome(teacher, results, {}, {"labels": {1e-3: 50.0}}), examples)
    table = markdown(summary)
    assert "Teacher: F1 75.00, EM 75.00 on 4 questions." in table
    row = next(line for line in table.splitlines() if line.startswith("| best.yaml |"))
    assert row.startswith(
        "| best.yaml | 0.001 | 10 | 2 | 1.00 | **87.5** (100.0, 75.0) | 62.5 to 100.0 | 87.5 | 116.7 % | 100.0 to "
    )
    assert row.endswith(" |  |  |")
    assert "equal time" not in table


def test_arms_that_did_not_meet_the_budget_are_marked_at_equal_time_alone():
    answers = {"q": "rojo"}
    seconds = {"labels": 130.0, "paper": 91.0, "best": 100.0}
    results = {arm: [Result(arm, 1, 1e-3, 10, cost, {}, {}, answers)] for arm, cost in seconds.items()}
    table = markdown(summarise(Outcome(answers, results, results, {}), TEST_QUESTIONS))
    steps, time = table.split("At equal time")
    assert time.startswith(" (*: off by more than 10 %):")
    assert "| labels only | 0.001 | 10 | 130 | 1.30 * |" in time
    assert "| SpanishTinyRoBERTa | 0.001 | 10 | 91 | 0.91 |" in time
    assert "*:" not in steps
    assert "| 1.30 |" in steps
    assert "retention_interval" in summarise(Outcome(answers, results, {}, {}), TEST_QUESTIONS)["steps"][0]


def test_runs_of_the_table_alone_are_published_and_what_lay_there_before_is_not_left(early_look, comparison, tmp_path):
    best = [("steps", "best", rate, 1, 100, 10.0, f1) for rate, f1 in ((1e-3, 50.0), (5e-4, 40.0))]
    labels = [("time", "labels", 1e-3, 1, *trial) for trial in ((180, 14.0, 60.0), (130, 10.5, 40.0))]
    outcome = early_look(*best, *labels)
    for result in tmp_path.rglob("result.json"):
        fit = result.parent / "fit" / "version_0"
        write_status(fit, RunStatus("finished"))
        write_json(fit / "report.json", {})
        write_text(fit / "config.yaml", f"cache_dir: {tmp_path}/cache")
    target = tmp_path / "published"
    write_text(target / "time" / "labels" / "rate-0.001" / "steps-180" / "seed-1" / "config.yaml", "an earlier look")
    write_text(target / "notes.md", "somebody's")
    keep_runs(comparison.folder, comparison.run_folders(outcome), target)
    found = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    shown = ("steps/best/rate-0.001/steps-100/seed-1", "time/labels/rate-0.001/steps-130/seed-1")
    assert found == {"notes.md"} | {f"{run}/{file}" for run in shown for file in ("config.yaml", "report.json")}
    assert (target / shown[0] / "config.yaml").read_text(encoding="utf-8") == "cache_dir: ./cache"


def test_a_comparison_is_not_published_over_itself(tmp_path):
    with pytest.raises(UserError, match=r"--publish .*: is the folder of the comparison itself; choose another one"):
        recipes(output=str(tmp_path), publish=str(tmp_path / "more" / ".."))
    assert not list(tmp_path.iterdir())


def test_embedded_questions_are_in_one_part_each(tmp_path):
    parts = embedded_parts(tmp_path)
    documents = [json.loads(file.read_text(encoding="utf-8"))["data"] for file in parts]
    contexts = [{paragraph["context"] for article in data for paragraph in article["paragraphs"]} for data in documents]
    assert [len(part) for part in contexts] == [4000 - 8 * 8, 8 * 8, 260]
    assert not contexts[0] & contexts[1]
    assert not (contexts[0] | contexts[1]) & contexts[2]


def test_clock_counts_training_and_leaves_validation_out(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.process_time", lambda: now)
    clock = TrainingClock()
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    clock.setup(trainer, None, "fit")
    now = 3.0  # the start and the first step
    clock.on_train_batch_end(trainer)
    now = 10.0
    clock.on_validation_end(trainer, None)
    now = 12.0
    clock.on_train_batch_end(trainer)
    resumed = TrainingClock()
    resumed.load_state_dict(clock.state_dict())
    resumed.setup(trainer, None, "fit")
    now = 13.0
    resumed.on_train_batch_end(trainer)
    assert (clock.seconds, resumed.seconds) == (5.0, 6.0)


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_logits_that_no_checkpoint_has_counted_are_built_and_counted_again(has_checkpoint, tmp_path, monkeypatch):
    logits, run = tmp_path / "logits" / "0", tmp_path / "fit" / "version_0"
    logits.mkdir(parents=True)
    (run / "checkpoints").mkdir(parents=True)
    if has_checkpoint:
        save_checkpoint(run / "checkpoints" / "last.ckpt", {"state": 1})
    found = []

    def killed(*_):
        found.append(logits.is_dir())
        raise KeyboardInterrupt

    monkeypatch.setattr(runs_module, "in_process", killed)
    with pytest.raises(KeyboardInterrupt):
        runs_module.train(tmp_path, "best", {}, "best", 1, 1e-3)
    assert found == [has_checkpoint]


def test_command_that_fails_says_why(tmp_path):
    with pytest.raises(UserError, match=r"log\.txt: exit code 2: .*nowhere"):
        in_process([["fit", "--config=nowhere.yaml"]], tmp_path / "log.txt")


@pytest.mark.slow
def test_comparison_that_is_killed_goes_on_where_it_was(teacher_folder, tmp_path, monkeypatch):
    """Two arms for real; the second call finds the first one's run and trains the other."""
    torch.rand(512, 512) @ torch.rand(512, 512)  # starts threads, which a fork of this process would wait for
    file = tmp_path / "questions.json"
    file.write_text(json.dumps(squad_document()), encoding="utf-8")
    files = [str(file)]
    question = Question(
        str(teacher_folder), files, files, files, num_steps=6, learning_rates=[1e-3], seeds=[1], batch_size=4,
        max_length=64, doc_stride=8, arms=["labels", "best"], equal_time=False,
    )  # fmt: skip
    real, calls = comparison_module.train, []

    def killed(folder, *args):
        if calls:
            raise KeyboardInterrupt
        calls.append(folder)
        return real(folder, *args)

    monkeypatch.setattr(comparison_module, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        Comparison(question, tmp_path / "out").run()
    finished = read_result(calls[0])
    assert finished.num_steps == 6
    assert finished.seconds > 0
    monkeypatch.setattr(comparison_module, "train", real)
    comparison = Comparison(question, tmp_path / "out")
    outcome = comparison.run()
    assert outcome.steps["labels"] == [finished]
    assert outcome.steps["best"][0].predictions.keys() == {example.question_id for example in comparison.examples}
    assert not list((tmp_path / "out").rglob("*.ckpt"))
    published = tmp_path / "published"
    keep_runs(comparison.folder, comparison.run_folders(outcome), published)
    places = [file.parent for file in published.rglob("config.yaml")]
    assert len(places) == 2
    for place in places:
        assert sorted(file.name for file in place.iterdir()) == ["config.yaml", "report.json"]
        assert (
            yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))["data"]["init_args"]["cache_dir"]
            == "./cache"
        )
    assert "At equal steps" in markdown(summarise(outcome, comparison.examples))
