"""The card of a masked-language model says what its report says, and "unknown" for the rest."""

from __future__ import annotations

from copy import deepcopy

import pytest
from huggingface_hub import ModelCard

from distill.reporting.backbone_card import build_backbone_card

READING = {"files": 4, "documents": 1500, "characters": 1_071_397, "duplicates": 3, "foreign_dropped": 2}
REPORT = {
    "headline": [
        {"name": "perplexity", "label": "perplexity", "higher_is_better": False},
        {"name": "accuracy", "label": "accuracy, masked tokens", "higher_is_better": True},
    ],
    "student": {
        "num_parameters": 1_263_032,
        "scores": {"perplexity": 483.2333, "accuracy": 6.8211, "num_masked_tokens": 777.0},
    },
    "teacher": None,
    "checkpoints": {"rule": "best validation perplexity within the final stage", "best": {"step": 300}},
    "stages": [{"name": "masking", "num_steps": 300, "weights": {"labels": 1.0}, "learning_rate": 0.002}],
    "data": {
        "masking_probability": 0.15,
        "train": {
            "source": "a.txt, b.txt, c.txt, d.txt", "documents": 1471, "blocks": 2028, "tokens": 259_464,
            "reading": {**READING, "invalid_bytes": {"a.txt": 2, "b.txt": 5}},
        },
        "validation": {"source": "e.txt", "documents": 29, "blocks": 40, "tokens": 5083, "reading": {}},
    },
    "throughput": {"total": {"num_tokens": 1_215_400, "seconds": 4500.0}},
    "environment": {
        "command": "train.py fit --config configs/pretrain.yaml", "precision": "32-true", "num_steps": 300,
        "device": "cpu", "cpu": "AMD EPYC", "num_threads": 2, "num_devices": 1,
    },
}  # fmt: skip
MODEL = {
    "model_type": "roberta", "num_hidden_layers": 4, "hidden_size": 96, "num_attention_heads": 4, "vocab_size": 3000
}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "A roberta of 4 layers, 96 wide, 4 heads, 1,263,032 parameters, with a vocabulary of 3,000 pieces; trained",
        "On 777 hidden tokens of the validation part, `e.txt`",
        "| perplexity | 483.23 |",
        "| accuracy, masked tokens | 6.82 |",
        "| train | `a.txt, b.txt and 2 others` | 1,471 | 2,028 | 259,464 |",
        "| validation | `e.txt` | 29 | 40 | 5,083 |",
        "4 files, 1,500 documents read, 1,071,397 characters, 3 duplicates dropped",
        "2 foreign documents dropped, 7 bytes that are not UTF-8.",
        "- Tokens seen: 1,215,400, padding aside, in 300 steps",
        "- Hours of training steps: 1.25, on 1 x AMD EPYC (2 threads), 32-true",
        "- Command: `train.py fit --config configs/pretrain.yaml`",
        "| masking | 300 | labels 1 | 0.002 |",
        "--model.model FOLDER",
        "--model.student '{init: FOLDER}'",
        "seed_everything: 42",
    ],
)
def test_card_says_what_the_report_says(line):
    assert line in build_backbone_card(REPORT, MODEL, config="seed_everything: 42\n")


def test_metadata_are_the_hubs():
    data = ModelCard(build_backbone_card(REPORT, MODEL)).data
    assert (data.pipeline_tag, data.library_name, data.tags) == ("fill-mask", "transformers", ["masked-language-model"])


def test_teacher_stands_beside_its_student():
    report = deepcopy(REPORT)
    report["teacher"] = {"scores": {"perplexity": 95.0, "accuracy": 40.0}}
    card = build_backbone_card(report, MODEL, teacher="/home/ana/runs/version_0/student")
    assert "| perplexity | 483.23 | 95.00 |" in card
    assert "distilled from `student`" in card
    assert "/home" not in card


def test_what_nobody_measured_is_unknown():
    report = deepcopy(REPORT)
    report |= {"throughput": None, "data": {}, "environment": {}}
    card = build_backbone_card(report, {"model_type": "distilbert", "n_layers": 3, "dim": 8, "n_heads": 2})
    assert "A distilbert of 3 layers, 8 wide, 2 heads" in card
    assert "Tokens seen: unknown, padding aside, in unknown steps" in card
    assert "Hours of training steps: unknown, on 1 x unknown, unknown" in card
    assert "Licence\n\nUnknown" in card
    assert "Configuration\n\nUnknown" in card
