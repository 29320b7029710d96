"""``answer``: a file of questions in, a file of answers out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from distill.answering.answerer import FoundAnswer, QuestionAnswerer
from distill.answering.backends import BackendName
from distill.answering.inputs import Item
from distill.answering.output import AnswerFile
from distill.answering.questions import Row, WrongRow, read_rows
from distill.models.loading import resolve_source
from distill.types import UserError

#: Wrong rows that are listed one by one; the rest is counted.
NUM_LISTED = 20

#: Settings that change no answer.
_BATCHING = ("tokens_per_batch", "batch_size")


def answer(
    model: str,
    input: str,  # noqa: A002 - the option is called --input
    output: str,
    backend: BackendName = "torch",
    dtype: str | None = None,
    device: str = "auto",
    top_k: int = 1,
    no_answer_threshold: float | None = 0.0,
    max_length: int | None = None,
    doc_stride: int | None = None,
    max_question_length: int | None = None,
    max_answer_length: int | None = None,
    batch_size: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    progress_bar: bool = True,
) -> None:
    """Answer the questions of a file.

    Every line of the output has ``id``, ``question``, ``answer`` (empty if the context holds none), ``score``,
    ``start`` and ``end``; with several contexts ``context_index``, with ``--top_k`` the other ``alternatives``. A run
    that was broken off goes on with the same command. Wrong rows are listed before the model is loaded and left out;
    the exit code then is 1.

    Args:
        model: Folder or hub name; ``embedded`` is the teacher that the package carries.
        input: JSON lines (.jsonl), CSV (.csv, .tsv) or SQuAD JSON (.json).
        output: JSON lines to write.
        backend: ``torch``, or ``onnx`` for a folder that ``export`` wrote.
        dtype: ``float32``, ``bfloat16``, ``float16`` with torch; ``float32``, ``int8`` with onnx.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``; torch only.
        top_k: Answers to give to each question.
        no_answer_threshold: How much more than the best span "no answer" must score; null if every question has one.
        max_length: Tokens of a window at most; 384 or what the model can take when left out.
        doc_stride: Tokens that consecutive windows share; a third of a window, 128 at most, when left out.
        max_question_length: Tokens of a question at most; a sixth of a window, 64 at most, when left out.
        max_answer_length: Longest answer in tokens; 30 when left out.
        batch_size: Windows in a batch at most; left to the memory when left out.
        strict: Whether a single wrong row ends the command before it begins.
        overwrite: Whether an older output, whole or half, gives way.
        progress_bar: Whether to show one.

    Raises:
        UserError: If a file, the model or a setting is wrong, and at the end if rows were left out.
    """
    source, target = Path(input), Path(output)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"--output {target}: that is the input: name another file")
    answers = AnswerFile(target, overwrite)
    num_rows, num_wrong = _check_rows(source, console, strict)
    windows: dict[str, Any] = {
        "max_length": max_length,
        "doc_stride": doc_stride,
        "max_question_length": max_question_length,
        "max_answer_length": max_answer_length,
    }
    answerer = QuestionAnswerer.from_pretrained(
        model,
        backend=backend,
        dtype=dtype,
        device=device,
        top_k=top_k,
        no_answer_threshold=no_answer_threshold,
        batch_size=batch_size,
        **windows,
    )
    made_with = {
        "model": model,
        "weights": _weights(model),
        "backend": backend,
        "dtype": dtype,
        "input": [source.name, source.stat().st_size],
        **{name: value for name, value in asdict(answerer.settings).items() if name not in _BATCHING},
    }
    done = answers.begin(made_with)
    rows = (row for row in read_rows(source) if isinstance(row, Row))
    num_done = _skip_done(rows, done, answers.partial)
    if num_done:
        console.print(f"{answers.partial}: going on after {num_done:,} answers")
    try:
        with answers, _progress(console, progress_bar) as progress:
            task = progress.add_task("answering", total=num_rows, completed=num_done)
            for row, found in _answered(answerer, rows):
                answers.write(_record(row, found))
                progress.advance(task)
    except KeyboardInterrupt:
        console.print(f"{answers.partial}: stopped; the same command goes on from there")
        raise SystemExit(130) from None  # as a shell reports Ctrl-C
    console.print(f"{target}: {num_rows:,} answers")
    if num_wrong:
        raise UserError(f"{source}: {num_wrong:,} of {num_rows + num_wrong:,} rows are wrong and were left out")


def _check_rows(source: Path, console: Console, strict: bool) -> tuple[int, int]:
    """List what is wrong in a file; return how many rows are right and how many wrong."""
    counts = {Row: 0, WrongRow: 0}
    for row in read_rows(source):
        counts[type(row)] += 1
        if isinstance(row, WrongRow) and counts[WrongRow] <= NUM_LISTED:
            console.print(f"{source}: {row.message}")
    num_rows, num_wrong = counts[Row], counts[WrongRow]
    if num_wrong > NUM_LISTED:
        console.print(f"{source}: and {num_wrong - NUM_LISTED:,} more wrong rows")
    if not num_rows:
        raise UserError(f"{source}: no question that can be answered ({num_wrong:,} wrong rows)")
    if strict and num_wrong:
        raise UserError(f"{source}: {num_wrong:,} wrong rows: correct them, or leave them out without --strict true")
    return num_rows, num_wrong


def _skip_done(rows: Iterator[Row], done: Iterable[str], partial: Path) -> int:
    """Take as many rows as are answered already, checking that they are the same; return how many."""
    num_done = 0
    for question_id in done:
        row = next(rows, None)
        if row is None or row.question_id != question_id:
            raise UserError(
                f"{partial}: line {num_done + 1:,} answers question {question_id!r}, which is not there in the "
                "input: begin again with --overwrite true"
            )
        num_done += 1
    return num_done


def _answered(answerer: QuestionAnswerer, rows: Iterable[Row]) -> Iterator[tuple[Row, Any]]:
    """Yield every row with its answer, in order; the answerer reads ahead."""
    waiting: deque[Row] = deque()

    def items() -> Iterator[Item]:
        for row in rows:
            waiting.append(row)
            yield row.item

    for found in answerer(items()):
        yield waiting.popleft(), found


def _record(row: Row, found: FoundAnswer | list[FoundAnswer]) -> dict[str, Any]:
    best, *others = found if isinstance(found, list) else [found]
    record: dict[str, Any] = {"id": row.question_id, "question": row.item.question}
    names = ("answer", "score", "start", "end", "context_index")
    record |= {name: value for name in names if (value := best.get(name)) is not None}
    return {**record, "alternatives": others} if isinstance(found, list) else record


def _weights(model: str) -> dict[str, list[int]]:
    """Return size and time of the files of a model's folder; nothing for a hub name, which says enough."""
    folder = Path(resolve_source(model))
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    return {
        file.relative_to(folder).as_posix(): [file.stat().st_size, file.stat().st_mtime_ns]
        for file in files
        if file.suffix in (".safetensors", ".bin", ".onnx", ".json")
    }


def _progress(console: Console, is_shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not is_shown)
