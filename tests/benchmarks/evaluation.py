"""Where the time of an evaluation goes: the model, or what is made of its logits.

    python -m tests.benchmarks.evaluation --output evaluation.json
    python -m tests.benchmarks.evaluation --models '[TEACHER, RUN/student]' --questions xquad_es.json

Every model answers all questions several times, as validation does: windows in batches of similar length, in float32,
on one thread. Tokenising is not part of it (``tests.benchmarks.data`` measures that), and a first pass is not counted.
What scoring remembers of texts is forgotten between passes, as in a process that evaluates once.
The processor's time is the one to go by on a machine that does other work beside.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from distill.data.datamodule import SquadDataModule
from distill.entry import run_function
from distill.files import write_json
from distill.metrics import squad
from distill.metrics.normalize import normalize_mlqa, normalize_squad
from distill.models.loading import EMBEDDED, load_frozen
from distill.processor import prepare_processor
from distill.quiet import quieten_libraries
from distill.reporting.environment import describe_environment
from distill.tasks.base import EvaluationResult
from distill.tasks.question_answering.evaluation import QuestionAnsweringEvaluation
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch
from tests.benchmarks.training import CLOCKS, spread

#: What an evaluation consists of, in order: reading and padding windows, the model, taking its scores out of its
#: output, the best spans of windows and questions, EM and F1 with the report's breakdowns.
PHASES = ("batches", "forward", "logits", "decoding", "scoring")
#: Those that are not the model's or the data's.
ANSWERING = ("decoding", "scoring")


class PhaseClock:
    """Adds up the seconds of each phase of a pass by both clocks."""

    def __init__(self) -> None:
        self.seconds = {clock: dict.fromkeys(PHASES, 0.0) for clock in CLOCKS}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside as a phase's."""
        start = _now()
        yield
        for clock, end in _now().items():
            self.seconds[clock][name] += end - start[clock]


def timed_evaluation(
    model: PreTrainedModel, loader: DataLoader[Batch], task: QuestionAnswering
) -> tuple[EvaluationResult, dict[str, dict[str, float]]]:
    """Evaluate a model as a run does; return the result, and the seconds of each phase by clock."""
    forget_texts()
    clock = PhaseClock()
    evaluation = task.evaluation(loader.dataset.examples)  # type: ignore[attr-defined]
    assert isinstance(evaluation, QuestionAnsweringEvaluation)
    batches = iter(loader)
    with torch.inference_mode():
        while True:
            with clock.phase("batches"):
                batch = next(batches, None)
            if batch is None:
                break
            with clock.phase("forward"):
                output = model(**batch.inputs)
            with clock.phase("logits"):
                logits = task.logits(output)
            with clock.phase("decoding"):
                evaluation.update(logits, batch)
    with clock.phase("decoding"):
        answers = evaluation.answers(n_best=1)
    with clock.phase("scoring"):
        result = evaluation.score({question_id: answer.text for question_id, answer in answers.items()})
    return result, clock.seconds


def forget_texts() -> None:
    """Empty what scoring has remembered of earlier answers."""
    for function in (normalize_mlqa, normalize_squad, squad._token_f1):
        function.cache_clear()


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the share of each phase in a pass, 0 to 1, and that of decoding and scoring as ``answering``."""
    total = sum(seconds.values())
    return {
        **{phase: value / total for phase, value in seconds.items()},
        "answering": sum(seconds[phase] for phase in ANSWERING) / total,
    }


def summarise(passes: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Return seconds and shares of each phase by clock, median and quartiles over the passes."""
    summary: dict[str, Any] = {}
    for clock in CLOCKS:
        taken = [one[clock] for one in passes]
        parts = [shares(one) for one in taken]
        summary[clock] = {
            "seconds": {phase: spread([one[phase] for one in taken]) for phase in PHASES},
            "shares": {phase: spread([one[phase] for one in parts]) for phase in (*PHASES, "answering")},
        }
    return summary


def result_table(name: str, found: Mapping[str, Any]) -> Table:
    """Return the phases of one model as a table."""
    table = Table(
        title=f"{name}: {found['questions']:,} questions, {found['windows']:,} windows, F1 {found['f1']:.2f}",
        caption="Median (lower to upper quartile) over passes; shares of processor time",
    )
    for column in ("phase", "processor, s", "wall, s", "share"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    form = "{median:.2%} ({lower_quartile:.2%} to {upper_quartile:.2%})"
    for phase in PHASES:
        seconds = [f"{found[clock]['seconds'][phase]['median']:.3f}" for clock in CLOCKS]
        table.add_row(phase, *seconds, form.format(**found["processor"]["shares"][phase]))
    table.add_section()
    table.add_row("decoding and scoring", "", "", form.format(**found["processor"]["shares"]["answering"]))
    return table


def run(
    models: Sequence[str] = (EMBEDDED,),
    questions: str | None = None,
    output: str = "evaluation.json",
    max_length: int = 384,
    doc_stride: int = 128,
    batch_size: int = 64,
    passes: int = 5,
    num_threads: int = 1,
) -> None:
    """Evaluate every model several times, print where the time went and write it as JSON.

    Args:
        models: Folders or hub names; ``embedded`` is the teacher that the package carries.
        questions: SQuAD JSON file; the embedded dev set when left out.
        output: JSON file to write.
        max_length: Tokens of a window at most.
        doc_stride: Tokens that consecutive windows share.
        batch_size: Windows in a batch.
        passes: How often each model answers all questions.
        num_threads: Threads of each operation.
    """
    torch.set_num_threads(num_threads)
    prepare_processor()
    quieten_libraries()
    task = QuestionAnswering()
    result: dict[str, Any] = {"environment": describe_environment("cpu", "float32")}
    for name in models:
        model = load_frozen(task, name)
        with tempfile.TemporaryDirectory() as folder:
            data = SquadDataModule(
                tokenizer=name, validation_files=[questions] if questions else None, max_length=max_length,
                doc_stride=doc_stride, eval_batch_size=batch_size, cache_dir=folder,
            )  # fmt: skip
            data.setup("validate")
            timed = [timed_evaluation(model, data.val_dataloader(), task) for _ in range(passes + 1)]
            windows = data.val_dataloader().dataset
        found = {
            "questions": len(windows.examples),  # type: ignore[attr-defined]
            "windows": len(windows),  # type: ignore[arg-type]
            "f1": timed[-1][0].scores["f1"],
            "passes": [seconds for _, seconds in timed[1:]],
            **summarise([seconds for _, seconds in timed[1:]]),
        }
        result[name] = found
        Console().print(result_table(name, found))
    write_json(Path(output), result)


def _now() -> dict[str, float]:
    return {"processor": time.process_time(), "wall": time.perf_counter()}


if __name__ == "__main__":
    run_function(run)
