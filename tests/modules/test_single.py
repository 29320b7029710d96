import copy
import json

import pytest
import torch
from lightning.pytorch import Trainer
from transformers import RobertaForQuestionAnswering

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.stages import StageSchedule
from distill.losses.logits import LogitLoss
from distill.losses.repetition import RepetitionLoss
from distill.models.tokenizer import train_tokenizer
from distill.modules.single import QuestionAnsweringModule, SingleModule
from distill.stages import Stage
from distill.tasks.tagging.task import TokenClassification
from distill.types import UserError
from tests.conftest import squad_document

ARCHITECTURE = {
    "model_type": "roberta",
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "type_vocab_size": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
STAGES = {"labels": Stage({"labels": 1.0}, steps=2, learning_rate=1e-3)}


@pytest.fixture
def from_scratch(teacher_folder):
    """Make a module of random weights; settings of the architecture may be changed."""

    def make(**changes) -> QuestionAnsweringModule:
        return QuestionAnsweringModule(architecture={**ARCHITECTURE, **changes}, tokenizer=str(teacher_folder))

    return make


def make_trainer(folder, *callbacks, **settings) -> Trainer:
    defaults = {
        "max_epochs": -1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False, "num_sanity_val_steps": 0,
        "use_distributed_sampler": False, "default_root_dir": folder,
    }  # fmt: skip
    return Trainer(**{**defaults, **settings}, callbacks=list(callbacks))


def test_two_questions_are_learned_by_heart(from_scratch, make_questions, tmp_path):
    document = squad_document(num_paragraphs=1)
    document["data"][0]["paragraphs"][0]["qas"].pop()  # the impossible one
    file = tmp_path / "two.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    module, data = from_scratch(), make_questions(train_files=[str(file)], validation_files=[str(file)])
    stages = {"labels": Stage({"labels": 1.0}, steps=60, learning_rate=1e-2)}
    make_trainer(tmp_path, StageSchedule(stages), check_val_every_n_epoch=20).fit(module, data)
    assert module.last_evaluation.scores["exact_match"] == 100
    assert module.last_evaluation.predictions == {"q-0-0": "Cádiz", "q-0-1": "Lérida"}
    assert float(module.trainer.callback_metrics["train/labels/labels"]) < 0.1
    assert float(module.trainer.callback_metrics["val/f1"]) == 100


def test_architecture_takes_its_vocabulary_and_special_tokens_from_the_tokenizer(from_scratch, tokenizer):
    module = from_scratch()
    module.check(max_length=128)
    module.configure_model()
    config = module.student.config
    assert isinstance(module.student, RobertaForQuestionAnswering)
    assert (config.num_hidden_layers, config.hidden_size) == (2, 32)
    assert config.vocab_size == len(tokenizer)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (1, 0, 2)
    assert module.student.training
    assert module.teacher is None


def test_model_from_a_folder_starts_from_its_weights_ready_to_train(teacher_folder):
    module = QuestionAnsweringModule(model=str(teacher_folder))
    module.check(max_length=128)
    module.configure_model()
    stored = RobertaForQuestionAnswering.from_pretrained(teacher_folder).state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in module.student.state_dict().items())
    assert module.student.training
    assert all(parameter.requires_grad for parameter in module.student.parameters())


def test_model_stored_in_half_precision_is_trained_in_full(teacher_config, tokenizer, tmp_path):
    RobertaForQuestionAnswering(copy.deepcopy(teacher_config)).half().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    module = QuestionAnsweringModule(model=str(tmp_path))
    module.configure_model()
    assert {parameter.dtype for parameter in module.student.parameters()} == {torch.float32}


def test_model_is_built_once(from_scratch):
    module = from_scratch()
    module.configure_model()
    student = module.student
    module.configure_model()
    assert module.student is student


def test_repetition_alone_teaches_attention_and_leaves_the_head(teacher_folder, make_questions, tmp_path):
    module = QuestionAnsweringModule(
        architecture=ARCHITECTURE,
        tokenizer=str(teacher_folder),
        losses={"repetition": RepetitionLoss(layer=0, num_heads=1)},
    )
    stages = {"attention": Stage({"repetition": 1.0}, steps=8, learning_rate=1e-2)}
    module.configure_model()
    before = copy.deepcopy(module.student.state_dict())
    make_trainer(tmp_path, StageSchedule(stages)).fit(module, make_questions())
    changed = {name for name, tensor in module.student.state_dict().items() if not torch.equal(tensor, before[name])}
    assert "roberta.encoder.layer.0.attention.self.query.weight" in changed
    assert not any(name.startswith("qa_outputs") for name in changed)


@pytest.mark.parametrize("settings", [{}, {"model": "some/model", "architecture": ARCHITECTURE, "tokenizer": "x"}])
def test_exactly_one_of_model_and_architecture_is_needed(settings):
    with pytest.raises(UserError, match="either a pretrained model or an architecture"):
        QuestionAnsweringModule(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"architecture": ARCHITECTURE}, {"architecture": {"hidden_size": 32}, "tokenizer": "embedded"}],
)
def test_random_weights_need_a_family_and_a_tokenizer(settings):
    with pytest.raises(UserError, match=r"architecture\.model_type and a tokenizer"):
        QuestionAnsweringModule(**settings)


def test_losses_need_a_name():
    with pytest.raises(UserError, match="no loss"):
        QuestionAnsweringModule(model="some/model", losses={})


def test_windows_longer_than_the_model_takes_are_refused(from_scratch, teacher_folder):
    for module in (from_scratch(), QuestionAnsweringModule(model=str(teacher_folder))):
        with pytest.raises(UserError, match=r"129 tokens are more than the model's 128 positions: .*data\.max_length"):
            module.check(max_length=129)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "nowhere"},
        {"architecture": ARCHITECTURE, "tokenizer": "nowhere"},
    ],
)
def test_missing_folder_is_named_by_check(settings, tmp_path):
    module = QuestionAnsweringModule(
        **{name: str(tmp_path / value) if value == "nowhere" else value for name, value in settings.items()}
    )
    with pytest.raises(UserError, match="nowhere"):
        module.check(max_length=64)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "robertta"}, "robertta"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"hidden_size": 33}, "33"),
        ({"num_layerz": 3}, "num_layerz"),
        ({"vocab_size": 9}, "vocab_size"),
    ],
)
def test_architecture_that_cannot_be_built_is_refused_by_check(from_scratch, changes, named):
    with pytest.raises(UserError, match=named) as caught:
        from_scratch(**changes).check(max_length=64)
    assert "\n" not in str(caught.value)


def test_tokenizer_with_more_pieces_than_the_model_has_embeddings_is_refused_by_check(teacher_folder, tmp_path):
    train_tokenizer([f"palabra{i} palabra{i}" for i in range(200)], vocab_size=400).save_pretrained(tmp_path)
    module = QuestionAnsweringModule(model=str(teacher_folder), tokenizer=str(tmp_path))
    with pytest.raises(UserError, match="tokenizer"):
        module.check(max_length=64)


def test_loss_that_needs_a_teacher_is_refused_by_check(teacher_folder):
    module = QuestionAnsweringModule(model=str(teacher_folder), losses={"logits": LogitLoss()})
    with pytest.raises(UserError, match="LogitLoss compares with a teacher"):
        module.check(max_length=64)


def test_fit_without_a_schedule_is_refused(from_scratch, make_questions, tmp_path):
    with pytest.raises(UserError, match=r"no active stage: .*StageSchedule"):
        make_trainer(tmp_path, max_epochs=1).fit(from_scratch(), make_questions())


def test_weights_of_a_checkpoint_are_put_into_the_student(from_scratch, make_questions, tmp_path):
    trained, fresh = from_scratch(), from_scratch()
    trainer = make_trainer(tmp_path, StageSchedule(STAGES), LastCheckpoint(), enable_checkpointing=True)
    trainer.fit(trained, make_questions())
    fresh.configure_model()
    weights = trained.student.state_dict()
    assert not all(torch.equal(tensor, weights[name]) for name, tensor in fresh.student.state_dict().items())
    fresh.load_student_weights(tmp_path / "checkpoints" / "last.ckpt")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in fresh.student.state_dict().items())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("student.qa_outputs.bias"), "qa_outputs.bias"),
        (lambda state: state.update({"student.extra": torch.zeros(1)}), "extra"),
    ],
)
def test_checkpoint_with_missing_or_foreign_weights_is_refused(from_scratch, tmp_path, change, named):
    module = from_scratch()
    module.configure_model()
    state = {f"student.{name}": tensor for name, tensor in module.student.state_dict().items()}
    change(state)
    torch.save({"state_dict": state}, tmp_path / "some.ckpt")
    with pytest.raises(RuntimeError, match=named):
        module.load_student_weights(tmp_path / "some.ckpt")


def test_predict_collects_an_answer_to_every_question_without_labels(from_scratch, make_questions, tmp_path):
    document = squad_document()
    for paragraph in document["data"][0]["paragraphs"]:
        for question in paragraph["qas"]:
            del question["answers"], question["is_impossible"]
    file = tmp_path / "asked.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    module = from_scratch()
    make_trainer(tmp_path).predict(module, make_questions(predict_files=[str(file)], eval_batch_size=4))
    contexts = {
        question["id"]: paragraph["context"]
        for paragraph in document["data"][0]["paragraphs"]
        for question in paragraph["qas"]
    }
    predictions = module.last_evaluation.predictions
    assert predictions.keys() == contexts.keys()
    assert all(answer in contexts[question_id] for question_id, answer in predictions.items())


def test_validation_test_and_prediction_give_the_same_answers(from_scratch, make_questions, squad_file, tmp_path):
    module, data = from_scratch(), make_questions(predict_files=[str(squad_file)])
    trainer, answers = make_trainer(tmp_path), []
    (validation,) = trainer.validate(module, data, verbose=False)
    answers.append(module.last_evaluation.predictions)
    (test,) = trainer.test(module, data, verbose=False)
    answers.append(module.last_evaluation.predictions)
    trainer.predict(module, data)
    answers.append(module.last_evaluation.predictions)
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 18
    assert validation["val/f1"] == test["test/f1"]
    assert module.evaluate(module.student, data.val_dataloader()).predictions == answers[0]


def test_dropout_on_attention_is_set_apart_from_the_models_own(teacher_folder):
    for settings in ({"model": str(teacher_folder)}, {"architecture": ARCHITECTURE, "tokenizer": str(teacher_folder)}):
        module = SingleModule(**settings, attention_dropout=0.25)
        module.configure_model()
        assert {layer.attention.self.dropout.p for layer in module.student.roberta.encoder.layer} == {0.25}
        assert module.student.roberta.embeddings.dropout.p != 0.25
    with pytest.raises(UserError, match=r"attention_dropout must lie in \[0, 1\)"):
        SingleModule(model=str(teacher_folder), attention_dropout=1.0)


def labelled(labels) -> SingleModule:
    return SingleModule(architecture=ARCHITECTURE, tokenizer="embedded", task=TokenClassification(labels))


def test_checkpoint_of_other_labels_or_another_order_is_refused():
    checkpoint: dict[str, object] = {}
    labelled(["O", "B-PER", "I-PER"]).on_save_checkpoint(checkpoint)
    labelled(["O", "B-PER", "I-PER"]).on_load_checkpoint(checkpoint)
    message = r"model\.task: its labels are O, I-PER, B-PER; the checkpoint's are O, B-PER, I-PER: set labels to these"
    with pytest.raises(UserError, match=message):
        labelled(["O", "I-PER", "B-PER"]).on_load_checkpoint(checkpoint)
    with pytest.raises(UserError, match="its labels are O, B-PER, I-PER, B-LOC, I-LOC; the checkpoint's"):
        labelled(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]).on_load_checkpoint(checkpoint)
    # One of before labels were kept.
    del checkpoint["labels"]
    labelled(["O", "I-PER", "B-PER"]).on_load_checkpoint(checkpoint)


def test_long_lists_of_labels_are_shown_where_they_differ():
    names = [str(number) for number in range(40)]
    checkpoint: dict[str, object] = {}
    labelled(names).on_save_checkpoint(checkpoint)
    with pytest.raises(
        UserError, match=r"are \.\.\., 28, 30, 29, .*, \.\.\.; the .* are \.\.\., 28, 29, 30, .*, 39: set"
    ):
        labelled([*names[:29], "30", "29", *names[31:], "40", "41"]).on_load_checkpoint(checkpoint)
