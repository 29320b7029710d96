"""Several tasks on one encoder: two sets of questions, and words told by their first letter."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch

from distill.callbacks.stages import StageSchedule
from distill.data.labelled import LabelledDataModule
from distill.data.multitask import MultiTaskDataModule
from distill.log_steps import is_log_step
from distill.models.loading import load_frozen
from distill.models.start import StudentStart
from distill.modules.distillation import DistillationModule
from distill.modules.members import TaskSettings
from distill.modules.multitask import MultiTaskModule
from distill.stages import Stage
from distill.tasks.classification.task import SequenceClassification
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.tagging.task import TokenClassification
from distill.teaching.teachers import TeacherCache
from distill.types import UserError
from tests.callbacks.fakes import tiny_trainer
from tests.modules.several import LAYERS, STAGES, STUDENT, fit, make_module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(parts, teacher_folder):
    return MultiTaskDataModule(parts, tokenizer=str(teacher_folder), seed=5)


def heads(module) -> dict[str, torch.Tensor]:
    return {name: member.student.qa_outputs.weight for name, member in module.members.items()}


class Watch(L.Callback):
    """Notes, step by step, the batch's task, which heads have a gradient and which changed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[str], list[str]]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.before = {name: head.detach().clone() for name, head in heads(pl_module).items()}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.with_gradient = [name for name, head in heads(pl_module).items() if head.grad is not None]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        changed = [name for name, head in heads(pl_module).items() if not torch.equal(head, self.before[name])]
        self.seen.append((batch.task, self.with_gradient, changed))


def test_the_gradient_of_a_task_reaches_no_other_head(teacher_folder, data, tmp_path):
    watch = Watch()
    stages = {"logits": Stage({"logits": 1.0, "labels": 0.5}, epochs=2, learning_rate=1e-2)}
    fit(make_module(teacher_folder), data, tmp_path, stages, callbacks=[watch])
    assert {task for task, _, _ in watch.seen} == {"many", "few", "labelled"}
    for task, with_gradient, changed in watch.seen:
        assert with_gradient == [task]
        assert changed == [task]


def save_teacher(task, teacher_config, tokenizer, folder: Path) -> str:
    task.build_model(teacher_config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_the_gradient_of_a_task_reaches_only_the_encoder_and_its_own_parts_whatever_its_kind(
    parts, teacher_folder, teacher_config, tokenizer, tmp_path
):
    words, pairs = TokenClassification(["O", "B-PER"]), SequenceClassification()
    tasks = {
        "questions": TaskSettings(QuestionAnswering(), str(teacher_folder)),
        "words": TaskSettings(words, save_teacher(words, teacher_config, tokenizer, tmp_path / "words")),
        "pairs": TaskSettings(pairs, save_teacher(pairs, teacher_config, tokenizer, tmp_path / "pairs")),
    }
    (tmp_path / "a.conll").write_text("Ana B-PER\nvino O\n\n" * 8, encoding="utf-8")
    (tmp_path / "a.tsv").write_text("sentence1\tsentence2\tlabel\n" + "Ana vino.\tVino Ana.\t1\n" * 8, encoding="utf-8")
    own = {"questions": parts["few"]}
    for name, file in (("words", "a.conll"), ("pairs", "a.tsv")):
        files = [str(tmp_path / file)]
        own[name] = LabelledDataModule(
            train_files=files, validation_files=files, max_length=32, batch_size=4, cache_dir=str(tmp_path / "cache")
        )
    data = MultiTaskDataModule(own, sampling="uniform", tokenizer=str(teacher_folder), seed=5)
    module = MultiTaskModule(tasks, STUDENT, teacher_cache=None)
    module.tell_tasks(data)
    touched: dict[str, list[set[str]]] = {}

    class Note(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            self.task = batch.task

        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            names = {name for name, parameter in pl_module.named_parameters() if parameter.grad is not None}
            touched.setdefault(self.task, []).append(names)

    everything = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0, "logits": 1.0, "labels": 1.0}
    stages = {"all": Stage(everything, epochs=2, learning_rate=1e-2)}
    fit(module, data, tmp_path, stages, callbacks=[Note()], limit_val_batches=0)
    encoder = {
        name
        for name, _ in module.named_parameters()
        if name.startswith(("tasks.questions.student.roberta.embeddings.", "tasks.questions.student.roberta.encoder."))
    }
    assert set(touched) == set(tasks)
    for task, steps in touched.items():
        own_parts = {
            name for name, _ in module.named_parameters() if name.startswith(f"tasks.{task}.") and name not in encoder
        }
        assert any(".objective." in name for name in own_parts)  # the projections of its own losses
        assert any(".student." in name for name in own_parts)  # its head
        for names in steps:
            assert names == encoder | own_parts


def test_the_encoder_is_one_and_trained_by_every_task(teacher_folder, data, tmp_path):
    module = make_module(teacher_folder)
    fit(module, data, tmp_path, STAGES)
    first, *others = (member.student.base_model for member in module.members.values())
    for other in others:
        assert other.encoder is first.encoder
        assert other.embeddings is first.embeddings
    single = sum(parameter.numel() for parameter in module.members["many"].student.parameters())
    head = module.members["many"].student.qa_outputs
    students = torch.nn.ModuleList(member.student for member in module.members.values())
    assert sum(p.numel() for p in students.parameters()) == single + 2 * sum(p.numel() for p in head.parameters())


def test_an_idle_task_costs_nothing(teacher_folder, data, tmp_path, monkeypatch):
    ran = []
    learn = DistillationModule.compute_means
    monkeypatch.setattr(
        DistillationModule,
        "compute_means",
        lambda self, batch, *rest: ran.append(self.name) or learn(self, batch, *rest),
    )
    teachers, students = [], []

    class Count(L.Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            for name, member in pl_module.members.items():
                member.student.register_forward_hook(lambda *_, name=name: students.append(name))
                if member.teacher is not None:
                    member.teacher.register_forward_hook(lambda *_, name=name: teachers.append(name))

    stages = {"logits": Stage({"logits": 1.0}, epochs=2, learning_rate=1e-3, tasks=["many"])}
    module = make_module(teacher_folder)
    for name in ("many", "few"):
        module.members[name].load_teacher = load_frozen  # every task its own
    fit(module, data, tmp_path, stages, callbacks=[Count()], limit_val_batches=0)
    assert set(ran) == {"many"}
    assert set(students) == set(teachers) == {"many"}


def test_a_batch_runs_student_and_teacher_of_its_own_task_alone(teacher_folder, data, tmp_path):
    ran: dict[str, list[str]] = {"batch": [], "student": [], "teacher": []}

    class Count(L.Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            for name, member in pl_module.members.items():
                member.student.register_forward_hook(lambda *_, name=name: ran["student"].append(name))
                if member.teacher is not None:
                    member.teacher.register_forward_hook(lambda *_, name=name: ran["teacher"].append(name))

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            ran["batch"].append(batch.task)

    stages = {"logits": Stage({"logits": 1.0, "labels": 1.0}, epochs=2, learning_rate=1e-3)}
    module = make_module(teacher_folder)
    for name in ("many", "few"):
        module.members[name].load_teacher = load_frozen  # every task its own
    fit(module, data, tmp_path, stages, callbacks=[Count()], limit_val_batches=0)
    assert set(ran["batch"]) == {"many", "few", "labelled"}
    assert ran["student"] == ran["batch"]
    assert ran["teacher"] == [name for name in ran["batch"] if name != "labelled"]


def test_a_tasks_weight_scales_what_its_batches_move(teacher_folder, data, tmp_path):
    gradients: dict[float, dict[str, torch.Tensor]] = {}

    class Keep(L.Callback):
        def __init__(self, weight: float) -> None:
            self.weight = weight

        def on_after_backward(self, trainer, pl_module) -> None:
            (kept := gradients.setdefault(self.weight, {})).update(
                {name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None and not kept}
            )

    stages = {"labels": Stage({"labels": 1.0}, steps=1, learning_rate=1e-9, tasks=["few"])}
    for weight in (1.0, 0.5):
        module = make_module(teacher_folder)
        module.members["few"].weight = weight
        fit(module, data, tmp_path / str(weight), stages, callbacks=[Keep(weight)], gradient_clip_val=0)
    assert any(gradient.abs().max() > 0 for gradient in gradients[1.0].values())
    for name, gradient in gradients[1.0].items():
        assert torch.allclose(gradients[0.5][name], 0.5 * gradient, rtol=1e-6, atol=0), name


def test_tasks_that_have_something_to_predict_are_predicted(teacher_folder, parts, tmp_path):
    module = make_module(teacher_folder)
    trainer = tiny_trainer(tmp_path, [])
    data = MultiTaskDataModule(parts, tokenizer=str(teacher_folder))
    with pytest.raises(UserError, match=r"nothing to predict; name files with --data.tasks.many.predict_files"):
        trainer.predict(module, data, return_predictions=False)
    few = parts["few"]
    few.files["predict"] = few.files["validation"]
    trainer.predict(module, data, return_predictions=False)
    assert set(module.members["few"].last_evaluation.predictions) == {f"few-{i}-{j}" for i in (0, 1) for j in range(3)}
    assert module.members["many"].last_evaluation is None


def test_stored_logits_lie_with_their_tasks_windows_and_teach_as_the_teacher_does(teacher_folder, parts, tmp_path):
    ended = []
    for cache in (None, TeacherCache(dtype="float32")):
        for name, part in parts.items():
            part.cache_dir = tmp_path / f"cache-{name}"
        data = MultiTaskDataModule(parts, tokenizer=str(teacher_folder), seed=5)
        module = make_module(teacher_folder, teacher_cache=cache)
        fit(module, data, tmp_path / str(cache is None), callbacks=[], limit_val_batches=0)
        ended.append(module.state_dict())
    assert all(torch.allclose(ended[0][name], ended[1][name], atol=1e-6) for name in ended[0])
    stored = {name: len(list((tmp_path / f"cache-{name}").glob("logits-*.npy"))) for name in parts}
    assert stored == {"many": 1, "few": 1, "labelled": 0}


def test_a_stage_of_some_tasks_is_as_long_as_their_data(teacher_folder, data, tmp_path):
    trainer = fit(make_module(teacher_folder), data, tmp_path)
    schedule = next(callback for callback in trainer.callbacks if isinstance(callback, StageSchedule))
    sizes = trainer.train_dataloader.loaders[None].sampler.sizes
    assert schedule.plan.lengths == [sizes["many"] + sizes["few"], 2 * sum(sizes.values())]
    assert trainer.global_step == sum(schedule.plan.lengths)


@pytest.mark.parametrize(("limit", "lengths"), [(2, [2, 4]), (0.5, [3, 8]), (100, [7, 18])])
def test_a_limit_on_training_batches_shortens_the_stages_of_some_tasks_too(
    teacher_folder, data, tmp_path, limit, lengths
):
    trainer = fit(make_module(teacher_folder), data, tmp_path, limit_train_batches=limit)
    schedule = next(callback for callback in trainer.callbacks if isinstance(callback, StageSchedule))
    assert trainer.train_dataloader.loaders[None].sampler.sizes == {"many": 6, "few": 1, "labelled": 2}
    assert schedule.plan.lengths == lengths
    assert trainer.global_step == sum(lengths)


def test_tasks_of_one_kind_with_one_teacher_hold_it_once(teacher_folder, data, tmp_path):
    module = make_module(teacher_folder)
    fit(module, data, tmp_path)
    assert module.members["many"].teacher is module.members["few"].teacher
    assert module.members["labelled"].teacher is None


def test_layer_maps_by_similarity_look_at_the_encoder_that_is_shared(teacher_folder, data, tmp_path, monkeypatch):
    compared = []
    compare = StudentStart.compare

    def note(self, student, teacher):
        compared.append(student.base_model.encoder)
        return compare(self, student, teacher)

    monkeypatch.setattr(StudentStart, "compare", note)
    module = make_module(teacher_folder, layer_map="similarity")
    fit(module, data, tmp_path)
    assert len(compared) == 2  # the labelled task has no layers to learn from
    for name, encoder in zip(("many", "few"), compared, strict=True):
        member = module.members[name]
        assert encoder is module.members["many"].student.base_model.encoder
        assert [teacher for _, teacher in member.layer_map.attention] == list(member.similarity.layers)
    resumed = make_module(teacher_folder, layer_map="similarity")
    fit(resumed, data, tmp_path, ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert [m.layer_map for m in list(resumed.members.values())[:2]] == [
        module.members[name].layer_map for name in ("many", "few")
    ]


def test_every_task_is_balanced_on_the_first_batches_of_its_own(teacher_folder, data, tmp_path):
    raw: dict[str, list[float]] = {}
    factors: dict[str, list[float]] = {}

    class Note(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            logged = trainer.callback_metrics
            raw.setdefault(batch.task, []).append(value := float(logged[f"{batch.task}/train/logits/labels"]))
            weighted = float(logged[f"{batch.task}/train/logits/labels_weighted"])
            factors.setdefault(batch.task, []).append(weighted / value)

    stages = {"logits": Stage({"logits": 1.0, "labels": 1.0}, epochs=3, learning_rate=1e-2, balance=2)}
    fit(make_module(teacher_folder), data, tmp_path, stages, callbacks=[Note()], log_every_n_steps=1)
    assert {name: len(values) for name, values in raw.items()} == {"many": 18, "few": 3, "labelled": 6}
    for name, values in raw.items():
        expected = [1 / values[0], *[2 / (values[0] + values[1])] * (len(values) - 1)]
        assert factors[name] == pytest.approx(expected, rel=1e-5)


class Latest(L.Callback):
    """Notes at each logged step the latest loss of every task, and what loggers would be given."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}
        self.pairs: list[tuple[dict[str, float], dict[str, float]]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.losses[f"{batch.task}/train/loss"] = float(pl_module.step_values["loss"])
        if is_log_step(trainer, pl_module.active_stage):
            logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name in self.losses}
            self.pairs.append((dict(self.losses), logged))


def test_loggers_get_the_latest_batch_of_every_task_however_rare(teacher_folder, data, tmp_path):
    latest = Latest()
    fit(make_module(teacher_folder), data, tmp_path, callbacks=[latest], log_every_n_steps=5)
    assert len(latest.pairs[-1][0]) == 3
    assert all(logged == pytest.approx(seen) for seen, logged in latest.pairs)


def test_nothing_is_logged_at_steps_that_nobody_looks_at(teacher_folder, data, tmp_path, monkeypatch):
    module, steps = make_module(teacher_folder), set()
    monkeypatch.setattr(module, "log", lambda *args, **kwargs: steps.add(module.trainer.global_step))
    stages = {"logits": Stage({"labels": 1.0}, steps=9, learning_rate=1e-3)}
    fit(module, data, tmp_path, stages, log_every_n_steps=4, limit_val_batches=0)
    assert steps == {0, 3, 7, 8}


@pytest.mark.parametrize("balance", [None, 2])
def test_one_task_alone_is_trained_as_its_own_module_trains_it(teacher_folder, parts, tmp_path, balance):
    stages = {
        name: Stage(weights, epochs=1, learning_rate=1e-3, balance=balance)
        for name, weights in {"intermediate": LAYERS, "logits": {"logits": 1.0, "labels": 0.5}}.items()
    }
    part = parts["many"]
    part.tokenizer_source, part.seed = str(teacher_folder), 5
    torch.manual_seed(7)
    single = DistillationModule(str(teacher_folder), STUDENT, teacher_cache=None)
    fit(single, part, tmp_path / "single", stages, num_sanity_val_steps=0)
    torch.manual_seed(7)
    multi = MultiTaskModule(
        {"many": TaskSettings(QuestionAnswering(), str(teacher_folder))}, STUDENT, teacher_cache=None
    )
    data = MultiTaskDataModule({"many": part}, tokenizer=str(teacher_folder), seed=5)
    # One task's batches come in the order of its own sampler.
    fit(multi, data, tmp_path / "multi", stages)
    mine, other = single.state_dict(), multi.members["many"].state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_teachers_of_all_tasks_are_held_in_the_precision_of_the_run(teacher_folder, parts, tmp_path):
    module = make_module(teacher_folder)
    data = MultiTaskDataModule(parts, tokenizer=str(teacher_folder))
    fit(module, data, tmp_path, {"labels": Stage({"labels": 1.0}, steps=1)}, precision="bf16-mixed")
    assert {module.members[name].teacher.dtype for name in ("many", "few")} == {torch.bfloat16}
