"""Pretraining, general distillation and what starts from them."""

from __future__ import annotations

import math

import pytest
import torch
from huggingface_hub import ModelCard
from lightning.pytorch import Trainer
from transformers import AutoModelForMaskedLM, AutoModelForQuestionAnswering, RobertaForMaskedLM

from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint
from distill.callbacks.report import Report
from distill.callbacks.saving import SaveStudent
from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.losses.relations import RelationLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule, default_losses
from distill.modules.single import MaskedLanguageModule, QuestionAnsweringModule
from distill.stages import Stage
from distill.tasks.masked_language import MaskedLanguage
from distill.types import UserError

ARCHITECTURE = {
    "model_type": "roberta", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 130, "type_vocab_size": 1, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
STAGES = {"masking": Stage({"labels": 1.0}, epochs=2, learning_rate=1e-2)}


def fit(module, data, folder, stages=STAGES, ckpt_path=None, **settings) -> Trainer:
    torch.manual_seed(3)
    trainer = Trainer(
        **{
            "default_root_dir": folder, "accelerator": "cpu", "logger": False, "max_epochs": -1,
            "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
            "use_distributed_sampler": False, **settings,
        },
        callbacks=[StageSchedule(stages), BestInFinalStage(), LastCheckpoint(), SaveStudent()],
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer


@pytest.fixture
def from_scratch(teacher_folder):
    def make(**settings) -> MaskedLanguageModule:
        return MaskedLanguageModule(architecture=ARCHITECTURE, tokenizer=str(teacher_folder), **settings)

    return make


def perplexity(model, data) -> float:
    """Score a model in a way of its own: the library's loss over one batch of all validation blocks."""
    blocks = data.val_dataloader().dataset
    batch = blocks[list(range(len(blocks)))]
    with torch.inference_mode():
        return math.exp(model.eval()(**batch.inputs, labels=batch.labels["token_ids"]).loss.item())


def test_result_carries_a_card_of_its_run(from_scratch, make_text, tmp_path):
    schedule = StageSchedule({"masking": Stage({"labels": 1.0}, steps=2, learning_rate=1e-3)})
    trainer = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, max_epochs=-1, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False, enable_checkpointing=False,
        callbacks=[schedule, report := Report(), SaveStudent()],
    )  # fmt: skip
    trainer.fit(from_scratch(), make_text())
    card = ModelCard.load(tmp_path / "student" / "README.md")
    assert card.data.pipeline_tag == "fill-mask"
    assert f"| perplexity | {report.report['student']['perplexity']:.2f} |" in card.text
    assert "A roberta of 2 layers, 16 wide, 2 heads, " in card.text
    assert "| train | `texto.txt` | 12 | " in card.text
    assert "Tokens seen: unknown" in card.text  # nobody counted: there is no Throughput in this run
    AutoModelForMaskedLM.from_pretrained(tmp_path / "student")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_pretraining_lowers_the_perplexity(from_scratch, make_text, tmp_path, precision):
    module, data = from_scratch(), make_text()
    trainer = fit(
        module, data, tmp_path, {"masking": Stage({"labels": 1.0}, steps=30, learning_rate=1e-2)}, precision=precision
    )
    before = len(data.tokenizer)
    assert float(trainer.callback_metrics["val/perplexity"]) < before / 4
    assert module.last_evaluation.predictions == {}
    assert isinstance(module.student, RobertaForMaskedLM)


def test_perplexity_is_that_of_the_whole_set_whatever_the_batches(from_scratch, make_text, tmp_path):
    module = from_scratch()
    scores = []
    for batch_size in (1, 2, 64):
        data = make_text(eval_batch_size=batch_size)
        trainer = Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path, use_distributed_sampler=False,
        )  # fmt: skip
        (result,) = trainer.validate(module, data, verbose=False)
        scores.append(result["val/perplexity"])
    assert scores == pytest.approx([perplexity(module.student, data)] * 3, rel=1e-5)


def test_run_resumed_after_an_epoch_ends_as_the_uninterrupted_one(from_scratch, make_text, tmp_path):
    whole, interrupted, resumed = (from_scratch() for _ in range(3))
    fit(whole, make_text(), tmp_path / "whole")
    torch.manual_seed(11)
    trainer = fit(interrupted, make_text(), tmp_path / "resumed", max_epochs=1)
    assert 0 < trainer.global_step < whole.trainer.global_step
    fit(resumed, make_text(), tmp_path / "resumed", ckpt_path=tmp_path / "resumed" / "checkpoints" / "last.ckpt")
    expected = whole.student.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in resumed.student.state_dict().items())
    assert resumed.last_evaluation == whole.last_evaluation


def test_mimetic_start_and_folder_start(from_scratch, make_text, tmp_path):
    module = from_scratch(init="mimetic")
    module.configure_model()
    attention = module.student.roberta.encoder.layer[0].attention.self
    assert torch.equal(attention.query.weight, attention.key.weight)
    fit(module, make_text(), tmp_path)
    again = MaskedLanguageModule(model=str(tmp_path / "student"))
    again.check(max_length=32)
    again.configure_model()
    stored = module.student.state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in again.student.state_dict().items())


def test_blocks_longer_than_the_model_takes_are_refused(from_scratch):
    with pytest.raises(UserError, match=r"129 tokens are more than .* 128 positions: .* or data\.block_length"):
        from_scratch().check(max_length=129)


def test_pretrained_encoder_starts_a_question_answering_model(from_scratch, make_text, tmp_path, caplog):
    """The head is new and said to be; the encoder is carried over to the last number."""
    fit(from_scratch(), make_text(), tmp_path)
    encoder = AutoModelForMaskedLM.from_pretrained(tmp_path / "student").roberta.state_dict()
    assert AutoModelForQuestionAnswering.from_pretrained(tmp_path / "student").roberta
    module = QuestionAnsweringModule(model=str(tmp_path / "student"))
    module.check(max_length=64)
    module.configure_model()
    carried = module.student.roberta.state_dict()
    assert carried.keys() == encoder.keys()
    assert all(torch.equal(encoder[name], tensor) for name, tensor in carried.items())
    assert "qa_outputs.bias, qa_outputs.weight starts at random" in caplog.text


class TestGeneralDistillation:
    """A masked-language teacher and a smaller student on plain text."""

    STUDENT = Student(num_layers=1, hidden_size=8, num_heads=2, intermediate_size=16)

    @pytest.fixture
    def teacher(self, from_scratch, make_text, tmp_path):
        fit(from_scratch(), make_text(), tmp_path / "teacher")
        return tmp_path / "teacher" / "student"

    def module(self, teacher):
        losses = {**default_losses(), "relations": RelationLoss(num_relation_heads=4)}
        return DistillationModule(teacher=str(teacher), student=self.STUDENT, task=MaskedLanguage(), losses=losses)

    def distil(self, teacher, data, folder, weights):
        module = self.module(teacher)
        module.check(data.max_length)
        fit(module, data, folder, {"general": Stage(weights, epochs=1, learning_rate=1e-2)})
        return module

    @pytest.mark.parametrize(
        "weights",
        [
            {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0},
            {"relations": 1.0},
            {"logits": 1.0, "labels": 0.5},
        ],
        ids="+".join,
    )
    def test_every_loss_works_on_text(self, teacher, make_text, tmp_path, weights):
        module = self.distil(teacher, make_text(), tmp_path / "general", weights)
        assert {f"train/general/{name}" for name in weights} <= set(module.trainer.callback_metrics)
        assert all(math.isfinite(value) for value in module.last_evaluation.scores.values())

    def test_layer_losses_alone_compute_neither_head(self, teacher, make_text, tmp_path):
        module = self.module(teacher)
        module.configure_model()
        rows = []

        def note(_, inputs, __) -> None:
            if module.student.training:  # and so not in the validation
                rows.append(len(inputs[0]))

        for model in (module.student, module.teacher):
            model.lm_head.decoder.register_forward_hook(note)
        fit(module, make_text(), tmp_path / "general", {"general": Stage({"hidden": 1.0}, steps=3)})
        assert rows == [0] * 6

    def test_scores_of_a_head_that_is_not_trained_choose_no_checkpoint(self, teacher, make_text, tmp_path):
        self.distil(teacher, make_text(), tmp_path / "layers", {"hidden": 1.0})
        assert [path.name for path in (tmp_path / "layers" / "checkpoints").iterdir()] == ["last.ckpt"]
        self.distil(teacher, make_text(), tmp_path / "logits", {"hidden": 1.0, "logits": 1.0})
        assert (tmp_path / "logits" / "checkpoints" / "best.ckpt").exists()

    def test_teacher_without_a_masked_language_head_is_refused(self, teacher_folder, make_text, tmp_path):
        with pytest.raises(UserError, match="masked_language head missing"):
            self.distil(teacher_folder, make_text(), tmp_path / "general", {"hidden": 1.0})


def test_three_runs_from_plain_text_to_answers(from_scratch, make_text, squad_file, tmp_path, caplog):
    """Pretrain a teacher, distil it in general, fine-tune the teacher, distil the task into the general student."""
    fit(from_scratch(), make_text(), tmp_path / "pretrain")
    backbone = str(tmp_path / "pretrain" / "student")
    general = DistillationModule(
        teacher=backbone, student=Student(num_layers=1, hidden_size=8, num_heads=2), task=MaskedLanguage()
    )
    layers = {"attention": 1.0, "hidden": 1.0}
    fit(general, make_text(), tmp_path / "general", {"general": Stage(layers, epochs=1, learning_rate=1e-2)})
    start = str(tmp_path / "general" / "student")

    questions = SquadDataModule(
        tokenizer=backbone, train_files=[str(squad_file)], validation_files=[str(squad_file)], max_length=64,
        doc_stride=8, max_question_length=24, batch_size=6, cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    labels = {"labels": Stage({"labels": 1.0}, steps=2, learning_rate=1e-3)}
    fit(QuestionAnsweringModule(model=backbone), questions, tmp_path / "teacher", labels)

    distilled = DistillationModule(teacher=str(tmp_path / "teacher" / "student"), student=Student(init=start))
    distilled.check(questions.max_length)
    caplog.clear()
    distilled.configure_model()
    assert "student: qa_outputs.bias, qa_outputs.weight starts at random" in caplog.text
    expected = general.student.roberta.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in distilled.student.roberta.state_dict().items())
    stages = {"intermediate": Stage(layers, steps=2), "logits": Stage({"logits": 1.0}, steps=2)}
    fit(distilled, questions, tmp_path / "distil", stages)
    assert 0 <= distilled.last_evaluation.scores["f1"] <= 100
    final = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "distil" / "student")
    assert final.config.num_hidden_layers == 1
