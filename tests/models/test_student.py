import copy

import pytest
import torch
from transformers import BertConfig, DistilBertConfig, ElectraConfig, RobertaForMaskedLM, RobertaForQuestionAnswering

from distill.models.student import Student
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError


def sizes(config) -> tuple[int, int, int]:
    return config.num_hidden_layers, config.hidden_size, config.num_attention_heads


def dropout_rates(model) -> set[float]:
    return {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}


def test_sizes_that_are_left_out_are_the_teachers(teacher_config):
    config = Student(num_layers=2).config(teacher_config)
    assert sizes(config) == (2, 16, 2)
    assert config.intermediate_size == teacher_config.intermediate_size
    assert config.vocab_size == teacher_config.vocab_size
    assert config.hidden_dropout_prob == teacher_config.hidden_dropout_prob
    assert teacher_config.num_hidden_layers == 4


def test_given_sizes_are_those_of_the_built_model(teacher_config):
    settings = Student(num_layers=3, hidden_size=12, num_heads=3, intermediate_size=20)
    model = settings.build(QuestionAnswering(), teacher_config)
    assert isinstance(model, RobertaForQuestionAnswering)
    assert sizes(model.config) == (3, 12, 3)
    assert len(model.roberta.encoder.layer) == 3
    assert model.roberta.encoder.layer[0].intermediate.dense.weight.shape == (20, 12)


def test_feed_forward_width_follows_the_hidden_width(teacher_config):
    assert Student(hidden_size=8).config(teacher_config).intermediate_size == 32
    assert Student(hidden_size=8, intermediate_size=24).config(teacher_config).intermediate_size == 24
    assert Student(intermediate_size=24).config(teacher_config).intermediate_size == 24


@pytest.mark.parametrize(
    "teacher",
    [
        BertConfig(vocab_size=40, num_hidden_layers=4, hidden_size=16, num_attention_heads=2, intermediate_size=32),
        DistilBertConfig(vocab_size=40, n_layers=4, dim=16, n_heads=2, hidden_dim=32),
        ElectraConfig(
            vocab_size=40, num_hidden_layers=4, embedding_size=16, hidden_size=16, num_attention_heads=2,
            intermediate_size=32,
        ),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_every_family_takes_all_settings(teacher):
    settings = Student(num_layers=2, hidden_size=8, num_heads=4, intermediate_size=24, dropout=0.25)
    model = settings.build(QuestionAnswering(), teacher)
    assert model.config.model_type == teacher.model_type
    assert sizes(model.config) == (2, 8, 4)
    assert any(parameter.shape == (24, 8) for parameter in model.base_model.parameters())
    assert dropout_rates(model.base_model) == {0.25}


@pytest.mark.parametrize(
    ("settings", "hidden", "attention"),
    [
        ({}, 0.1, 0.2),  # the teacher's
        ({"dropout": 0.3}, 0.3, 0.3),
        ({"attention_dropout": 0.0}, 0.1, 0.0),
        ({"dropout": 0.3, "attention_dropout": 0.0}, 0.3, 0.0),
    ],
)
def test_dropout_on_attention_is_a_setting_of_its_own(settings, hidden, attention, teacher_config):
    teacher = copy.deepcopy(teacher_config)
    teacher.hidden_dropout_prob, teacher.attention_probs_dropout_prob = 0.1, 0.2
    model = Student(num_layers=1, **settings).build(QuestionAnswering(), teacher)
    assert {layer.attention.self.dropout.p for layer in model.roberta.encoder.layer} == {attention}
    assert model.roberta.embeddings.dropout.p == hidden


def test_dropout_can_be_switched_off(teacher_config):
    model = Student(num_layers=1, dropout=0.0).build(QuestionAnswering(), teacher_config)
    assert dropout_rates(model) == {0.0}
    assert model.config.attention_probs_dropout_prob == 0.0


def test_random_student_is_trainable_in_full_precision(teacher_config):
    teacher_config = type(teacher_config).from_dict({**teacher_config.to_dict(), "dtype": "float16"})
    model = Student(num_layers=1).build(QuestionAnswering(), teacher_config)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_student_from_a_folder_has_its_weights_and_sizes(teacher_config, tmp_path):
    stored = Student(num_layers=1, hidden_size=8).build(QuestionAnswering(), teacher_config)
    stored.save_pretrained(tmp_path)
    settings = Student(init=str(tmp_path))
    model = settings.build(QuestionAnswering(), teacher_config)
    assert sizes(settings.config(teacher_config)) == sizes(model.config) == (1, 8, 2)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in stored.state_dict().items())
    assert model.training


def test_student_from_a_language_model_has_its_encoder_and_a_new_head(teacher_config, tmp_path):
    stored = RobertaForMaskedLM(copy.deepcopy(teacher_config))
    stored.save_pretrained(tmp_path)
    model = Student(init=str(tmp_path)).build(QuestionAnswering(), teacher_config)
    encoder = model.base_model.state_dict()
    assert all(torch.equal(tensor, encoder[name]) for name, tensor in stored.roberta.state_dict().items())
    assert model.qa_outputs.weight.shape == (2, 16)


def test_dropout_also_holds_for_a_student_from_a_folder(teacher_folder, teacher_config):
    settings = Student(init=str(teacher_folder), dropout=0.25)
    assert settings.config(teacher_config).hidden_dropout_prob == 0.25
    assert dropout_rates(settings.build(QuestionAnswering(), teacher_config)) == {0.25}


def test_missing_folder_is_a_mistake_of_the_user(teacher_config, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        Student(init=str(tmp_path / "nowhere")).config(teacher_config)


@pytest.mark.parametrize("size", ["num_layers", "hidden_size", "num_heads", "intermediate_size"])
def test_sizes_beside_a_folder_must_be_its_own(size, teacher_folder, teacher_config):
    own = {"num_layers": 4, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32}
    assert sizes(Student(init=str(teacher_folder), **own).config(teacher_config)) == (4, 16, 2)
    with pytest.raises(UserError, match=rf"has {size} {own[size]}, not 6; set student\.{size} to null"):
        Student(init=str(teacher_folder), **{size: 6}).config(teacher_config)


@pytest.mark.parametrize("size", ["num_layers", "hidden_size", "num_heads", "intermediate_size"])
def test_sizes_below_one_are_refused(size):
    with pytest.raises(UserError, match=rf"student\.{size} must be at least 1, not 0"):
        Student(**{size: 0})


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_dropout_out_of_range_is_refused(rate):
    for name in ("dropout", "attention_dropout"):
        with pytest.raises(UserError, match=rf"student\.{name} must"):
            Student(**{name: rate})


def test_width_that_the_heads_cannot_share_is_refused(teacher_config):
    with pytest.raises(UserError, match=r"hidden_size 10 is not a multiple of student\.num_heads 4"):
        Student(hidden_size=10, num_heads=4).config(teacher_config)


def test_only_folders_bring_weights_of_their_own(tmp_path):
    assert [Student(init=init).folder for init in ("random", "mimetic", "layers", "inherited")] == [None] * 4
    assert Student(init="some/where").folder == "some/where"
    assert [Student(init=init).inherits for init in ("random", "layers", "inherited", "some/where")] == [
        False,
        True,
        True,
        False,
    ]


def test_unknown_vocabulary_is_refused():
    with pytest.raises(UserError, match=r"student\.vocabulary must be full or trimmed, not half"):
        Student(vocabulary="half")
