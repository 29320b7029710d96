"""What stored logits depend on changes their key; what they do not depend on does not."""

import copy

import pytest
import torch

from distill.models.loading import load_frozen
from distill.teaching.keys import model_digest, store_key

from .conftest import training_windows


def test_same_weights_give_the_same_digest_wherever_they_lie(task, teacher, tmp_path):
    teacher.model.save_pretrained(tmp_path / "copy")
    assert model_digest(load_frozen(task, str(tmp_path / "copy"))) == model_digest(teacher.model)


def test_one_weight_changes_the_digest(teacher):
    before = model_digest(teacher.model)
    with torch.no_grad():
        next(iter(teacher.model.parameters()))[0, 0] += 1e-6
    assert model_digest(teacher.model) != before


def test_dtype_and_configuration_change_the_digest(teacher):
    digests = {model_digest(teacher.model), model_digest(copy.deepcopy(teacher.model).bfloat16())}
    teacher.model.config.layer_norm_eps *= 2
    assert model_digest(teacher.model) not in digests
    assert len(digests) == 2


def test_every_part_changes_the_key():
    parts = dict.fromkeys(("teacher", "windows", "task", "precision", "dtype", "device", "products"), "one")
    keys = {store_key(**parts), *(store_key(**{**parts, name: "other"}) for name in parts)}
    assert len(keys) == 8


@pytest.mark.parametrize("changed", ["text", "max_length", "tokenizer", "question"])
def test_windows_of_other_texts_tokenizers_or_lengths_have_another_fingerprint(
    settings, changed, squad_file, tokenizer, tmp_path
):
    before = training_windows(settings).fingerprint
    assert training_windows(settings).fingerprint == before
    if changed in ("text", "question"):
        old, new = {"text": ("1903", "1913"), "question": ("murió", "vivió")}[changed]
        squad_file.write_text(squad_file.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    elif changed == "max_length":
        settings["max_length"] = 60
    else:
        other = copy.deepcopy(tokenizer)
        other.add_tokens(["Cádiz"])
        other.save_pretrained(tmp_path / "other")
        settings["tokenizer"] = str(tmp_path / "other")
    assert training_windows(settings).fingerprint != before
