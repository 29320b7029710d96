"""The result as a folder that transformers loads."""

from __future__ import annotations

import json

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedModel

from distill.callbacks.checkpoints import BestInFinalStage
from distill.callbacks.report import Report
from distill.callbacks.saving import SaveStudent
from distill.callbacks.stages import StageSchedule
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.stages import Stage

#: All terms: attention switches the models' attention, and hidden states of another width bring projections.
STAGES = {"all": Stage(dict.fromkeys(("attention", "hidden", "embeddings", "logits", "labels"), 1.0), epochs=2)}
STUDENT = Student(num_layers=2, hidden_size=8, num_heads=2)


@pytest.fixture
def data(make_questions):
    return make_questions()


def fit(data, callbacks, folder, module_class=DistillationModule, **settings) -> DistillationModule:
    module = module_class(teacher=data.tokenizer_source, student=STUDENT)
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        max_epochs=-1,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[StageSchedule(STAGES), *callbacks],
        **{"enable_checkpointing": False, **settings},
    )
    trainer.fit(module, data)
    return module


def logits(model, tokenizer):
    inputs = tokenizer("¿Dónde nació Lucía Ferrer?", "Lucía Ferrer nació en Cádiz.", return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**inputs)
    return torch.stack((output.start_logits, output.end_logits))


def test_plain_transformers_loads_the_student_with_the_same_answers(data, tmp_path):
    module = fit(data, [SaveStudent()], tmp_path / "run")
    folder = tmp_path / "run" / "student"
    model, loading = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert not any(loading.values())
    assert type(model) is type(module.student)
    assert model.config._attn_implementation == "sdpa"
    question = ("¿Dónde nació Íñigo?", "Íñigo nació en Ávila.")
    assert tokenizer(*question)["input_ids"] == data.tokenizer(*question)["input_ids"]
    torch.testing.assert_close(logits(model, tokenizer), logits(module.student, data.tokenizer))


def test_folder_holds_the_students_weights_alone(data, tmp_path):
    module = fit(data, [SaveStudent()], tmp_path / "run")
    folder = tmp_path / "run" / "student"
    stored = load_file(folder / "model.safetensors")
    assert len(list(module.objective.parameters())) > 0
    assert stored.keys() == module.student.state_dict().keys()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["RobertaForQuestionAnswering"]
    assert config["num_hidden_layers"] == 2
    assert "distill" not in json.dumps(config)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["student"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_are_written_in_the_precision_asked_for(data, tmp_path, dtype):
    module = fit(data, [SaveStudent(dtype=dtype)], tmp_path / "run")
    folder = tmp_path / "run" / "student"
    stored = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {getattr(torch, dtype)}
    assert {parameter.dtype for parameter in module.student.parameters()} == {torch.float32}
    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)
    torch.testing.assert_close(logits(model, data.tokenizer), logits(module.student, data.tokenizer), atol=2e-2, rtol=0)


def test_configuration_names_the_precision_of_the_written_weights(data, tmp_path):
    fit(data, [SaveStudent(dtype="float16")], tmp_path / "run")
    config = json.loads((tmp_path / "run" / "student" / "config.json").read_text(encoding="utf-8"))
    assert config["dtype"] == "float16"


class DecliningModule(DistillationModule):
    """Scores lower every epoch, so that the best weights are not the last."""

    def on_validation_epoch_end(self) -> None:
        self.log("val/f1", -float(self.current_epoch))


def test_after_a_report_the_best_weights_are_written(data, tmp_path):
    best = BestInFinalStage()
    callbacks = [Report(), SaveStudent(), best]
    fit(data, callbacks, tmp_path / "run", DecliningModule, enable_checkpointing=True)
    checkpoint = torch.load(best.best_model_path, weights_only=True)
    assert checkpoint["global_step"] == 1
    stored = load_file(tmp_path / "run" / "student" / "model.safetensors")
    assert all(torch.equal(tensor, checkpoint["state_dict"][f"student.{name}"]) for name, tensor in stored.items())


def test_older_folder_is_replaced_as_a_whole(data, tmp_path):
    older = tmp_path / "run" / "student"
    older.mkdir(parents=True)
    (older / "pytorch_model.bin").write_text("old", encoding="utf-8")
    fit(data, [SaveStudent()], tmp_path / "run")
    assert (older / "model.safetensors").exists()
    assert not (older / "pytorch_model.bin").exists()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["student"]


def test_interrupted_writing_leaves_the_older_folder(data, tmp_path, monkeypatch):
    older = tmp_path / "run" / "student"
    older.mkdir(parents=True)
    (older / "config.json").write_text("{}", encoding="utf-8")

    def fail(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fail)
    with pytest.raises(OSError, match="no space"):
        fit(data, [SaveStudent()], tmp_path / "run")
    assert (older / "config.json").read_text(encoding="utf-8") == "{}"


def test_a_trial_run_leaves_nothing(data, tmp_path):
    fit(data, [SaveStudent()], tmp_path / "run", fast_dev_run=True)
    assert not (tmp_path / "run").exists()
