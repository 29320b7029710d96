"""One small model of three tasks against three of one task, on Spanish text of people:

    python -m tests.benchmarks.tasks --data DATA --output FOLDER --start lightning_logs/distill/version_0/student

DATA holds ``qa/train_mix_es.json``, ``qa/xquad_es.json``, ``ner/esp.train``, ``ner/esp.testb`` and
``pairs/pawsx_es_dev.tsv``, which is parted: pairs whose first sentence has a CRC-32 that 4 divides are for the test, so
that pairs with a first sentence in common stay together. Every seed trains a model of each task and one of all of them,
by ``configs/tasks_es``: from labels, as many steps of a task on both sides (in the shared model on average), from the
same start, the student that ``configs/distill.yaml`` leaves; and both again from random weights. Nothing is chosen on
the test sets, since the last weights count. Runs that have ended are not repeated, so a stopped comparison goes on.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from distill.cli import main as fit
from distill.entry import run_function
from distill.files import new_folder, write_json, write_text
from distill.models.loading import load_config, load_tokenizer
from distill.reporting.paired import PairedComparison, compare_runs
from distill.tasks.base import Task
from distill.tasks.classification.task import SequenceClassification
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.tagging.task import TokenClassification

CONFIGS = Path(__file__).parents[2] / "configs" / "tasks_es"
TASKS: dict[str, Callable[[], Task]] = {
    "qa": QuestionAnswering,
    "ner": TokenClassification,
    "paws": SequenceClassification,
}
REFERENCES = {"qa": "data/qa/xquad_es.json", "ner": "data/ner/esp.testb", "paws": "data/paws/test.tsv"}
#: What models start from.
STARTS = ("student", "random")
#: One pair in so many is for the test.
TEST_SHARE = 4


def part_pairs(lines: Sequence[str]) -> dict[str, list[str]]:
    """Part lines of two sentences and a label, between tabs, by the CRC-32 of the first sentence in UTF-8."""
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for line in lines:
        is_test = zlib.crc32(line.split("\t")[0].encode()) % TEST_SHARE == 0
        parts["test" if is_test else "train"].append(line)
    return parts


def lay_out(data: Path, output: Path) -> None:
    """Lay the data out as the configurations name it, in the folder that the runs start in."""
    lines = (data / "pairs" / "pawsx_es_dev.tsv").read_text(encoding="utf-8").splitlines()
    for name, rows in part_pairs([line for line in lines if line.strip()]).items():
        write_text(output / "data" / "paws" / f"{name}.tsv", "\n".join(["sentence1\tsentence2\tlabel", *rows, ""]))
    for name in ("qa", "ner"):
        link = output / "data" / name
        if not link.exists():
            link.symlink_to((data / name).resolve())


def random_start(start: str, output: Path) -> str:
    """Return a folder with a model of the same size and random weights; the first call makes it."""
    folder = output / "random"
    if not folder.exists():
        torch.manual_seed(0)
        with new_folder(folder) as unfinished:
            QuestionAnswering().build_model(load_config(start)).save_pretrained(unfinished)
            load_tokenizer(start).save_pretrained(unfinished)
    return str(folder)


def run_arguments(starts: Mapping[str, str], steps: int, seeds: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """Return the arguments of ``train.py fit`` for every run by its name.

    Args:
        starts: Name of each start to the folder that its models start from.
        steps: Steps of each task.
        seeds: The seeds of each start.
    """
    runs = {}
    for start, folder in starts.items():
        for seed in seeds[start]:
            for task in TASKS:
                runs[f"{task}_{start}_{seed}"] = [f"--config={CONFIGS / task}.yaml", f"--model.model={folder}"]
                runs[f"{task}_{start}_{seed}"] += _length(steps, seed)
            runs[f"all_{start}_{seed}"] = [f"--config={CONFIGS / 'multitask'}.yaml", f"--model.student.init={folder}"]
            runs[f"all_{start}_{seed}"] += _length(steps * len(TASKS), seed)
    return runs


def _length(steps: int, seed: int) -> list[str]:
    """Return the arguments for a run of so many steps, scored once, at its end."""
    return [
        f"--seed_everything={seed}",
        f"--schedule.stages.labels.steps={steps}",
        f"--trainer.val_check_interval={steps}",
    ]


def train(output: Path, name: str, arguments: Sequence[str]) -> None:
    """Do a run that has not ended yet, in the output's folder."""
    if (run_folder(output, name) / "report.json").is_file() and read_report(output, name)["status"] == "finished":
        return
    logger = f"[{{class_path: distill.CsvRun, init_args: {{save_dir: lightning_logs, name: {name}, version: 0}}}}]"
    quiet = ["--trainer.enable_progress_bar=false", "--benchmark.lengths=[128]", "--benchmark.rounds=10"]
    with chdir(output), (output / f"{name}.log").open("w", encoding="utf-8") as log, redirect_stdout(log):
        fit(["fit", *arguments, f"--trainer.logger={logger}", *quiet])


def run_folder(output: Path, name: str) -> Path:
    """Return a run's folder."""
    return output / "lightning_logs" / name / "version_0"


def read_report(output: Path, name: str) -> dict[str, Any]:
    """Return the report of a run."""
    report: dict[str, Any] = json.loads((run_folder(output, name) / "report.json").read_text(encoding="utf-8"))
    return report


def compare_tasks(output: Path, start: str, seeds: Sequence[int]) -> dict[str, PairedComparison]:
    """Return task to the main score of the model of all tasks, as ``student``, and of those of one, as baseline."""
    found = {}
    for task, make in TASKS.items():
        several = [str(run_folder(output, f"all_{start}_{seed}") / "tasks" / task / "outcomes.jsonl") for seed in seeds]
        single = [str(run_folder(output, f"{task}_{start}_{seed}") / "outcomes.jsonl") for seed in seeds]
        results = compare_runs(make(), several, single, [str(output / REFERENCES[task])])
        found[task] = results[make().main_score.name]
    return found


def count_parameters(output: Path, seed: int) -> dict[str, int]:
    """Return the parameters of the model of all tasks, and of those of one together."""
    several = read_report(output, f"all_{STARTS[0]}_{seed}")
    single = [read_report(output, f"{task}_{STARTS[0]}_{seed}")["student"]["num_parameters"] for task in TASKS]
    return {"one encoder": several["student"]["num_parameters"], "three models": sum(single)}


def load_models(output: Path, seed: int) -> dict[str, list[Any]]:
    """Return the three models of one task, and those of all tasks, whose encoders are equal."""
    single = [run_folder(output, f"{task}_{STARTS[0]}_{seed}") / "student" for task in TASKS]
    several = [run_folder(output, f"all_{STARTS[0]}_{seed}") / "student" / task for task in TASKS]
    tasks = [make() for make in TASKS.values()]
    return {
        name: [task.load_model(str(folder)).eval() for task, folder in zip(tasks, folders, strict=True)]
        for name, folders in (("three models", single), ("one encoder", several))
    }


def time_answers(models: Mapping[str, Sequence[Any]], length: int = 128, rounds: int = 100) -> dict[str, float]:
    """Return the median milliseconds in which a text gets all answers: from three models, or from three heads.

    The heads read one pass of their encoder. Both ways take turns.
    """
    first, *others = models["one encoder"]
    inputs = {
        "input_ids": torch.randint(10, first.config.vocab_size, (1, length)),
        "attention_mask": torch.ones(1, length).long(),
    }
    encode = first.base_model.forward
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for _ in range(rounds + 5):
            for name in models:
                started = time.perf_counter()
                if name == "three models":
                    for model in models[name]:
                        model(**inputs)
                else:
                    states = encode(**inputs)
                    for model in (first, *others):
                        model.base_model.forward = lambda *_, states=states, **__: states
                        model(**inputs)
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * median(values[5:]) for name, values in seconds.items()}


def summarise(output: Path, seeds: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return everything that the table shows, as plain data."""
    first = seeds[STARTS[0]][0]
    tasks = read_report(output, f"all_{STARTS[0]}_{first}")["tasks"]
    return {
        "majority": {task: tasks[task]["majority"]["scores"][make().main_score.name] for task, make in TASKS.items()},
        "starts": {
            start: {task: asdict(result) for task, result in compare_tasks(output, start, own).items()}
            for start, own in seeds.items()
        },
        "parameters": count_parameters(output, first),
        "milliseconds": time_answers(load_models(output, first)),
    }


def table(summary: Mapping[str, Any]) -> Table:
    """Return the comparison as a table."""
    shown = Table("", "start", "majority", "one model of three tasks", "three of one", "difference", "95 % interval")
    for task, make in TASKS.items():
        for start, results in summary["starts"].items():
            result = results[task]
            sides = [" ".join(f"{value:.1f}" for value in result[side]) for side in ("student", "baseline")]
            low, high = result["interval"]
            label, majority = f"{task}: {make().main_score.label}", f"{summary['majority'][task]:.1f}"
            shown.add_row(label, start, majority, *sides, f"{result['difference']:+.1f}", f"{low:+.1f} to {high:+.1f}")
    return shown


def main(
    data: str,
    output: str,
    start: str,
    steps: int = 200,
    seeds: list[int] | None = None,
    random_seeds: list[int] | None = None,
) -> None:
    """Train what is missing, compare, print the table and write ``comparison.json``.

    Args:
        data: Folder of the sets.
        output: Folder of the runs.
        start: Folder of the model that all start from.
        steps: Steps of each task, on either side.
        seeds: Seeds of the models; 42, 43 and 44 when left out.
        random_seeds: Seeds of those that start from random weights; the same when left out.
    """
    folder = Path(output).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lay_out(Path(data).resolve(), folder)
    seeds = seeds or [42, 43, 44]
    own_seeds = {STARTS[0]: seeds, STARTS[1]: seeds if random_seeds is None else random_seeds}
    own_seeds = {name: own for name, own in own_seeds.items() if own}
    start = str(Path(start).resolve())
    console = Console()
    starts = dict(zip(STARTS, (start, random_start(start, folder)), strict=True))
    for name, arguments in run_arguments({name: starts[name] for name in own_seeds}, steps, own_seeds).items():
        console.print(f"run {name}")
        train(folder, name, arguments)
    summary = summarise(folder, own_seeds)
    write_json(folder / "comparison.json", summary)
    console.print(table(summary))
    console.print_json(data={name: summary[name] for name in ("parameters", "milliseconds")})


if __name__ == "__main__":
    run_function(main)
