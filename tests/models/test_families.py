import pytest
import torch
from transformers import AlbertConfig, GPT2Config

from distill.models.families import FAMILIES, family_of, find_part, intermediate_size
from distill.models.student import Student
from distill.types import UserError

from .tiny import CONFIGS, lively


@pytest.fixture(params=list(CONFIGS))
def teacher(request):
    return lively(CONFIGS[request.param])


def test_every_part_of_every_family_is_there(teacher):
    family = family_of(teacher.config)
    for part in (family.query, family.key, family.value, family.attention_output, family.intermediate, family.output):
        assert isinstance(find_part(teacher, family.in_layer(2, part)), torch.nn.Linear)
    for part in (family.attention_norm, family.output_norm):
        assert isinstance(find_part(teacher, family.in_layer(2, part)), torch.nn.LayerNorm)
    assert all(isinstance(find_part(teacher, table), torch.nn.Embedding) for table in family.tables)
    assert isinstance(getattr(teacher, family.head), torch.nn.Linear)
    assert find_part(teacher, family.in_layer(3, family.query)) is None
    assert intermediate_size(teacher.config) == 24


@pytest.mark.parametrize("config", [AlbertConfig(), GPT2Config()], ids=lambda config: config.model_type)
@pytest.mark.parametrize("init", ["layers", "inherited"])
def test_unknown_families_are_refused_before_anything_is_built(config, init):
    with pytest.raises(UserError, match=f"parts of '{config.model_type}' models are not known.*{', '.join(FAMILIES)}"):
        Student(init=init).config(config)
