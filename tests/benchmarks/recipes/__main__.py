"""Run the comparison, or go on with it."""

from __future__ import annotations

import sys
from pathlib import Path

from distill.files import write_json, write_text
from distill.models.loading import EMBEDDED
from distill.types import UserError

from .arms import ARMS, Sizes
from .comparison import Comparison, Question
from .embedded import embedded_parts
from .publishing import keep_runs
from .table import markdown, summarise


def recipes(
    output: str,
    teacher: str = EMBEDDED,
    train_files: list[str] | None = None,
    validation_files: list[str] | None = None,
    test_files: list[str] | None = None,
    student: Sizes = Sizes(),  # noqa: B008 - frozen, so sharing it is safe
    num_steps: int = 2000,
    learning_rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3),
    seeds: tuple[int, ...] = (42, 43, 44),
    batch_size: int = 16,
    max_length: int = 384,
    doc_stride: int = 128,
    arms: tuple[str, ...] = tuple(ARMS),
    equal_time: bool = True,
    own_rates: dict[str, list[float]] | None = None,
    publish: str | None = None,
    finished_only: bool = False,
) -> None:
    """Compare the recipes on one teacher; print the tables and write them as ``results.json`` and ``results.md``.

    Called again after having been killed, it goes on where it was.

    Args:
        output: Folder that everything is written into.
        teacher: Folder of a converged question-answering teacher; the embedded one when left out.
        train_files: SQuAD JSON to train on; the embedded questions when left out.
        validation_files: SQuAD JSON that rates and checkpoints are chosen by.
        test_files: SQuAD JSON to report on, which nothing is chosen by.
        student: The student's sizes; half the teacher's layers at its widths when left out.
        num_steps: Optimizer steps of every arm at equal steps.
        learning_rates: Tried with the first seed in every arm, of which the validation part chooses one.
        seeds: Of every arm.
        batch_size: Windows in a batch.
        max_length: Tokens of a window.
        doc_stride: Tokens that neighbouring windows share.
        arms: Which arms.
        equal_time: Whether to compare at equal time too: as long as best.yaml took at equal steps.
        own_rates: Arm to rates that are tried in it instead, as ``{best: [2e-4]}``.
        publish: Folder that gets the tables, and configuration and report of every run in them.
        finished_only: Whether to train nothing and to show what has been finished.
    """
    folder = Path(output)
    if publish and Path(publish).resolve() == folder.resolve():
        raise UserError(f"--publish {publish}: is the folder of the comparison itself; choose another one")
    given = (train_files, validation_files, test_files)
    if any(given) and not all(given):
        raise UserError("give train_files, validation_files and test_files, or none of them for the embedded questions")
    parts = [[str(file)] for file in embedded_parts(folder.resolve() / "data")] if not any(given) else given
    question = Question(
        teacher, *parts, student, num_steps, list(learning_rates), list(seeds), batch_size, max_length, doc_stride,
        list(arms), equal_time, own_rates or {},
    )  # fmt: skip
    comparison = Comparison(question, folder)
    outcome = comparison.finished() if finished_only else comparison.run()
    summary = summarise(outcome, comparison.examples)
    for target in (folder, *([Path(publish)] if publish else [])):
        write_json(target / "results.json", summary)
        write_text(target / "results.md", markdown(summary))
    if publish:
        keep_runs(comparison.folder, comparison.run_folders(outcome), Path(publish))
    sys.stdout.write(markdown(summary))


if __name__ == "__main__":
    from jsonargparse import auto_cli

    try:
        auto_cli(recipes, as_positional=False)
    except UserError as error:
        sys.exit(f"error: {error}")
