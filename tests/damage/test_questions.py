"""Every damaged question file gives one clear error or counted, reported skips; or it was fine, and nothing is lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from distill.data.datamodule import SquadDataModule
from distill.types import UserError

from .judge import ERROR, SKIP, WHOLE, Judge, at_most, check_message
from .questions import BY_HAND, damaged

#: Counts of the report that say of something that it is not in the data as it was in the file.
LOSSES = ("questions_dropped", "answers_dropped", "empty_answers_dropped", "answers_moved", "questions_truncated")


def outcome(content: bytes, teacher_folder: Path, folder: Path, **options) -> str:
    """Read a file as a run does, windows included, and say what became of it."""
    file = folder / "dañado.json"
    file.write_bytes(content)
    lengths = {"max_length": 64, "doc_stride": 8, "max_question_length": 24}
    data = SquadDataModule(
        str(teacher_folder), train_files=[str(file)], validation_files=[str(file)], cache_dir=str(folder / "c"),
        **lengths, **options,
    )  # fmt: skip
    try:
        with at_most(60):
            data.setup("fit")
            list(data.train_dataloader())
    except UserError as error:
        return check_message(str(error), file.name)
    except Exception as error:  # noqa: BLE001 - a user would see it
        return f"traceback: {error!r}"
    counts = data.summary()["train"]
    asked = json.loads(content.decode("utf-8-sig"))
    questions = [qa for article in asked["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    answers = sum(len(qa["answers"]) for qa in questions)
    if counts["examples"] + counts["questions_dropped"] != len(questions):
        return f"{len(questions)} questions became {counts['examples']}, {counts['questions_dropped']} counted"
    kept = counts["answers"] + counts["answers_dropped"] + counts["empty_answers_dropped"]
    if kept != answers:
        return f"{answers} answers became {counts['answers']}, {kept - counts['answers']} counted"
    wrong = [
        e.question_id for e in data.train_dataloader().dataset.examples for a in e.answers if not fits(e.context, a)
    ]
    if wrong:
        return f"answers that are not in the context: {wrong}"
    return SKIP if any(counts.get(loss) for loss in LOSSES) else WHOLE


def fits(context: str, answer) -> bool:
    return context.startswith(answer.text, answer.start_char)


def test_no_file_by_hand_breaks_the_reader(teacher_folder, tmp_path, capsys):
    judge = Judge()
    for name, content in BY_HAND.items():
        judge.add(name, outcome(content, teacher_folder, tmp_path))
    with capsys.disabled():
        sys.stdout.write(f"\n{judge}\n")
    assert not judge.failures, "\n".join(judge.failures)
    assert judge.counts.total() == len(BY_HAND)


@pytest.mark.slow
def test_no_generated_file_breaks_the_reader(teacher_folder, tmp_path, capsys):
    judge = Judge()

    @settings(max_examples=150, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged())
    def read(content: bytes) -> None:
        judge.add(repr(content[:80]), outcome(content, teacher_folder, tmp_path))

    read()
    with capsys.disabled():
        sys.stdout.write(f"\n{judge}\n")
    assert not judge.failures, "\n".join(judge.failures)
    assert judge.counts.total() >= 100
    assert set(judge.counts) >= {ERROR, SKIP, WHOLE}


@pytest.mark.parametrize("name", ["answer_start -1", "answer text empty", "answer text elsewhere", "answers empty"])
def test_what_is_skipped_is_an_error_if_strict(name, teacher_folder, tmp_path):
    assert outcome(BY_HAND[name], teacher_folder, tmp_path) == SKIP
    assert outcome(BY_HAND[name], teacher_folder, tmp_path, strict=True) == ERROR
