"""Tiny offline stand-ins: questions, a tokenizer, a teacher."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false", WANDB_SILENT="true")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many threads in every worker would wait for each other

import hypothesis
import pytest
import torch
import wandb
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM, RobertaForQuestionAnswering

from distill.data.datamodule import SquadDataModule
from distill.models.tokenizer import train_tokenizer

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

#: Third-party sets for the tests that measure on real data; those skip where it is absent.
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"

_PEOPLE = ("Lucía Ferrer", "Mateo Güell", "Íñigo Peña", "Ana Rúa")
_TOWNS = ("Cádiz", "Ávila", "Lérida", "Jaén")


def squad_document(num_paragraphs: int = 6, prefix: str = "q") -> dict:
    """Return questions in SQuAD v2.0 form: two people and their towns a paragraph, the third question impossible."""
    paragraphs = []
    for i in range(num_paragraphs):
        first, second = _PEOPLE[i % 4], _PEOPLE[(i + 1) % 4]
        towns = _TOWNS[i % 4], _TOWNS[(i + 2) % 4]
        context = f"{first} nació en {towns[0]} en {1900 + i}. En cambio, {second} nació en {towns[1]}."
        qas = [
            {
                "id": f"{prefix}-{i}-{j}",
                "question": f"¿Dónde nació {name}?",
                "answers": [{"text": town, "answer_start": context.index(town)}],
                "is_impossible": False,
            }
            for j, (name, town) in enumerate(zip((first, second), towns, strict=True))
        ]
        qas.append(
            {"id": f"{prefix}-{i}-2", "question": f"¿Cuándo murió {first}?", "answers": [], "is_impossible": True}
        )
        paragraphs.append({"context": context, "qas": qas})
    return {"version": "v2.0", "data": [{"title": "Personas", "paragraphs": paragraphs}]}


@pytest.fixture(autouse=True)
def _leave_no_trace(tmp_path, monkeypatch):
    """Runs write under the test's own folder; neither settings nor the environment leak between tests.

    Lightning leaves ``PL_GLOBAL_SEED`` and W&B the address of its service, which the next test's processes would take;
    the command line leaves denormal numbers switched off.
    """
    torch.set_flush_denormal(False)
    environment = dict(os.environ)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    if wandb.run is not None:  # the next logger in this process would go on writing into it
        wandb.finish()
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def squad_file(tmp_path) -> Path:
    """Eighteen questions about six paragraphs."""
    file = tmp_path / "questions.json"
    file.write_text(json.dumps(squad_document(), ensure_ascii=False), encoding="utf-8")
    return file


@pytest.fixture
def make_questions(squad_file, teacher_folder, tmp_path):
    """Make a data module of these questions in windows of 64 tokens."""
    return partial(
        SquadDataModule,
        tokenizer=str(teacher_folder),
        train_files=[str(squad_file)],
        validation_files=[str(squad_file)],
        max_length=64,
        doc_stride=8,
        max_question_length=24,
        cache_dir=str(tmp_path / "cache"),
    )


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 300 pieces, trained on the tiny questions."""
    texts = []
    for paragraph in squad_document()["data"][0]["paragraphs"]:
        texts += [paragraph["context"], *(qa["question"] for qa in paragraph["qas"])]
    return train_tokenizer(texts, vocab_size=300, max_length=128)


@pytest.fixture(scope="session")
def teacher_config(tokenizer) -> RobertaConfig:
    """A RoBERTa of 4 layers, 16 wide, 2 heads."""
    return RobertaConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=4,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory, tokenizer, teacher_config) -> Path:
    """A folder with the tiny teacher and its tokenizer, as ``save_pretrained`` writes them."""
    folder = tmp_path_factory.mktemp("teacher")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        RobertaForQuestionAnswering(teacher_config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory, tokenizer, teacher_config) -> Path:
    """A folder with a masked-language model of the tiny teacher's sizes and its tokenizer."""
    folder = tmp_path_factory.mktemp("backbone")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        RobertaForMaskedLM(teacher_config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def text_file(tmp_path) -> Path:
    """Twelve short documents of plain text; twelve others lie beside them in ``otro.txt``."""
    contexts = [paragraph["context"] for paragraph in squad_document(24)["data"][0]["paragraphs"]]
    for name, documents in (("texto.txt", contexts[:12]), ("otro.txt", contexts[12:])):
        (tmp_path / name).write_text("\n\n\n".join(documents), encoding="utf-8")
    return tmp_path / "texto.txt"


@pytest.fixture
def real_data() -> Path:
    """The folder of third-party sets; the test is skipped where it is absent."""
    if not REAL_DATA.exists():
        pytest.skip("third-party data sets are not on this machine")
    return REAL_DATA
