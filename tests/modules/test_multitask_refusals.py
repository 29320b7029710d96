"""Several tasks: what does not fit is refused by the name of its task."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch

from distill.callbacks.guard import NumericalGuard
from distill.data.labelled import LabelledDataModule
from distill.data.multitask import MultiTaskDataModule
from distill.losses.logits import LogitLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.modules.members import TaskSettings
from distill.modules.multitask import MultiTaskModule
from distill.stages import Stage
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.tagging.task import TokenClassification
from distill.teaching.teachers import ExtraTeacher
from distill.types import UserError
from tests.modules.several import LAYERS, STUDENT, fit, make_module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(parts, teacher_folder):
    return MultiTaskDataModule(parts, tokenizer=str(teacher_folder), seed=5)


def test_task_that_no_stage_trains_is_named(teacher_folder):
    module = make_module(teacher_folder)
    stages = {"one": Stage(LAYERS, epochs=1, tasks=["many"]), "two": Stage({"labels": 1.0}, epochs=1, tasks=["few"])}
    with pytest.warns(UserWarning, match="no stage trains labelled: "):
        module.check_stages(stages)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.check_stages({**stages, "three": Stage({"labels": 1.0}, epochs=1, tasks=["labelled"])})


def test_a_step_that_is_not_finite_is_said_of_its_task_and_questions(teacher_folder, data, tmp_path):
    module = make_module(teacher_folder)

    class Poison(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if batch.task == "labelled":
                pl_module.members["labelled"].student.qa_outputs.bias.data.fill_(torch.nan)

    message = r"labels is nan of task labelled for questions labelled-\d-\d"
    with pytest.raises(UserError, match=message):
        fit(module, data, tmp_path, callbacks=[Poison(), NumericalGuard()])


@pytest.mark.parametrize("name", ["type", "items", "training", "forward", "val", "encoder", "a/b", "a" * 65])
def test_names_that_are_taken_or_odd_are_refused(teacher_folder, name):
    with pytest.raises(UserError, match="cannot be the name of a task"):
        MultiTaskModule({name: TaskSettings(QuestionAnswering(), str(teacher_folder))}, student=STUDENT)


def test_data_of_another_kind_is_refused_by_name(parts, teacher_folder):
    data = MultiTaskDataModule(parts, tokenizer=str(teacher_folder))
    tasks = {"many": QuestionAnswering(), "few": TokenClassification(), "labelled": QuestionAnswering()}
    with pytest.raises(UserError, match=r"data.tasks.few: SquadDataModule holds questions"):
        data.take_tasks(tasks)
    with pytest.raises(UserError, match=r"data.tasks.labelled: model.tasks names no such task"):
        data.take_tasks({"many": QuestionAnswering(), "few": QuestionAnswering()})


@pytest.mark.parametrize("option", [{"layer_map": [0, 1]}, {"extra_teachers": [ExtraTeacher("other")]}])
def test_what_needs_a_teacher_is_refused_without_one(teacher_folder, option):
    tasks = {
        "taught": TaskSettings(QuestionAnswering(), str(teacher_folder)),
        "alone": TaskSettings(QuestionAnswering(), **option),
    }
    with pytest.raises(UserError, match=rf"model.tasks.alone: {next(iter(option))} without a teacher"):
        MultiTaskModule(tasks, student=STUDENT)


def test_losses_that_leave_nothing_to_train_on_name_their_task(teacher_folder):
    tasks = {
        "taught": TaskSettings(QuestionAnswering(), str(teacher_folder)),
        "alone": TaskSettings(QuestionAnswering(), losses={"logits": LogitLoss()}),
    }
    with pytest.raises(UserError, match=r"model.tasks.alone: .*no loss to train on"):
        MultiTaskModule(tasks, student=STUDENT)


def test_a_teacher_is_shared_among_tasks_of_the_same_labels_alone():
    labels = TokenClassification().labels
    tasks = [TokenClassification(labels=names) for names in (list(labels), list(labels)[::-1])]
    settings = {str(i): TaskSettings(task, "embedded_ner") for i, task in enumerate(tasks)}
    with pytest.raises(UserError, match="labels"):
        MultiTaskModule(settings, student=replace(STUDENT, num_heads=4)).configure_model()


def test_teachers_whose_encoders_compute_otherwise_are_refused_before_anything_is_loaded(
    teacher_folder, data, tmp_path
):
    other = shutil.copytree(teacher_folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}), encoding="utf-8")
    module = make_module(teacher_folder)
    module.check_data(data)
    tasks = {
        name: TaskSettings(QuestionAnswering(), str(other if name == "few" else teacher_folder)) for name in data.tasks
    }
    with pytest.raises(UserError, match=r"model\.tasks\.few: .*hidden_act.*relu.*gelu"):
        MultiTaskModule(tasks, STUDENT).check_data(data)


def test_labels_in_another_order_than_the_checkpoints_are_refused(parts, teacher_folder, tmp_path):
    (tmp_path / "a.conll").write_text("Ana B-PER\nvino O\n\n" * 8, encoding="utf-8")
    files = [str(tmp_path / "a.conll")]
    words = LabelledDataModule(
        train_files=files, validation_files=files, max_length=32, batch_size=4, cache_dir=str(tmp_path / "cache")
    )
    data = MultiTaskDataModule({"qa": parts["few"], "ner": words}, tokenizer=str(teacher_folder), seed=5)

    def make(*labels: str) -> MultiTaskModule:
        questions = TaskSettings(QuestionAnswering(), str(teacher_folder))
        module = MultiTaskModule(
            {"qa": questions, "ner": TaskSettings(TokenClassification(labels))}, STUDENT, teacher_cache=None
        )
        module.tell_tasks(data)
        return module

    stages = {"labels": Stage({"labels": 1.0}, steps=2, learning_rate=1e-3)}
    trainer = fit(make("O", "B-PER", "I-PER"), data, tmp_path, stages)
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    assert trainer.validate(make("O", "B-PER", "I-PER"), data, ckpt_path=checkpoint, verbose=False)
    message = r"model\.tasks\.ner\.task: its labels are B-PER, O, I-PER; the checkpoint's are O, B-PER, I-PER"
    with pytest.raises(UserError, match=message):
        trainer.validate(make("B-PER", "O", "I-PER"), data, ckpt_path=checkpoint, verbose=False)
    with pytest.raises(UserError, match=message):
        fit(make("B-PER", "O", "I-PER"), data, tmp_path, stages, ckpt_path=checkpoint)


def test_weights_of_another_model_are_told_by_a_few_names(teacher_folder):
    several = make_module(teacher_folder)
    several.configure_model()
    single = DistillationModule(str(teacher_folder), STUDENT, teacher_cache=None)
    single.configure_model()
    message = (
        r"another model than this configuration's: it lacks objective\.[\w.]+, objective\.[\w.]+ and \d+ more; "
        r"it alone has tasks\.many\.[\w.]+, tasks\.many\.[\w.]+ and \d+ more; use the configuration it was made with, "
        r"or start from the student/ folder beside it$"
    )
    with pytest.raises(UserError, match=message):
        single.load_state_dict(several.state_dict())
    state = single.state_dict()
    state["student.qa_outputs.weight"] = torch.zeros(5, 8)
    with pytest.raises(UserError, match=r"it has in other sizes student\.qa_outputs\.weight \(5 x 8, not 2 x 8\); use"):
        single.load_state_dict(state)


def test_mistakes_are_named(teacher_folder, data):
    teacher = str(teacher_folder)
    task = TaskSettings(QuestionAnswering(), teacher)
    with pytest.raises(UserError, match="'val' is taken and cannot be the name of a task"):
        MultiTaskModule({"val": task})
    with pytest.raises(UserError, match=r"model\.tasks\.qa: weight must be more than 0"):
        MultiTaskModule({"qa": TaskSettings(QuestionAnswering(), teacher, weight=0.0)})
    with pytest.raises(UserError, match="without any teacher"):
        MultiTaskModule({"qa": TaskSettings(QuestionAnswering())})
    with pytest.raises(UserError, match="trimmed"):
        MultiTaskModule({"qa": task}, Student(vocabulary="trimmed"))
    with pytest.raises(UserError, match=r"model\.tasks are qa, but the data holds many, few, labelled"):
        MultiTaskModule({"qa": task}, STUDENT).check_data(data)
    module = make_module(teacher_folder)
    with pytest.raises(UserError, match="stage 'one': there is no task 'ner'"):
        module.check_stage("one", Stage(LAYERS, epochs=1, tasks=["ner"]))
    with pytest.raises(UserError, match="stage 'one': it weighs nothing that task 'labelled' has"):
        module.check_stage("one", Stage(LAYERS, epochs=1))
    module.check_stage("one", Stage(LAYERS, epochs=1, tasks=["many"]))
    with pytest.raises(UserError, match="leave tasks out"):
        DistillationModule(teacher).check_stage("one", Stage(LAYERS, epochs=1, tasks=["many"]))
    with pytest.raises(UserError, match="give the model MultiTaskModule"):
        DistillationModule(teacher).check_data(data)
