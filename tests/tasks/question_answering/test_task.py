import math
from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from distill.tasks.base import MASKED_LOGIT
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Answer, Batch, Example, UserError

CONTEXT = "El río Ebro nace en Fontibre, cerca de Reinosa."
CONFIG = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "xx"}, "language 'xx' is not known: choose one of"),
        ({"n_best": 0}, "n_best must be at least 1"),
        ({"max_answer_length": 0}, "max_answer_length must be at least 1"),
        ({"null_threshold": math.nan}, "null_threshold must be a finite number"),
        ({"null_threshold": math.inf}, "null_threshold must be a finite number"),
    ],
)
def test_ranges(options, message):
    with pytest.raises(UserError, match=message):
        QuestionAnswering(**options)


def test_half_precision_checkpoints_load_in_float32(tmp_path):
    BertForQuestionAnswering(BertConfig(**CONFIG)).half().save_pretrained(tmp_path)
    task = QuestionAnswering()
    assert task.load_model(str(tmp_path)).dtype == torch.float32
    assert task.load_model(str(tmp_path), dtype=torch.bfloat16).dtype == torch.bfloat16


def test_models_are_built_in_float32():
    model = QuestionAnswering().build_model(BertConfig(**CONFIG, dtype="float16"))
    assert isinstance(model, BertForQuestionAnswering)
    assert model.dtype == torch.float32


@pytest.fixture
def batch():
    mask = torch.tensor([[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]])
    labels = {"start_positions": torch.tensor([1, 3]), "end_positions": torch.tensor([2, 4])}
    return Batch({"attention_mask": mask}, labels, torch.arange(2))


def test_rows_interleave_start_and_end(batch):
    task = QuestionAnswering()
    output = SimpleNamespace(start_logits=torch.randn(2, 5), end_logits=torch.randn(2, 5))
    logits = task.logits(output)
    assert logits.shape == (2, 5, 2)
    rows = task.rows(logits, batch, mask_padding=False)
    expected = [output.start_logits[0], output.end_logits[0], output.start_logits[1], output.end_logits[1]]
    assert torch.equal(rows, torch.stack(expected))
    assert task.targets(batch).tolist() == [1, 2, 3, 4]


def test_rows_mask_padding_alone(batch):
    task = QuestionAnswering()
    logits = torch.randn(2, 5, 2)
    masked, plain = task.rows(logits, batch), task.rows(logits, batch, mask_padding=False)
    is_padding = masked == MASKED_LOGIT
    assert is_padding.nonzero().tolist() == [[0, 4], [1, 4], [2, 0], [3, 0]]
    assert torch.equal(masked[~is_padding], plain[~is_padding])


def test_half_precision_rows_can_be_masked(batch):
    rows = QuestionAnswering().rows(torch.randn(2, 5, 2).half(), batch)
    assert rows.dtype == torch.float32
    assert torch.isfinite(rows.log_softmax(-1)[:, 1:4]).all()


def test_label_loss_equals_the_library(make_batch, tokenizers):
    examples = [Example("q", "¿Dónde nace?", CONTEXT, (Answer("Fontibre", 20),)), Example("r", "¿Qué?", CONTEXT)]
    batch = make_batch(examples)
    config = BertConfig(**CONFIG | {"vocab_size": len(tokenizers["byte_level"])})
    task = QuestionAnswering()
    model = task.build_model(config).eval()
    output = model(**batch.inputs, **batch.labels)
    rows = task.rows(task.logits(output), batch, mask_padding=False)
    loss = torch.nn.functional.cross_entropy(rows, task.targets(batch))
    assert loss.item() == pytest.approx(output.loss.item(), abs=1e-6)


def test_threshold_that_the_questions_contradict_is_named():
    answered = Example("a", "¿Quién?", "Ana", (Answer("Ana", 0),))
    impossible = Example("b", "¿Cuándo?", "Ana")
    answering, abstaining = QuestionAnswering(null_threshold=None), QuestionAnswering(null_threshold=-1.0)
    assert answering.advise([answered]) is None is abstaining.advise([answered, impossible])
    assert "1 of 2 validation questions have no answer" in answering.advise([answered, impossible])
    assert "set task.null_threshold to null" in abstaining.advise([answered])
    assert abstaining.advise([]) is None


def test_evaluation_takes_the_task_settings(make_batch):
    examples = [Example("q", "¿Dónde nace?", CONTEXT, (Answer("Fontibre", 20),))]
    batch = make_batch(examples)
    logits = torch.zeros(*batch.inputs["input_ids"].shape, 2)
    logits[:, 0] = 5.0
    for threshold, is_empty in ((0.0, True), (None, False)):
        evaluation = QuestionAnswering(null_threshold=threshold, n_best=3, max_answer_length=2).evaluation(examples)
        evaluation.update(logits, batch)
        result = evaluation.compute()
        assert (result.predictions["q"] == "") == is_empty
        assert "f1" in result.scores
