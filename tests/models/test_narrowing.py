import pytest
import torch
from transformers import RobertaForMaskedLM

from distill.losses.attention import AttentionLoss
from distill.models.layer_map import map_layers
from distill.models.narrowing import inherit_projected
from distill.models.recording import Recorder, model_shape
from distill.models.student import Student
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError

from .tiny import CONFIGS, lively, logits_of, text_batch


def build(settings: Student, teacher):
    return settings.build(QuestionAnswering(), teacher.config).eval()


def distance(student, teacher) -> float:
    """Return how far the student's scores are from the teacher's on fresh text, in parts of their own spread."""
    batch = text_batch(seed=9)
    mine, other = logits_of(student, batch), logits_of(teacher, batch)
    return float((mine - other).square().mean() / other.var())


@pytest.fixture(params=list(CONFIGS))
def teacher(request):
    return lively(CONFIGS[request.param])


def test_a_student_of_the_same_size_is_the_teacher(teacher):
    student = build(Student(), teacher)
    inheritance = inherit_projected(student, teacher, (0, 1, 2), [text_batch(64)])
    assert distance(student, teacher) < 1e-4
    assert not [tensor.name for tensor in inheritance.tensors if tensor.origin == "random"]
    assert {tensor.source for tensor in inheritance.tensors} == {name for name, _ in teacher.named_parameters()}


def narrow_teacher(config, width: int = 7):
    """Return a teacher that is as wide as it looks in the tables, but whose states vary in few directions."""
    model = lively(config)
    basis = torch.linalg.qr(torch.randn(16, width, generator=torch.Generator().manual_seed(3))).Q
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("embeddings.weight") and parameter.shape[1] == 16:
                parameter.copy_(parameter @ basis @ basis.T)
    return model


@pytest.mark.parametrize("family", list(CONFIGS))
def test_a_narrower_student_starts_nearer_than_a_random_one(family):
    teacher = narrow_teacher(CONFIGS[family])
    settings = Student(hidden_size=12, num_heads=4, intermediate_size=20)
    student = build(settings, teacher)
    before = distance(student, teacher)
    inheritance = inherit_projected(student, teacher, (0, 1, 2), [text_batch(64)])
    assert distance(student, teacher) < 0.8 * before
    assert all(0 <= tensor.kept <= 1 for tensor in inheritance.tensors)
    shapes = {name: tuple(parameter.shape) for name, parameter in student.named_parameters()}
    assert {tensor.name: tensor.shape for tensor in inheritance.tensors} == shapes


def test_fewer_units_heads_and_layers(teacher):
    settings = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=6)
    student = build(settings, teacher)
    inheritance = inherit_projected(student, teacher, (0, 2), [text_batch(64)])
    assert all(parameter.isfinite().all() for parameter in student.parameters())
    assert inheritance.layers == (0, 2)
    assert student.config.num_attention_heads == 2


def test_dead_units_and_heads_are_the_ones_that_go():
    teacher = lively(CONFIGS["roberta"])
    with torch.no_grad():
        for layer in teacher.roberta.encoder.layer:
            layer.output.dense.weight[:, ::2] = 0  # every other unit writes nothing
            layer.attention.output.dense.weight[:, 4:12] = 0  # neither do the heads 1 and 2
    student = build(Student(hidden_size=16, num_heads=4, intermediate_size=12), teacher)
    inherit_projected(student, teacher, (0, 1, 2), [text_batch(64)])
    assert distance(student, teacher) < 1e-3
    fewer = Student(hidden_size=8, num_heads=2, intermediate_size=12)
    inheritance = inherit_projected(build(fewer, teacher), teacher, (0, 1, 2), [text_batch(64)])
    kept = {tensor.name.rsplit(".", 2)[-2]: tensor.kept for tensor in inheritance.tensors if ".layer.0." in tensor.name}
    assert kept["value"] == pytest.approx(1, abs=1e-3)


def test_heads_are_kept_of_each_group_that_is_compared():
    """Heads 0 and 1 write the most; where neighbours are compared, one of 0 and 1 and one of 2 and 3 is wanted."""
    teacher = lively(CONFIGS["roberta"])
    with torch.no_grad():
        for layer in teacher.roberta.encoder.layer:
            layer.attention.output.dense.weight *= torch.tensor([2.0, 4.0, 0.1, 0.2]).repeat_interleave(4)
    settings = Student(hidden_size=8, num_heads=2, intermediate_size=24)
    distances = {}
    for num_groups in (1, 2):
        student = build(settings, teacher)
        inherit_projected(student, teacher, (0, 1, 2), [text_batch(64)], num_groups)
        loss = AttentionLoss(heads="grouped")
        shapes = model_shape(student.config), model_shape(teacher.config)
        loss.bind(*shapes, map_layers((0, 1, 2)), QuestionAnswering())
        assert loss.num_maps == 2
        batch = text_batch(seed=9)
        recordings = (
            Recorder(model).record(batch.inputs, plan, QuestionAnswering().logits)
            for model, plan in ((student, loss.student_plan), (teacher, loss.teacher_plan))
        )
        mean = loss(*recordings, batch, 1.0)
        distances[num_groups] = float(mean.value.detach())
    assert distances[2] < distances[1]


def test_the_start_is_the_same_every_time_and_leaves_the_random_state_alone(teacher):
    settings = Student(num_layers=1, hidden_size=8, num_heads=2, intermediate_size=12)
    first, second = build(settings, teacher), build(settings, teacher)
    inherit_projected(first, teacher, (1,), [text_batch()])
    state = torch.get_rng_state()
    inherit_projected(second, teacher, (1,), [text_batch()])
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_teacher_in_half_precision_gives_a_full_one():
    teacher = lively(CONFIGS["bert"]).bfloat16()
    student = build(Student(hidden_size=8, num_heads=2, intermediate_size=12), teacher)
    inherit_projected(student, teacher, (0, 1, 2), [text_batch()])
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert all(parameter.isfinite().all() for parameter in student.parameters())


def test_a_head_that_does_not_read_hidden_states_stays_random():
    teacher = RobertaForMaskedLM(CONFIGS["roberta"]).eval()
    student = build(Student(hidden_size=8, num_heads=2, intermediate_size=12), teacher)
    inheritance = inherit_projected(student, teacher, (0, 1, 2), [text_batch()])
    assert [tensor.name for tensor in inheritance.tensors if tensor.origin == "random"] == [
        "qa_outputs.weight",
        "qa_outputs.bias",
    ]
    assert all(tensor.source is None for tensor in inheritance.tensors if tensor.origin == "random")


def test_a_wider_student_is_refused():
    teacher = lively(CONFIGS["bert"])
    with pytest.raises(UserError, match="hidden_size is 32"):
        inherit_projected(build(Student(hidden_size=32), teacher), teacher, (0, 1, 2), [text_batch()])
