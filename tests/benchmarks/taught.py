"""One small model of three tasks against three of one task, all taught by teachers of real text:

    python -m tests.benchmarks.taught --data DATA --output FOLDER

DATA holds ``qa/train_mix_es.json`` and ``xquad_es.json``, ``ner/esp.train`` and ``esp.testb``, and
``pos/es_ancora-ud-dev.conllu`` (to train on) and ``-test.conllu``. A teacher of 4 layers of 128 is trained for each
task: for questions from the embedded teacher, for words from random weights. Then every seed distils a student of 2
layers of 64 from each teacher, and one from all three, layers first, then logits and labels: as many steps of a task on
both sides (in the shared model on average), both starting from a narrower picture of a teacher, which for the shared
model is that of the questions. Nothing of the students is chosen on the test sets, since the last weights count; the
start and the length of the entities' teacher were. Runs that have ended are not repeated, so a stopped comparison goes
on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from distill.entry import run_function
from distill.files import write_json
from distill.reporting.paired import PairedComparison, compare_runs
from distill.tasks.base import Task
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.tagging.task import TokenClassification
from tests.benchmarks.tasks import read_report, run_folder, time_answers, train

#: Universal parts of speech.
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ"),
    *("SYM", "VERB", "X"),
)
TASKS: dict[str, Callable[[], Task]] = {
    "qa": lambda: QuestionAnswering(null_threshold=None),
    "ner": TokenClassification,
    "pos": lambda: TokenClassification(UPOS),
}
FILES = {
    "qa": ("data/qa/train_mix_es.json", "data/qa/xquad_es.json"),
    "ner": ("data/ner/esp.train", "data/ner/esp.testb"),
    "pos": ("data/pos/es_ancora-ud-dev.conllu", "data/pos/es_ancora-ud-test.conllu"),
}
#: Settings of each task beside its class.
TASK_SETTINGS: dict[str, dict[str, Any]] = {
    "qa": {"class_path": "distill.QuestionAnswering", "init_args": {"null_threshold": None}},
    "ner": {"class_path": "distill.TokenClassification"},
    "pos": {"class_path": "distill.TokenClassification", "init_args": {"labels": list(UPOS)}},
}
#: A teacher from random weights; the embedded one, from which that of the questions starts, has the same sizes.
ARCHITECTURE = {
    "model_type": "roberta",
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 514,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "type_vocab_size": 1,
}
#: Steps and highest learning rate of each teacher.
TEACHERS = {"qa": (600, 7e-4), "ner": (1560, 2e-3), "pos": (500, 2e-3)}
#: Windows in a batch of the students; those of questions are long.
BATCH_SIZES = {"qa": 8, "ner": 16, "pos": 16}
STUDENT = {
    "num_layers": 2,
    "hidden_size": 64,
    "num_heads": 4,
    "intermediate_size": 256,
    "dropout": 0.0,
    "init": "inherited",
}


def data_settings(task: str, batch_size: int = 16) -> dict[str, Any]:
    """Return the data of a task, its class and its arguments."""
    train_file, test_file = FILES[task]
    files = {"train_files": [train_file], "validation_files": [test_file], "batch_size": batch_size}
    if task == "qa":
        files |= {"max_length": 256, "doc_stride": 64}
    return {"class_path": f"distill.{'Squad' if task == 'qa' else 'Labelled'}DataModule", "init_args": files}


def arguments_of(model: Mapping[str, Any], data: Mapping[str, Any], stages: Mapping[str, Any], seed: int) -> list[str]:
    """Return the arguments of ``train.py fit`` for a model on data, scored once, at the end of its stages."""
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"weight_decay": 0.01, "fused": True}}
    model = {**model, "init_args": {**model["init_args"], "optimizer": optimizer}}
    num_steps = sum(stage["steps"] for stage in stages.values())
    return [
        f"--seed_everything={seed}",
        f"--model={json.dumps(model)}",
        f"--data={json.dumps(data)}",
        f"--schedule.stages={json.dumps(stages)}",
        *(f"--trainer.val_check_interval={num_steps}", "--trainer.check_val_every_n_epoch=null"),
        *("--trainer.gradient_clip_val=1.0", "--trainer.log_every_n_steps=20"),
    ]


def teacher_arguments(task: str) -> list[str]:
    """Return the arguments for the teacher of a task."""
    steps, rate = TEACHERS[task]
    start: dict[str, Any] = {"architecture": ARCHITECTURE, "init": "mimetic", "tokenizer": "embedded"}
    settings = {**({"model": "embedded"} if task == "qa" else start), "task": TASK_SETTINGS[task]}
    stages = {"labels": {"steps": steps, "weights": {"labels": 1.0}, "learning_rate": rate}}
    return arguments_of({"class_path": "distill.SingleModule", "init_args": settings}, data_settings(task), stages, 42)


def student_stages(num_layer_steps: int, num_logit_steps: int) -> dict[str, dict[str, Any]]:
    """Return the stages of a student, of such lengths."""
    layers = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}
    return {
        "intermediate": {"steps": num_layer_steps, "weights": layers, "learning_rate": 3e-3},
        "logits": {
            "steps": num_logit_steps,
            "weights": {"logits": 1.0, "labels": 0.5},
            "temperature": 2.0,
            "learning_rate": 1.5e-3,
        },
    }


def student_arguments(teachers: Mapping[str, str], steps: tuple[int, int], seed: int) -> dict[str, list[str]]:
    """Return the arguments of every student of a seed by its name.

    Args:
        teachers: Name of each task to its teacher's folder.
        steps: Steps of each task in the first and the second stage.
        seed: The seed.
    """
    runs = {}
    for task, folder in teachers.items():
        settings = {"teacher": folder, "student": STUDENT, "task": TASK_SETTINGS[task]}
        model = {"class_path": "distill.DistillationModule", "init_args": settings}
        data = data_settings(task, BATCH_SIZES[task])
        runs[f"{task}_{seed}"] = arguments_of(model, data, student_stages(*steps), seed)
    tasks = {task: {"task": TASK_SETTINGS[task], "teacher": folder} for task, folder in teachers.items()}
    model = {"class_path": "distill.MultiTaskModule", "init_args": {"tasks": tasks, "student": STUDENT}}
    parts = {task: data_settings(task, BATCH_SIZES[task]) for task in teachers}
    data = {"class_path": "distill.MultiTaskDataModule", "init_args": {"tasks": parts, "sampling": "uniform"}}
    stages = student_stages(*(number * len(teachers) for number in steps))
    runs[f"all_{seed}"] = arguments_of(model, data, stages, seed)
    return runs


def compare_tasks(output: Path, seeds: Sequence[int]) -> dict[str, PairedComparison]:
    """Return task to the main score of the model of all tasks, as ``student``, and of those of one, as baseline."""
    found = {}
    for task, make in TASKS.items():
        several = [str(run_folder(output, f"all_{seed}") / "tasks" / task / "outcomes.jsonl") for seed in seeds]
        single = [str(run_folder(output, f"{task}_{seed}") / "outcomes.jsonl") for seed in seeds]
        results = compare_runs(make(), several, single, [str(output / FILES[task][1])])
        found[task] = results[make().main_score.name]
    return found


def load_models(output: Path, seed: int) -> dict[str, list[Any]]:
    """Return the three models of one task, and those of all tasks, whose encoders are equal."""
    single = {task: run_folder(output, f"{task}_{seed}") / "student" for task in TASKS}
    several = {task: run_folder(output, f"all_{seed}") / "student" / task for task in TASKS}
    return {
        name: [TASKS[task]().load_model(str(folder)).eval() for task, folder in folders.items()]
        for name, folders in (("three models", single), ("one encoder", several))
    }


def summarise(output: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Return everything that the table shows, as plain data."""
    several = read_report(output, f"all_{seeds[0]}")
    scores = {task: make().main_score.name for task, make in TASKS.items()}
    sizes = [read_report(output, f"{task}_{seeds[0]}")["student"]["num_parameters"] for task in TASKS]
    return {
        "majority": {task: several["tasks"][task]["majority"]["scores"][name] for task, name in scores.items()},
        "teacher": {task: several["tasks"][task]["teacher"]["scores"][name] for task, name in scores.items()},
        "tasks": {task: asdict(result) for task, result in compare_tasks(output, seeds).items()},
        "parameters": {"one encoder": several["student"]["num_parameters"], "three models": sum(sizes)},
        "milliseconds": time_answers(load_models(output, seeds[0])),
    }


def table(summary: Mapping[str, Any]) -> Table:
    """Return the comparison as a table."""
    shown = Table("", "majority", "teacher", "one model of three tasks", "three of one", "difference", "95 % interval")
    for task, result in summary["tasks"].items():
        sides = [" ".join(f"{value:.1f}" for value in result[side]) for side in ("student", "baseline")]
        low, high = result["interval"]
        others = [f"{summary[name][task]:.1f}" for name in ("majority", "teacher")]
        label = f"{task}: {TASKS[task]().main_score.label}"
        shown.add_row(label, *others, *sides, f"{result['difference']:+.1f}", f"{low:+.1f} to {high:+.1f}")
    return shown


def main(
    data: str, output: str, layer_steps: int = 100, logit_steps: int = 200, seeds: list[int] | None = None
) -> None:
    """Train what is missing, compare, print the table and write ``comparison.json``.

    Args:
        data: Folder of the sets.
        output: Folder of the runs.
        layer_steps: Steps of each task in the first stage, on either side.
        logit_steps: The same of the second stage.
        seeds: Seeds of the students; 42, 43 and 44 when left out.
    """
    folder = Path(output).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data").exists():
        (folder / "data").symlink_to(Path(data).resolve())
    seeds = seeds or [42, 43, 44]
    console = Console()
    for task in TASKS:
        console.print(f"run teacher_{task}")
        train(folder, f"teacher_{task}", teacher_arguments(task))
    teachers = {task: str(run_folder(folder, f"teacher_{task}") / "student") for task in TASKS}
    for seed in seeds:
        for name, arguments in student_arguments(teachers, (layer_steps, logit_steps), seed).items():
            console.print(f"run {name}")
            train(folder, name, arguments)
    summary = summarise(folder, seeds)
    write_json(folder / "comparison.json", summary)
    console.print(table(summary))
    console.print_json(data={name: summary[name] for name in ("parameters", "milliseconds")})


if __name__ == "__main__":
    run_function(main)
