"""Is pretraining worth it? A pretrained encoder against a random start of the same architecture, fine-tuned alike.

    python -m tests.benchmarks.backbones --backbone RUN/student --questions train_mix_es.json --test xquad_es.json \
        --folder FOLDER

``--reader RUN/student`` adds the backbone after questions that plain text answers by itself (``train.py cloze --teacher
null --noise 0.4``). All arms see the same questions in the same order for the same number of steps, with the loss on
repetitions; the random one has the mimetic start. One article in ten is held back to choose the best checkpoint by,
which alone is scored on the test questions. Killed and started again, it goes on where it was; ``--scores_only true``
prints what there is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.entry import run_function
from distill.files import write_json
from distill.text.duplicates import document_key
from distill.types import UserError

from .answerable import task_for
from .campaign import Arm, Campaign, write_results

READER, PRETRAINED, RANDOM = ARMS = ("reader", "pretrained", "random")

#: The settings of an encoder that make up its architecture; everything else is the tokenizer's or the family's.
_ARCHITECTURE = (
    "model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size", "hidden_dropout_prob", "attention_probs_dropout_prob",
)  # fmt: skip

HELD_BACK = 10


def hold_back(questions: Path, folder: Path) -> dict[str, str]:
    """Part SQuAD JSON by articles, one in ten for validation; return the names of both files.

    Articles may hold paragraphs of others: what is held back somewhere is left out of training.

    Raises:
        UserError: If there are fewer than two articles, or a file would be written over the questions.
    """
    document = json.loads(questions.read_text(encoding="utf-8"))
    articles = document["data"]
    if len(articles) < 2:
        raise UserError(f"{questions}: holding articles back takes at least 2, not {len(articles)}")
    held_back = articles[::HELD_BACK]
    known = {document_key(paragraph["context"]) for article in held_back for paragraph in article["paragraphs"]}
    others = [article for index, article in enumerate(articles) if index % HELD_BACK]
    train = [
        {**article, "paragraphs": [one for one in article["paragraphs"] if document_key(one["context"]) not in known]}
        for article in others
    ]
    parts = {"train": train, "validation": held_back}
    files = {name: folder / f"{name}.json" for name in parts}
    if questions.resolve() in [file.resolve() for file in files.values()]:
        raise UserError(f"--folder {folder}: {questions.name} there is the questions' own file; name another folder")
    for name, part in parts.items():
        write_json(files[name], {**document, "data": part})
    return {name: str(file) for name, file in files.items()}


def build_arms(
    backbone: Path,
    files: Mapping[str, str],
    task: Mapping[str, Any],
    steps: int,
    learning_rate: float,
    batch_size: int,
    repetition: float,
    reader: Path | None = None,
) -> dict[str, Arm]:
    """Return the arms: two load the weights of the reader and of the backbone, the last its sizes and its tokenizer."""
    config = json.loads((backbone / "config.json").read_text(encoding="utf-8"))
    architecture = {name: config[name] for name in _ARCHITECTURE if name in config}
    weights = {"labels": 1.0, **({"repetition": repetition} if repetition else {})}
    shared = {
        "trainer": {"check_val_every_n_epoch": None, "val_check_interval": max(1, steps // 4)},
        "schedule": {
            "stages": {
                "labels": {"epochs": None, "steps": steps, "weights": weights, "learning_rate": learning_rate},
            }
        },
        "data": {
            "init_args": {
                "dataset": None, "train_files": [files["train"]], "validation_files": [files["validation"]],
                "max_length": 320, "doc_stride": 96, "batch_size": batch_size,
                "cache_dir": str(Path(files["train"]).parent / "cache"),
            }
        },
        "last_checkpoint": {"every_n_minutes": 5},
    }  # fmt: skip

    def arm(model: Mapping[str, Any]) -> Arm:
        return Arm(("teacher.yaml",), {**shared, "model": {"init_args": {"task": dict(task), **model}}})

    def loaded(folder: Path) -> Arm:
        return arm({"model": str(folder), "architecture": None, "tokenizer": None, "init": "random"})

    return {
        **({READER: loaded(reader)} if reader is not None else {}),
        PRETRAINED: loaded(backbone),
        RANDOM: arm({"model": None, "architecture": architecture, "tokenizer": str(backbone), "init": "mimetic"}),
    }


def main(
    backbone: str,
    questions: str,
    test: str,
    folder: str,
    reader: str | None = None,
    steps: int = 3000,
    learning_rate: float = 5e-4,
    batch_size: int = 16,
    repetition: float = 0.5,
    seeds: tuple[int, ...] = (42, 43, 44),
    scores_only: bool = False,
) -> None:
    """Train and test what is left to do, print the table and write it as JSON.

    Args:
        backbone: Folder of a pretrained masked-language model.
        questions: SQuAD JSON to fine-tune on.
        test: SQuAD JSON to test on.
        folder: Where everything goes.
        reader: Folder of the backbone after questions that plain text answers, for a third arm.
        steps: Steps of every run.
        learning_rate: Of every run, at its highest.
        batch_size: Windows of 320 tokens at most in a batch.
        repetition: Weight of the loss on repetitions; 0 leaves it out.
        seeds: One run of each arm for each.
        scores_only: Whether to run nothing, and to compare the seeds that both arms have done.
    """
    place = Path(folder).resolve()
    files = hold_back(Path(questions).resolve(), place)
    task = task_for([test])
    read = None if reader is None else Path(reader).resolve()
    arms = build_arms(Path(backbone).resolve(), files, task, steps, learning_rate, batch_size, repetition, read)
    campaign = Campaign(place, arms, seeds, [str(Path(test).resolve())])
    if not scores_only:
        campaign.run()
    results = campaign.scores([*((READER, other) for other in ARMS[1:] if read is not None), (PRETRAINED, RANDOM)])
    write_results(place, {**results, "steps": steps, "learning_rate": learning_rate})


if __name__ == "__main__":
    run_function(main)
