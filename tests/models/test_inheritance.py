import copy

import pytest
import torch
from transformers import RobertaForMaskedLM

from distill.models.families import family_of
from distill.models.inheritance import check_not_wider, check_same_widths, inherit_layers
from distill.models.student import Student
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError

from .tiny import CONFIGS, lively, logits_of, text_batch


@pytest.fixture(params=list(CONFIGS))
def teacher(request):
    return lively(CONFIGS[request.param])


def build(settings: Student, teacher):
    return settings.build(QuestionAnswering(), teacher.config).eval()


def test_all_layers_make_the_teacher_again(teacher):
    student = build(Student(init="layers"), teacher)
    inheritance = inherit_layers(student, teacher, (0, 1, 2))
    batch = text_batch()
    assert torch.equal(logits_of(student, batch), logits_of(teacher, batch))
    assert {tensor.origin for tensor in inheritance.tensors} == {"copied"}


def test_layers_are_those_of_the_map_and_the_account_says_so(teacher):
    student = build(Student(num_layers=2, init="layers"), teacher)
    inheritance = inherit_layers(student, teacher, (2, 0))
    weights = teacher.state_dict()
    layers = f"{student.base_model_prefix}.{family_of(teacher.config).layers}."
    for tensor in inheritance.tensors:
        expected = tensor.name.replace(f"{layers}1.", f"{layers}x.").replace(f"{layers}0.", f"{layers}2.")
        assert tensor.source == expected.replace(f"{layers}x.", f"{layers}0.")
        assert torch.equal(student.state_dict()[tensor.name], weights[tensor.source])
        assert tensor.shape == tuple(weights[tensor.source].shape)
    assert [tensor.name for tensor in inheritance.tensors] == [name for name, _ in student.named_parameters()]
    assert inheritance.as_dict()["layers"] == [2, 0]
    total = sum(parameter.numel() for parameter in student.parameters())
    assert inheritance.describe() == (
        f"layers 2, 0 of the teacher: {len(inheritance.tensors)} tensors copied (100.0 % of {total:,} parameters "
        "inherited)"
    )


def test_what_the_teacher_lacks_stays_random_and_is_named():
    teacher = RobertaForMaskedLM(CONFIGS["roberta"]).eval()
    student = build(Student(num_layers=1), teacher)
    head = copy.deepcopy(student.qa_outputs.state_dict())
    inheritance = inherit_layers(student, teacher, (1,))
    assert [tensor.name for tensor in inheritance.tensors if tensor.origin == "random"] == [
        "qa_outputs.weight",
        "qa_outputs.bias",
    ]
    assert all(torch.equal(head[name], tensor) for name, tensor in student.qa_outputs.state_dict().items())
    assert "2 tensors random" in inheritance.describe()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Student(hidden_size=8), r"hidden_size is 8 and the teacher's 16; make them equal or use init inherited"),
        (Student(num_heads=2), r"num_heads is 2 and the teacher's 4"),
        (Student(intermediate_size=20), r"intermediate_size is 20 and the teacher's 24"),
    ],
)
def test_layers_of_another_width_are_refused(settings, message):
    teacher = CONFIGS["bert"]
    with pytest.raises(UserError, match=message):
        check_same_widths(settings.config(teacher), teacher)
    with pytest.raises(UserError, match=message):
        Student(**{**vars(settings), "init": "layers"}).config(teacher)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Student(hidden_size=32), r"hidden_size is 32 and the teacher's 16"),
        (Student(num_heads=8), r"num_heads is 8 and the teacher's 4"),
        (Student(intermediate_size=48), r"intermediate_size is 48 and the teacher's 24"),
        (Student(num_heads=2), r"hidden_size / num_heads is 8 and the teacher's 4"),
    ],
)
def test_wider_students_are_refused(settings, message):
    teacher = CONFIGS["bert"]
    with pytest.raises(UserError, match=message):
        check_not_wider(settings.config(teacher), teacher)
    with pytest.raises(UserError, match=message):
        Student(**{**vars(settings), "init": "inherited"}).config(teacher)
