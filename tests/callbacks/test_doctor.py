import json
import logging

import pytest
import torch
from lightning.pytorch import Trainer

from distill.callbacks import doctor as doctor_module
from distill.callbacks.doctor import Doctor
from distill.callbacks.stages import StageSchedule
from distill.data.text import TextDataModule
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.modules.single import MaskedLanguageModule, QuestionAnsweringModule
from distill.stages import Stage
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError
from tests.conftest import squad_document

STAGES = {
    "intermediate": Stage({"attention": 1.0, "hidden": 1.0}, steps=2, learning_rate=1e-3),
    "logits": Stage({"logits": 1.0}, steps=2, learning_rate=1e-3),
}


@pytest.fixture
def data(make_questions):
    return make_questions(batch_size=6)


def distillation(teacher_folder, **settings) -> DistillationModule:
    student = settings.pop("student", Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16))
    return DistillationModule(teacher=str(teacher_folder), student=student, **settings)


def fit(module, data, tmp_path, doctor=None, stages=STAGES, **settings) -> Trainer:
    torch.manual_seed(3)
    trainer = Trainer(
        **{"max_epochs": -1, "default_root_dir": str(tmp_path), **settings},
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[StageSchedule(stages), *([doctor] if doctor else [])],
    )
    trainer.fit(module, data)
    return trainer


def test_screen_tells_models_data_map_start_stages_and_the_teachers_scores(data, teacher_folder, tmp_path, capsys):
    doctor = Doctor(num_questions=5)
    module = distillation(
        teacher_folder,
        student=Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, init="inherited"),
    )
    fit(module, data, tmp_path, doctor)
    facts = doctor.diagnosis.facts
    assert doctor.diagnosis.models["teacher"]["layers"] == "4"
    assert (
        doctor.diagnosis.models["student"]["parameters"] == f"{sum(p.numel() for p in module.student.parameters()):,}"
    )
    assert facts["tokenizer"] == f"{teacher_folder}: 300 pieces"
    assert facts["longest window"] == "64 tokens of the 128 that the models take"
    assert facts["layer map"] == "layers 0<-1, 1<-3"
    assert facts["student starts from"] == module.inheritance.describe()
    assert facts["training windows"] == "22"
    assert "EM " in facts["teacher scores"]
    assert "5 validation examples" in facts["teacher scores"]
    assert [stage["num_steps"] for stage in doctor.diagnosis.stages] == [2, 2]
    shown = capsys.readouterr().out
    assert "teacher" in shown
    assert "layers 0<-1, 1<-3" in shown
    assert "stage logits" in shown


def test_teacher_that_cannot_answer_gets_a_warning(data, teacher_folder, tmp_path):
    doctor = Doctor(least_score=100)
    fit(distillation(teacher_folder), data, tmp_path, doctor)
    (warning,) = doctor.diagnosis.warnings
    assert "is it a question_answering model for this language?" in warning
    kind = Doctor(least_score=0)
    fit(distillation(teacher_folder), data, tmp_path, kind)
    assert not kind.diagnosis.warnings


def test_setting_that_the_data_contradicts_is_shown(data, teacher_folder, tmp_path):
    doctor = Doctor(num_questions=0)
    task = QuestionAnswering(null_threshold=None)
    with pytest.warns(UserWarning, match="validation questions have no answer"):
        fit(distillation(teacher_folder, task=task), data, tmp_path, doctor)
    assert "set task.null_threshold to 0" in doctor.diagnosis.warnings[0]


def test_words_that_reach_the_student_in_smaller_pieces_are_shown(make_questions, teacher_folder, tmp_path):
    few = tmp_path / "few.json"
    few.write_text(json.dumps(squad_document(1)), encoding="utf-8")
    data = make_questions(batch_size=6)
    data.files["train"], data.vocabulary = [str(few)], "trimmed"
    doctor = Doctor(num_questions=5, least_score=0)
    sizes = {"num_layers": 2, "hidden_size": 8, "num_heads": 2, "intermediate_size": 16}
    with pytest.warns(UserWarning, match="words of the validation part"):
        fit(distillation(teacher_folder, student=Student(**sizes, vocabulary="trimmed")), data, tmp_path, doctor)
    counts = data.summary()["validation"]
    (warning,) = doctor.diagnosis.warnings
    assert warning.startswith(f"{counts['words_recut']} of {counts['words']} words of the validation part (")
    assert "data.vocabulary_files" in warning


def test_plain_text_has_no_examples_to_advise_on(backbone_folder, text_file, tmp_path):
    other = text_file.with_name("otro.txt")
    files = {"train_files": str(text_file), "validation_files": str(other), "cache_dir": str(tmp_path / "cache")}
    text = TextDataModule(str(backbone_folder), block_length=32, batch_size=2, **files)
    doctor = Doctor()
    fit(
        MaskedLanguageModule(model=str(backbone_folder)),
        text,
        tmp_path,
        doctor,
        {"masking": Stage({"labels": 1.0}, steps=1)},
    )
    assert not doctor.diagnosis.warnings


def test_no_questions_leave_the_teacher_alone(data, teacher_folder, tmp_path, monkeypatch):
    module = distillation(teacher_folder)
    monkeypatch.setattr(module, "evaluate", lambda *_: pytest.fail("the teacher was scored"))
    doctor = Doctor(num_questions=0)
    fit(module, data, tmp_path, doctor)
    assert "teacher scores" not in doctor.diagnosis.facts


def test_run_with_a_doctor_ends_as_one_without(data, teacher_folder, tmp_path):
    students = []
    for doctor in (None, Doctor(num_questions=5)):
        torch.manual_seed(1)
        module = distillation(teacher_folder)
        fit(module, data, tmp_path, doctor)
        students.append(module.student.state_dict())
    assert all(torch.equal(tensor, students[1][name]) for name, tensor in students[0].items())


def test_single_model_has_no_teacher_to_score(data, teacher_folder, tmp_path):
    doctor = Doctor()
    stages = {"labels": Stage({"labels": 1.0}, steps=1)}
    fit(QuestionAnsweringModule(model=str(teacher_folder)), data, tmp_path, doctor, stages)
    assert list(doctor.diagnosis.models) == ["student"]
    assert "layer map" not in doctor.diagnosis.facts


def estimates(data, teacher_folder, tmp_path, monkeypatch, caplog, stages: dict[str, Stage]) -> list[str]:
    """Return what a fit says of the time it takes, where a step takes 2 seconds in the second stage and else 10."""
    module, now = distillation(teacher_folder), [0.0]

    def clock() -> float:
        # The module's stage is that of the step before; told once a step.
        now[0] += 2.0 if module.active_stage.index == 1 else 10.0
        return now[0]

    monkeypatch.setattr(doctor_module, "monotonic", clock)
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        fit(module, data, tmp_path, Doctor(num_questions=0), stages)
    return [record.getMessage() for record in caplog.records if "more steps" in record.getMessage()]


def logit_stage(steps: int) -> Stage:
    return Stage({"logits": 1.0}, steps=steps, learning_rate=1e-3)


def test_time_of_each_stage_is_estimated_from_its_own_first_steps(data, teacher_folder, tmp_path, monkeypatch, caplog):
    stages = {"intermediate": logit_stage(21), "logits": logit_stage(20), "end": logit_stage(2)}
    assert estimates(data, teacher_folder, tmp_path, monkeypatch, caplog, stages) == [
        # Three steps after the first one, and after three of the next stage.
        "stage intermediate: about 3 min for its 17 more steps at the pace of the first ones (10.00 s a step), without "
        "validation; then 20 of logits, 2 of end, at a pace of their own",
        "stage logits: about 34 s for its 17 more steps at the pace of the first ones (2.00 s a step), without "
        "validation; then 2 of end, at a pace of their own",
    ]


def test_similarity_of_layers_is_written_and_drawn(data, teacher_folder, tmp_path):
    module = distillation(teacher_folder, layer_map="similarity")
    fit(module, data, tmp_path, Doctor(num_questions=0))
    written = json.loads((tmp_path / "layer_similarity.json").read_text(encoding="utf-8"))
    assert written == module.similarity.as_dict()
    picture = (tmp_path / "layer_similarity.svg").read_text(encoding="utf-8")
    assert picture.count('class="cell marked"') == 2


def test_trial_run_writes_nothing(data, teacher_folder, tmp_path):
    doctor = Doctor()
    fit(distillation(teacher_folder, layer_map="similarity"), data, tmp_path, doctor, max_epochs=1, fast_dev_run=True)
    assert doctor.diagnosis is not None
    assert not (tmp_path / "layer_similarity.svg").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_questions": -1}, "num_questions must be at least 0"), ({"least_score": 101}, "percentage from 0 to 100")],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Doctor(**settings)
