import copy
import json
import re
import shutil
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import normalizers
from transformers import (
    AutoTokenizer,
    BertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
)

from distill.models.loading import (
    EMBEDDED,
    EMBEDDED_STUDENT,
    check_same_tokenizer,
    freeze,
    load_config,
    load_frozen,
    load_tokenizer,
    max_positions,
    resolve_source,
)
from distill.models.tokenizer import train_tokenizer
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError

SENTENCE = "¿Dónde nació Íñigo Peña?"


@pytest.fixture
def folder(teacher_folder, tmp_path) -> Path:
    """A copy of the tiny teacher's folder, to be spoilt."""
    return Path(shutil.copytree(teacher_folder, tmp_path / "copy"))


def test_embedded_stands_for_the_models_of_the_package():
    assets = Path(str(resources.files("distill"))) / "assets"
    assert Path(resolve_source(EMBEDDED)) == assets / "teacher"
    assert Path(resolve_source(EMBEDDED_STUDENT)) == assets / "student"
    assert resolve_source("some/model") == "some/model"


def test_config_and_tokenizer_are_those_of_the_folder(teacher_folder, teacher_config, tokenizer):
    config = load_config(str(teacher_folder))
    assert (config.model_type, config.num_hidden_layers) == ("roberta", teacher_config.num_hidden_layers)
    assert load_tokenizer(str(teacher_folder))(SENTENCE)["input_ids"] == tokenizer(SENTENCE)["input_ids"]


@pytest.mark.parametrize("load", [load_config, load_tokenizer])
def test_missing_source_gets_one_line_that_names_it(load, tmp_path):
    with pytest.raises(UserError, match=r"org/nowhere: no folder or reachable hub model with a ") as caught:
        load("org/nowhere")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"nowhere: no such folder: check the path$"):
        load(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(("load", "what"), [(load_config, "a configuration"), (load_tokenizer, "a tokenizer")])
def test_empty_folder_is_not_taken_for_a_hub_name(load, what, tmp_path):
    with pytest.raises(UserError, match=f"no folder with {what}") as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", '{"hidden_size": 16}', '{"model_type": "roberta", "hidden_size": "wide"}'])
def test_broken_configuration_is_a_mistake_of_the_user(text, folder):
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="copy"):
        load_config(str(folder))


def test_folder_of_a_run_is_told_from_that_of_its_model(teacher_folder, tmp_path):
    shutil.copytree(teacher_folder, tmp_path / "student")
    with pytest.raises(UserError, match=re.escape(f"a run's folder, not a model's: name {tmp_path / 'student'}")):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("source", ["student", "."])
@pytest.mark.parametrize("load", [load_config, load_tokenizer])
def test_folder_of_several_tasks_is_told_from_one_of_them(load, source, teacher_folder, tmp_path):
    for name in ("encoder", "qa", "ner"):
        shutil.copytree(teacher_folder, tmp_path / "student" / name)
    tasks = f"holds several tasks: name one of them, {tmp_path}/student/ner or {tmp_path}/student/qa"
    with pytest.raises(UserError, match=re.escape(tasks)):
        load(str(tmp_path / source))


def test_model_without_a_tokenizer_beside_it_is_refused(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="a tokenizer"):
        load_tokenizer(str(folder))


def test_tokenizer_without_offsets_is_refused(monkeypatch):
    # A real one would import half the library on its way.
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda _: SimpleNamespace(is_fast=False))
    with pytest.raises(UserError, match=r"slow: a fast tokenizer is needed"):
        load_tokenizer("slow")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_frozen_model_is_in_eval_mode_without_gradients_in_the_given_precision(teacher_folder, dtype):
    model = load_frozen(QuestionAnswering(), str(teacher_folder), dtype)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}


def test_frozen_model_has_the_stored_weights_in_full_precision_even_if_they_are_stored_in_half(
    teacher_folder, teacher_config, tmp_path
):
    # Saving notes the precision in the configuration, which other tests share.
    stored = RobertaForQuestionAnswering(copy.deepcopy(teacher_config)).half()
    stored.save_pretrained(tmp_path)
    loaded = load_frozen(QuestionAnswering(), str(tmp_path)).state_dict()
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in stored.state_dict().items())
    assert loaded["qa_outputs.weight"].dtype == torch.float32


def test_freeze_returns_the_model_that_it_was_given(teacher_config):
    model = RobertaForQuestionAnswering(teacher_config).train()
    assert freeze(model) is model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def _remove(weights: Path) -> None:
    weights.unlink()


def _truncate(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:500])


@pytest.mark.parametrize("spoil", [_remove, _truncate])
def test_frozen_model_with_missing_or_broken_weights_is_refused(spoil, folder):
    spoil(folder / "model.safetensors")
    with pytest.raises(UserError, match=r"teacher .*copy: cannot be loaded"):
        load_frozen(QuestionAnswering(), str(folder))


def test_frozen_model_whose_weights_have_other_sizes_is_refused(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}), encoding="utf-8")
    with pytest.raises(UserError, match=r"teacher .*copy: cannot be loaded"):
        load_frozen(QuestionAnswering(), str(folder))


def test_teacher_without_the_tasks_head_is_refused_and_not_given_a_random_one(teacher_config, tmp_path):
    RobertaForMaskedLM(copy.deepcopy(teacher_config)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="head"):
        load_frozen(QuestionAnswering(), str(tmp_path))


def test_tokenizer_agrees_with_its_reloaded_self(tokenizer, teacher_folder):
    check_same_tokenizer(tokenizer, AutoTokenizer.from_pretrained(teacher_folder))


def test_tokenizers_with_other_vocabularies_are_refused(tokenizer):
    shorter = train_tokenizer(["un texto", "otro texto"], vocab_size=262)
    with pytest.raises(UserError, match=rf"{len(shorter)} pieces.*{len(tokenizer)}"):
        check_same_tokenizer(shorter, tokenizer)


def test_tokenizers_of_one_size_with_other_pieces_are_refused(tokenizer):
    other = train_tokenizer(["zzz xxx www kkk yyy vvv qqq"] * 3 + [SENTENCE * 3] * 3, vocab_size=len(tokenizer))
    assert len(other) == len(tokenizer)
    with pytest.raises(UserError, match="use different tokenizers"):
        check_same_tokenizer(other, tokenizer)


def test_tokenizers_that_share_a_vocabulary_but_cut_otherwise_are_refused(tokenizer):
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.normalizer = normalizers.Lowercase()
    lowered = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert lowered.get_vocab() == tokenizer.get_vocab()
    with pytest.raises(UserError, match="cut text differently"):
        check_same_tokenizer(lowered, tokenizer)


def test_longest_input_is_what_the_model_can_really_take(teacher_config):
    limit = max_positions(teacher_config)
    assert limit == teacher_config.max_position_embeddings - 2
    model = RobertaForQuestionAnswering(teacher_config).eval()
    with torch.no_grad():
        assert model(input_ids=torch.full((1, limit), 7)).start_logits.shape == (1, limit)
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, limit + 1), 7))


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (BertConfig(max_position_embeddings=512), 512),
        (RobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
        (RobertaConfig(max_position_embeddings=514, pad_token_id=0), 513),
    ],
)
def test_only_the_roberta_family_loses_places_to_padding(config, limit):
    assert max_positions(config) == limit
