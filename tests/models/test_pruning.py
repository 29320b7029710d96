import pytest
import torch
from torch.nn import functional as F
from transformers import AlbertConfig, AlbertForQuestionAnswering, AutoModelForMaskedLM

from distill.models.inheritance import inherit_layers
from distill.models.pruning import only_layers, prune_layers
from distill.models.student import Student
from distill.tasks.masked_language.task import MaskedLanguage
from distill.tasks.question_answering.task import QuestionAnswering
from distill.text.masking import IGNORED
from distill.types import Batch, UserError

from .tiny import CONFIGS, lively, logits_of, text_batch


@pytest.fixture(params=list(CONFIGS))
def teacher(request):
    return lively(CONFIGS[request.param])


def divergence(teacher, layers, batch) -> float:
    """Return KL(whole || some layers), row by row, from the formula."""
    task = QuestionAnswering()
    with torch.no_grad():
        whole = task.rows(task.logits(teacher(**batch.inputs)), batch).softmax(-1)
        with only_layers(teacher, layers):
            left = task.rows(task.logits(teacher(**batch.inputs)), batch).softmax(-1)
    return float((whole * (whole.clamp_min(1e-30) / left.clamp_min(1e-30)).log()).sum(-1).mean())


def test_model_with_some_layers_is_the_one_that_has_no_others(teacher):
    batch = text_batch()
    student = Student(num_layers=2).build(QuestionAnswering(), teacher.config).eval()
    inherit_layers(student, teacher, (0, 2))
    whole = logits_of(teacher, batch)
    with only_layers(teacher, (0, 2)):
        assert torch.equal(logits_of(teacher, batch), logits_of(student, batch))
    assert torch.equal(logits_of(teacher, batch), whole)


def test_first_drop_is_the_one_that_changes_least(teacher):
    batch = text_batch()
    every = {layers: divergence(teacher, layers, batch) for layers in ((0, 1), (0, 2), (1, 2))}
    kept, changes = prune_layers(teacher, 2, [batch], QuestionAnswering())
    assert kept == min(every, key=every.get)
    assert changes == [pytest.approx(every[kept], rel=1e-4)]


def test_later_drops_go_on_from_what_is_left(teacher):
    batches = [text_batch(seed=1), text_batch(seed=2)]
    two, first = prune_layers(teacher, 2, batches, QuestionAnswering())
    one, both = prune_layers(teacher, 1, batches, QuestionAnswering())
    assert set(one) < set(two)
    assert both[0] == first[0]
    assert len(both) == 2


def test_layer_that_does_nothing_goes_first():
    teacher = lively(CONFIGS["roberta"])
    idle = teacher.roberta.encoder.layer[1]
    with torch.no_grad():
        for dense in (idle.attention.output.dense, idle.output.dense):
            dense.weight.zero_()
            dense.bias.zero_()
        # Norming what was normed with gain 1 and bias 0 changes nothing.
        for norm in (teacher.roberta.encoder.layer[0].output.LayerNorm, idle.attention.output.LayerNorm):
            norm.weight.fill_(1)
            norm.bias.zero_()
        idle.output.LayerNorm.weight.fill_(1)
        idle.output.LayerNorm.bias.zero_()
    kept, changes = prune_layers(teacher, 2, [text_batch()], QuestionAnswering())
    assert kept == (0, 2)
    assert changes[0] == pytest.approx(0, abs=1e-5)


def test_nothing_to_drop_keeps_everything(teacher):
    assert prune_layers(teacher, 3, [text_batch()], QuestionAnswering()) == ((0, 1, 2), [])


def test_language_models_are_judged_by_their_hidden_tokens():
    model = AutoModelForMaskedLM.from_config(CONFIGS["bert"]).eval()
    batch = text_batch()
    hidden = torch.rand(batch.attention_mask.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    labels = batch.inputs["input_ids"].where(hidden & batch.attention_mask.bool(), IGNORED)
    batch = Batch(batch.inputs, {"token_ids": labels}, batch.window_ids)
    kept, changes = prune_layers(model, 2, [batch], MaskedLanguage())
    with torch.no_grad():
        whole = model(**batch.inputs).logits[labels != IGNORED].log_softmax(-1)
        with only_layers(model, kept):
            left = model(**batch.inputs).logits[labels != IGNORED].log_softmax(-1)
    assert changes[0] == pytest.approx(float(F.kl_div(left, whole, reduction="batchmean", log_target=True)), rel=1e-4)


def test_families_that_share_their_layers_are_refused():
    sizes = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 16, "embedding_size": 8}
    config = AlbertConfig(num_hidden_layers=3, num_attention_heads=2, **sizes)
    with pytest.raises(UserError, match="albert"):
        prune_layers(AlbertForQuestionAnswering(config).eval(), 1, [text_batch()], QuestionAnswering())
