"""What a whole distillation costs, here and in other tools, each as its own examples run it.

A teacher of 12 layers and a student of 6, both 384 wide with 12 heads; windows of a SQuAD file; 2 epochs on layers
(hidden states and attention) and 2 on logits. A job is a process from its first instruction to the written student,
with imports, tokenising and caches:

    python -m tests.benchmarks.jobs --questions train_mix_es.json --num_windows 200 --test_file xquad_es.json \
        --output jobs.json

The others pad every window to 384 tokens, as the examples of transformers and theirs do, compute in float32, run the
teacher in every step and compare attention probabilities in eager mode; TextBrewer caches logits. distill batches
windows of similar length, compares attention scores, its default, and stores the teacher's logits. All start from the
same weights and train with AdamW at one rate. The other tools are those of the extra ``benchmark``, or of ``--peers
PYTHON``, see :mod:`tests.benchmarks.training`; one that cannot be imported is named and left out. Jobs run one after
the other, on one thread, by rounds in turns; the processor's time is the one to go by on a machine that does other work
beside. With few windows the time to start, mostly imports, weighs more than it does in a real job, so ratios are given
with it and without. Each tool runs as its user would run it: distill sets the processor up by itself
(:mod:`distill.processor`), the others do not. Of distill there is the Trainer alone, which the others are compared
with, and the whole command, which also validates, measures and reports.

Without ``--teacher`` its weights are random, and so its students answer next to nothing; time does not depend on them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForQuestionAnswering, PreTrainedTokenizerBase, RobertaConfig

from distill.data.datamodule import SquadDataModule
from distill.entry import run_function
from distill.files import write_json
from distill.models.loading import load_frozen, load_tokenizer
from distill.models.tokenizer import train_tokenizer
from distill.processor import fast_precision
from distill.reporting.environment import describe_environment
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.question_answering.windows import build_windows
from distill.types import Example, UserError
from tests.benchmarks.evaluation import timed_evaluation
from tests.benchmarks.training import CLOCKS, CannotRunError, spread
from tests.benchmarks.whole.job import Settings

#: Label to arm; the first one is what the others are compared with.
ARMS = {
    "distill, float32": "own.float32",
    "distill, bfloat16": "own.fastest",
    "distill, float32, the whole command": "own.command",
    "plain PyTorch loop": "bare.loop",
    "TextBrewer": "peers.textbrewer",
    "torchdistill": "peers.torchdistill",
    "modelopt": "peers.modelopt",
}
REFERENCE = "own.float32"
#: The parts of a job; ``start`` is what comes before the arm: the interpreter and most imports.
PARTS = ("start", "preparation", "layers", "logits", "saving")


def choose_windows(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, num_windows: int, settings: Settings
) -> tuple[list[Example], list[int]]:
    """Return so many questions, drawn at random, that they have ``num_windows`` windows, and the windows' lengths.

    The last question may have more than are missing; all questions are returned where they have fewer together.
    """
    chosen: list[Example] = []
    lengths: list[int] = []
    drawn = random.Random(settings.seed).sample(list(examples), len(examples))
    for example in drawn:
        if len(lengths) >= num_windows:
            break
        windows = build_windows([example], tokenizer, settings.max_length, settings.doc_stride)
        chosen.append(example)
        lengths += [len(ids) for ids in windows["input_ids"]]
    return chosen, lengths


def squad_document(examples: Iterable[Example]) -> dict[str, Any]:
    """Return examples in SQuAD v2.0 form."""
    paragraphs = [
        {
            "context": example.context,
            "qas": [
                {
                    "id": example.question_id,
                    "question": example.question,
                    "answers": [{"text": text, "answer_start": start} for text, start in example.answers],
                    "is_impossible": example.is_impossible,
                }
            ],
        }
        for example in examples
    ]
    return {"version": "v2.0", "data": [{"title": "questions", "paragraphs": paragraphs}]}


def write_models(
    folder: Path, texts: Iterable[str], teacher: str | None, layers: tuple[int, int], width: int, num_heads: int,
    vocab_size: int,
) -> PreTrainedTokenizerBase:  # fmt: skip
    """Write ``teacher/`` and ``student/`` with their tokenizer, which is returned.

    Args:
        folder: Where to.
        texts: What a tokenizer is trained on, where no teacher brings one.
        teacher: Folder or hub name; random weights if None.
        layers: Layers of student and teacher; the latter are a given teacher's own.
        width: Hidden width of random weights; the feed-forward part is four times as wide.
        num_heads: Heads of random weights.
        vocab_size: Pieces of a trained tokenizer at most.
    """
    torch.manual_seed(0)
    if teacher is not None:
        tokenizer = load_tokenizer(teacher)
        model = load_frozen(QuestionAnswering(), teacher)
    else:
        tokenizer = train_tokenizer(texts, vocab_size)
        config = RobertaConfig(
            vocab_size=len(tokenizer), num_hidden_layers=layers[1], hidden_size=width, num_attention_heads=num_heads,
            intermediate_size=4 * width, max_position_embeddings=514, type_vocab_size=1,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        model = AutoModelForQuestionAnswering.from_config(config)
    model.save_pretrained(folder / "teacher")
    smaller = AutoConfig.from_pretrained(folder / "teacher", num_hidden_layers=layers[0])
    AutoModelForQuestionAnswering.from_config(smaller).save_pretrained(folder / "student")
    for name in ("teacher", "student"):
        tokenizer.save_pretrained(folder / name)
    return tokenizer


def run_job(arm: str, python: str, folder: Path) -> dict[str, Any]:
    """Return the seconds of each part of an arm's job, and of all of it, by clock, and its peak memory in bytes.

    Raises:
        CannotRunError: If it does not get through.
    """
    command = [python, "-m", "tests.benchmarks.whole", arm, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env=environment, cwd=Path(__file__).parents[2]
        )
        # Not Popen.wait, which would throw away what the process has used.
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise CannotRunError((errors.read().strip() or f"exit code {process.returncode}").splitlines()[-1])
        found: dict[str, Any] = json.loads(output.read().splitlines()[-1])
    totals = {"wall": wall, "processor": used.ru_utime + used.ru_stime}
    return {"peak_memory": found["peak_memory"], **{clock: whole_job(found[clock], totals[clock]) for clock in CLOCKS}}


def whole_job(laps: Mapping[str, float], total: float) -> dict[str, float]:
    """Return the seconds of every part: what no lap has counted is the start."""
    return {"start": total - sum(laps.values()), **laps, "total": total}


def ratios(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return how many times as long as the reference each arm took, by clock: ``total``, and without the ``start``."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for arm, one in found.items():
        result[arm] = {}
        for clock in CLOCKS:
            mine, other = one[clock], found[REFERENCE][clock]
            result[arm][clock] = {
                "total": mine["total"] / other["total"],
                "without_start": (mine["total"] - mine["start"]) / (other["total"] - other["start"]),
            }
    return result


def run_rounds(
    arms: Mapping[str, str], peers: str, home: Path, rounds: int
) -> Iterator[tuple[dict[str, list[dict[str, Any]]], dict[str, str]]]:
    """Run the jobs of all arms in turns, by label; after every round yield what each has given in every one so far, and
    why others were left out.

    Every job begins without what an earlier one of its arm left.

    Raises:
        UserError: If the reference does not get through.
    """
    jobs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms.values()}
    left_out: dict[str, str] = {}
    for index in range(rounds):
        for label, arm in list(arms.items())[:: -1 if index % 2 else 1]:
            if arm in left_out:
                continue
            shutil.rmtree(home / arm, ignore_errors=True)
            try:
                found = run_job(arm, peers if arm.startswith("peers.") else sys.executable, home)
            except CannotRunError as error:
                if arm == REFERENCE:
                    raise UserError(f"{label}: {error}") from error
                left_out[arm] = str(error)
                Console().print(f"{label}: left out: {error}")
                continue
            jobs[arm].append(found)
            processor, wall = (found[clock]["total"] for clock in CLOCKS)
            Console().print(f"{label}: {processor:,.0f} s, {wall:,.0f} s by the wall")
        yield {arm: found for arm, found in jobs.items() if arm not in left_out}, left_out


def summarise(jobs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return of each arm the medians over rounds, and the ratios to the reference, taken within rounds, with spread."""
    by_round = [ratios(dict(zip(jobs, found, strict=True))) for found in zip(*jobs.values(), strict=True)]
    return {
        arm: {
            **{
                clock: {part: median(one[clock][part] for one in found) for part in found[0][clock]} for clock in CLOCKS
            },
            "peak_memory": median(one["peak_memory"] for one in found),
            "ratios": {
                clock: {
                    name: spread([one[arm][clock][name] for one in by_round]) for name in ("total", "without_start")
                }
                for clock in CLOCKS
            },
        }
        for arm, found in jobs.items()
    }


def student_scores(folder: Path, questions: Path, settings: Settings) -> dict[str, float]:
    """Return EM and F1 of a written student on a file of questions."""
    task = QuestionAnswering()
    with tempfile.TemporaryDirectory() as cache:
        data = SquadDataModule(
            tokenizer=str(folder.parent / "teacher"), validation_files=[str(questions)],
            max_length=settings.max_length, doc_stride=settings.doc_stride, cache_dir=cache,
        )  # fmt: skip
        data.setup("validate")
        scores = timed_evaluation(load_frozen(task, str(folder)), data.val_dataloader(), task)[0].scores
    return {name: scores[name] for name in ("exact_match", "f1")}


def result_table(result: Mapping[str, Any]) -> Table:
    """Return all arms as a table."""
    table = Table(
        title=f"{result['windows']:,} windows of {result['mean_length']:.0f} tokens on average, whole jobs",
        caption="Seconds of processor time, medians over rounds; ratios to the first row within rounds (quartiles), of "
        "the whole job and without its start",
    )
    columns = ("job", "start", "prep.", *PARTS[2:4], "total", "ratio", "no start", "wall ratio", "MB", "EM", "F1")
    for column in columns:
        table.add_column(column, justify="left" if column == "job" else "right")
    for label, arm in ARMS.items():
        if arm in result["left_out"]:
            table.add_row(label, "left out")
        elif arm in result["summary"]:
            job, scores = result["summary"][arm], result["scores"].get(arm, {})
            ratio = job["ratios"]
            form = "{median:.2f} ({lower_quartile:.2f} to {upper_quartile:.2f})"
            table.add_row(
                label,
                *(f"{job['processor'][part]:,.1f}" for part in (*PARTS[:-1], "total")),
                (form if result["rounds"] > 1 else "{median:.2f}").format(**ratio["processor"]["total"]),
                f"{ratio['processor']['without_start']['median']:.2f}",
                f"{ratio['wall']['total']['median']:.2f}",
                f"{job['peak_memory'] / 1e6:,.0f}",
                *(f"{scores[name]:.1f}" if scores else "" for name in ("exact_match", "f1")),
            )
    return table


def run(
    questions: str,
    output: str = "jobs.json",
    num_windows: int = 7000,
    test_file: str | None = None,
    num_test_questions: int = 1190,
    peers: str = sys.executable,
    arms: Sequence[str] | None = None,
    rounds: int = 3,
    teacher: str | None = None,
    num_layers: tuple[int, int] = (6, 12),
    width: int = 384,
    num_heads: int = 12,
    vocab_size: int = 30000,
    settings: Settings = Settings(),  # noqa: B008 - frozen, so sharing it is safe
    folder: str | None = None,
) -> None:
    """Run every arm's job, print a table and write all of it as JSON, first after every round.

    Args:
        questions: SQuAD JSON file to train on.
        output: JSON file to write.
        num_windows: How many of its windows, of questions drawn at random.
        test_file: SQuAD JSON file on which the students are scored, outside their jobs.
        num_test_questions: How many of its questions at most.
        peers: Interpreter that has the other tools.
        arms: Labels of the arms to run; all when left out.
        rounds: Jobs of each arm; the student of the last one is scored.
        teacher: Folder or hub name of a teacher; random weights when left out.
        num_layers: Layers of student and teacher; a given teacher has its own.
        width: Hidden width of both; a given teacher has its own.
        num_heads: Heads of both; a given teacher has its own.
        vocab_size: Pieces of the tokenizer that is trained on the questions' file, without a teacher.
        settings: Lengths, batches, epochs and rates.
        folder: Where models, caches and students go for the moment; the system's temporary folder when left out.
    """
    chosen_arms = {label: arm for label, arm in ARMS.items() if arms is None or label in arms}
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    if REFERENCE not in chosen_arms.values():
        raise UserError(f"arms must include {next(iter(ARMS))!r}, which the others are compared with")
    if fast_precision("cpu") == "32-true":
        chosen_arms.pop("distill, bfloat16", None)
    examples, _ = read_examples([questions])
    texts = [text for example in examples for text in (example.question, example.context)]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        home = Path(place)
        tokenizer = write_models(home, dict.fromkeys(texts), teacher, num_layers, width, num_heads, vocab_size)
        chosen, lengths = choose_windows(examples, tokenizer, num_windows, settings)
        write_json(home / "train.json", squad_document(chosen))
        write_json(home / "settings.json", asdict(settings))
        result: dict[str, Any] = {
            "environment": describe_environment("cpu"), "windows": len(lengths),
            "mean_length": sum(lengths) / len(lengths), "settings": asdict(settings),
            "vocabulary": len(tokenizer), "scores": {},
        }  # fmt: skip
        for number, (jobs, left_out) in enumerate(run_rounds(chosen_arms, peers, home, rounds), start=1):
            result |= {"rounds": number, "jobs": jobs, "left_out": left_out, "summary": summarise(jobs)}
            write_json(Path(output), result)
        if test_file is not None:
            held_out, _ = read_examples([test_file])
            step = max(1, len(held_out) // num_test_questions)
            write_json(home / "test.json", squad_document(held_out[::step][:num_test_questions]))
            for arm in result["jobs"]:
                result["scores"][arm] = student_scores(home / arm, home / "test.json", settings)
    write_json(Path(output), result)
    Console(width=120).print(result_table(result))


if __name__ == "__main__":
    run_function(run)
