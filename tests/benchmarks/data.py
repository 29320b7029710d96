"""How fast questions become windows, how fast a second start is, and how much memory either takes.

    python -m tests.benchmarks.data --output data.json
    python -m tests.benchmarks.data --questions train-v2.0-es.json --tokenizer TEACHER

From a SQuAD file to a table of windows on disk, on one process, as ``SquadDataModule`` does it, against what the
question-answering example of transformers does: tokenise, pad to the full length and look for the answer's tokens,
written to disk by ``datasets.map``, whole batches a call (``example``, its own way) or question by question (``loop``).
The example reads what is in the file, distill checks it and keeps more columns. A second start finds the table on
disk; distill hashes the texts again to be sure that it is theirs. Every start is a process of its own; they take turns,
round by round, and imports are not counted. The processor's time, of all threads, is the one to go by on a machine that
does other work beside.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import datasets
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedTokenizerBase

from distill.data.datamodule import SquadDataModule
from distill.entry import run_function
from distill.files import write_json
from distill.models.loading import EMBEDDED, load_tokenizer
from distill.quiet import quieten_libraries
from distill.reporting.environment import describe_environment
from distill.types import UserError
from tests.benchmarks.peak import peak_memory
from tests.benchmarks.training import CLOCKS, spread

#: The ways to make windows; the first one is what the others are compared with.
WAYS = ("loop", "example", "distill")
STARTS = ("first", "second")
MEGABYTE = 10**6


def start(way: str, file: str, tokenizer: str, max_length: int, doc_stride: int, folder: str) -> dict[str, Any]:
    """Make the windows of a file in this process, or find them in ``folder``; return what it took."""
    datasets.disable_progress_bars()
    quieten_libraries()
    cutter = load_tokenizer(tokenizer)
    before, clock = peak_memory(), _now()
    if way == "distill":
        data = SquadDataModule(
            tokenizer=tokenizer, validation_files=[file], max_length=max_length, doc_stride=doc_stride, cache_dir=folder
        )
        data.setup("validate")
        num_windows = int(data.summary()["validation"]["windows"])
    else:
        num_windows = len(example_windows(Path(file), cutter, max_length, doc_stride, Path(folder), way == "example"))
    seconds = {name: end - clock[name] for name, end in _now().items()}
    return {"windows": num_windows, "seconds": seconds, "before": before, "peak": peak_memory()}


def example_windows(
    file: Path, tokenizer: PreTrainedTokenizerBase, max_length: int, doc_stride: int, folder: Path, batched: bool
) -> datasets.Dataset:
    """Return padded windows as the example of transformers makes them, from ``folder`` where they are there already."""
    rows = [
        {
            "question": question["question"].strip(),
            "context": paragraph["context"],
            "answer": question["answers"][0]["text"] if question["answers"] else "",
            "start": question["answers"][0]["answer_start"] if question["answers"] else -1,
        }
        for article in json.loads(file.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    table = datasets.Dataset.from_list(rows)
    return table.map(
        partial(window_features, tokenizer=tokenizer, max_length=max_length, doc_stride=doc_stride),
        batched=True,
        batch_size=1000 if batched else 1,
        remove_columns=table.column_names,
        cache_file_name=str(folder / "windows.arrow"),
        load_from_cache_file=True,
    )


def window_features(
    rows: Mapping[str, Sequence[Any]], tokenizer: PreTrainedTokenizerBase, max_length: int, doc_stride: int
) -> dict[str, list[Any]]:
    """Return the padded windows of some questions with the first and last token of their answers, 0 without one."""
    encoded = tokenizer(
        rows["question"],
        rows["context"],
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )
    owners, all_offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
    positions = []
    for window, (owner, offsets) in enumerate(zip(owners, all_offsets, strict=True)):
        first_char = rows["start"][owner]
        end_char = first_char + len(rows["answer"][owner])
        is_context = [sequence == 1 for sequence in encoded.sequence_ids(window)]
        first, last = is_context.index(True), len(is_context) - 1 - is_context[::-1].index(True)
        if first_char < 0 or offsets[first][0] > first_char or offsets[last][1] < end_char:
            positions.append((0, 0))
            continue
        while first < last and offsets[first][1] <= first_char:
            first += 1
        while last > first and offsets[last][0] >= end_char:
            last -= 1
        positions.append((first, last))
    starts, ends = zip(*positions, strict=True)
    return {**encoded, "start_positions": list(starts), "end_positions": list(ends)}


def run_rounds(rounds: int, *settings: Any) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return what each way took for its first and its second start in every round, the ways in turns."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {way: {name: [] for name in STARTS} for way in WAYS}
    for index in range(rounds):
        for way in WAYS if index % 2 == 0 else reversed(WAYS):
            with tempfile.TemporaryDirectory() as folder:
                for name in STARTS:
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        found[way][name].append(pool.apply(start, (way, *settings, folder)))
    return found


def summarise(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> dict[str, dict[str, Any]]:
    """Return of each way its windows a second, their ratio round by round, its second start in seconds and its memory.

    Memory is in bytes beyond what the process held before, the most over both starts apart.
    """
    summary: dict[str, dict[str, Any]] = {}
    for way, starts in found.items():
        summary[way] = {
            "windows": starts["first"][0]["windows"],
            **{f"{name}_memory": median(one["peak"] - one["before"] for one in starts[name]) for name in STARTS},
        }
        for clock in CLOCKS:
            speeds, others = (
                [one["windows"] / one["seconds"][clock] for one in found[name]["first"]] for name in (way, WAYS[0])
            )
            summary[way][clock] = {
                "windows_per_second": spread(speeds),
                "ratio": spread([mine / other for mine, other in zip(speeds, others, strict=True)]),
                "second_start": spread([one["seconds"][clock] for one in starts["second"]]),
            }
    return summary


def result_table(file: str, summary: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return all ways as a table."""
    table = Table(title=file, caption="Processor time, median (lower to upper quartile) over rounds in turns")
    for column in ("way", "windows", "windows/s", "ratio", "2nd start, s", "MB", "2nd, MB"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way, row in summary.items():
        times = row["processor"]
        table.add_row(
            way,
            f"{row['windows']:,}",
            f"{times['windows_per_second']['median']:,.0f}",
            "{median:.1f} ({lower_quartile:.1f} to {upper_quartile:.1f})".format(**times["ratio"]),
            f"{times['second_start']['median']:.2f}",
            *(f"{row[f'{name}_memory'] / MEGABYTE:,.0f}" for name in STARTS),
        )
    return table


def run(
    questions: str | None = None,
    tokenizer: str = EMBEDDED,
    output: str = "data.json",
    max_length: int = 384,
    doc_stride: int = 128,
    rounds: int = 3,
) -> None:
    """Make the windows of a file in every way, print a table and write it as JSON.

    Args:
        questions: SQuAD JSON file; the embedded train set when left out.
        tokenizer: Folder or hub name.
        output: JSON file to write.
        max_length: Tokens of a window at most.
        doc_stride: Tokens that consecutive windows share.
        rounds: Starts of each kind.
    """
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    with resources.as_file(resources.files("distill.assets") / "qa_es" / "train.json") as embedded:
        file = questions if questions is not None else str(embedded)
        found = run_rounds(rounds, file, tokenizer, max_length, doc_stride)
    summary = summarise(found)
    write_json(Path(output), {"environment": describe_environment("cpu"), "rounds": found, "summary": summary})
    Console(width=100).print(result_table(Path(file).name, summary))


def _now() -> dict[str, float]:
    return {"processor": time.process_time(), "wall": time.perf_counter()}


if __name__ == "__main__":
    run_function(run)
