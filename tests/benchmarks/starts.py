"""Are general distillation and augmented questions worth it? Students of one teacher that differ in these alone.

    python -m tests.benchmarks.starts --teacher TEACHER/student --backbone PRETRAINED/student --text texts/ \
        --questions train_mix_es.json --test xquad_es.json --folder FOLDER

The arms have the same sizes, questions and steps, first on layers, then on logits and labels: ``plain`` starts from
``student.init``; ``general`` from what one run of ``configs/general.yaml`` made of that on plain text, with the
backbone as its teacher; ``augmented`` is ``general``, but learns layers from copies of ``train.py augment`` beside the
questions themselves. One article in ten is held back to choose the best checkpoint by, which alone is scored on the
test questions. Killed and started again, it goes on where it was; ``--scores_only true`` prints what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.entry import run_function
from distill.files import Paths, listed_paths
from distill.models.student import MIMETIC, Student

from .answerable import task_for
from .backbones import hold_back
from .campaign import Arm, Campaign, RunCommand, merged, run_command, write_results

PLAIN, GENERAL, AUGMENTED = ARMS = ("plain", "general", "augmented")

#: A student that is worth distilling into beside a teacher of a few million parameters.
SMALL = Student(num_layers=3, hidden_size=128, init=MIMETIC)

#: The share of a run's steps that go to layers.
LAYERS = 0.4


def general_arm(backbone: Path, text: Mapping[str, Any], student: Student, steps: int, learning_rate: float) -> Arm:
    """Return general distillation on plain text, from the student's own start."""
    return Arm(
        ("general.yaml",),
        {
            "model": {"init_args": {"teacher": str(backbone), "student": asdict(student)}},
            "data": {"init_args": {"dataset": None, **text}},
            "trainer": {"val_check_interval": max(1, steps // 2), "limit_val_batches": 20},
            "schedule": {"stages": {"general": {"steps": steps, "learning_rate": learning_rate}}},
            "last_checkpoint": {"every_n_minutes": 5},
        },
    )


def build_arms(
    teacher: Path,
    student: Student,
    started: Path,
    questions: Mapping[str, Any],
    copies: Path,
    task: Mapping[str, Any],
    steps: int,
    learning_rate: float,
) -> dict[str, Arm]:
    """Return the arms by their names.

    Args:
        teacher: Folder of a question-answering teacher.
        student: What every student looks like, and what the plain one starts from.
        started: Folder of a generally distilled student of these sizes.
        questions: Settings of the data module.
        copies: SQuAD JSON of augmented questions.
        task: Settings of the task.
        steps: Steps of every run.
        learning_rate: Of both stages, at its highest.
    """
    layers = round(LAYERS * steps)
    lengths = {"intermediate": layers, "logits": steps - layers}
    stages = {name: {"epochs": None, "steps": n, "learning_rate": learning_rate} for name, n in lengths.items()}
    read = {"class_path": "distill.SquadDataModule", "init_args": {"dataset": None, **questions}}
    more = merged(read, {"init_args": {"train_files": [str(copies), *questions["train_files"]]}})
    both = {"class_path": "distill.StagedDataModule", "init_args": {"main": read, "others": {"copies": more}}}

    def settings(student: Student, data: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "model": {"init_args": {"teacher": str(teacher), "student": asdict(student), "task": dict(task)}},
            "data": data,
            "trainer": {"check_val_every_n_epoch": None, "val_check_interval": max(1, steps // 4)},
            "schedule": {"stages": stages},
            "benchmark": {"lengths": [128], "rounds": 3},
            "last_checkpoint": {"every_n_minutes": 5},
        }

    from_text = Student(init=str(started), dropout=student.dropout)
    on_copies = {"schedule": {"stages": {"intermediate": {"data": "copies"}}}}
    return {
        PLAIN: Arm(("distill.yaml",), settings(student, read)),
        GENERAL: Arm(("distill.yaml",), settings(from_text, read)),
        AUGMENTED: Arm(("distill.yaml",), merged(settings(from_text, both), on_copies), data=("main",)),
    }


def main(
    teacher: str,
    backbone: str,
    text: Paths,
    questions: str,
    test: str,
    folder: str,
    student: Student = SMALL,
    steps: int = 2000,
    learning_rate: float = 1e-3,
    batch_size: int = 16,
    general_steps: int = 3000,
    general_learning_rate: float = 1e-3,
    general_batch_size: int = 32,
    num_copies: int = 2,
    seeds: tuple[int, ...] = (42, 43, 44),
    cache_dir: str | None = None,
    scores_only: bool = False,
) -> None:
    """Make start and copies, train and test what is left to do, print the table and write it as JSON.

    Args:
        teacher: Folder of a question-answering teacher that was fine-tuned from the backbone.
        backbone: Folder of the masked-language model that teaches on plain text and replaces words.
        text: Text files, or folders of them, for general distillation.
        questions: SQuAD JSON to distil on.
        test: SQuAD JSON to test on.
        folder: Where everything goes.
        student: What every student looks like.
        steps: Steps of every run; two fifths of them on layers.
        learning_rate: Of every run, at its highest.
        batch_size: Windows of 320 tokens at most in a batch.
        general_steps: Steps of general distillation, which happens once.
        general_learning_rate: Of general distillation, at its highest.
        general_batch_size: Blocks of 128 tokens in a batch.
        num_copies: Augmented copies of each paragraph.
        seeds: One run of each arm for each.
        cache_dir: Where tokens and teacher answers are kept; in the folder when left out.
        scores_only: Whether to run nothing, and to compare the seeds that all arms have done.
    """
    place = Path(folder).resolve()
    cache = {"cache_dir": str(Path(cache_dir).resolve() if cache_dir else place / "cache")}
    files = hold_back(Path(questions).resolve(), place)
    blocks = {
        "train_files": [str(Path(file).resolve()) for file in listed_paths(text)],
        "batch_size": general_batch_size,
        **cache,
    }
    windows = {
        "train_files": [files["train"]], "validation_files": [files["validation"]],
        "max_length": 320, "doc_stride": 96, "batch_size": batch_size, **cache,
    }  # fmt: skip
    masked_language = Path(backbone).resolve()
    general = general_arm(masked_language, blocks, student, general_steps, general_learning_rate)
    once = Campaign(place / "start", {GENERAL: general}, seeds[:1], [])
    copies = place / "copies.json"
    if not scores_only:
        once.train(GENERAL, seeds[0])
        augment(masked_language, files["train"], copies, num_copies)
    started = (once.trained(GENERAL, seeds[0]) or place) / "student"
    test_file = Path(test).resolve()
    task = task_for([str(test_file)])
    arms = build_arms(Path(teacher).resolve(), student, started, windows, copies, task, steps, learning_rate)
    campaign = Campaign(place, arms, seeds, [str(test_file)])
    if not scores_only:
        campaign.run()
    results = campaign.scores([(GENERAL, PLAIN), (AUGMENTED, GENERAL)])
    write_results(place, {**results, "steps": steps, "learning_rate": learning_rate, "general_steps": general_steps})


def augment(backbone: Path, questions: str, copies: Path, num_copies: int, command: RunCommand = run_command) -> None:
    """Write augmented copies of questions, where that has not been done."""
    if not copies.exists():
        options = [
            "--model",
            str(backbone),
            "--input",
            questions,
            "--output",
            str(copies),
            "--num_copies",
            str(num_copies),
        ]
        command(["augment", *options, "--progress_bar", "false"], copies.parent)


if __name__ == "__main__":
    run_function(main)
