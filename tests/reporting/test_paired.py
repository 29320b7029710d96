"""Paired comparison against differences that can be counted by hand."""

import json

import pytest

from distill.metrics.bootstrap import bootstrap_interval
from distill.reporting.paired import compare, compare_files
from distill.types import Answer, Example, UserError


def is_right(prediction, references):
    return float(prediction in references)


EXAMPLES = [
    Example("a", "¿Quién?", "Ana vino.", (Answer("Ana", 0),)),
    Example("b", "¿Qué hizo?", "Ana vino.", (Answer("vino", 4),)),
    Example("c", "¿Cuándo?", "Nadie lo sabe."),
    Example("d", "¿Dónde?", "En Soria.", (Answer("Soria", 3),)),
]
RIGHT = {"a": "Ana", "b": "vino", "c": "", "d": "Soria"}


def test_differences_are_paired_by_question_and_averaged_over_seeds():
    student = [RIGHT, {**RIGHT, "d": "En"}]
    baseline = [{**RIGHT, "c": "Nadie"}, {**RIGHT, "c": "sabe", "b": "Ana"}]
    result = compare(EXAMPLES, student, baseline, is_right)
    assert result.student == [100.0, 75.0]
    assert result.baseline == [75.0, 50.0]
    assert result.difference == 25.0
    # By question, means of both seeds: a 0, b +50, c +100, d -50; a and b share a paragraph.
    expected = bootstrap_interval([0.0, 50.0, 100.0, -50.0], ["Ana vino.", "Ana vino.", "c", "d"])
    assert result.interval == expected
    assert expected.low < 25.0 < expected.high


def test_equal_sides_have_no_difference_and_no_interval():
    result = compare(EXAMPLES, [RIGHT], [RIGHT], is_right)
    assert (result.difference, *result.interval) == (0.0, 0.0, 0.0)


def test_seeds_come_in_pairs():
    with pytest.raises(UserError, match="2 and 1 predictions files"):
        compare(EXAMPLES, [RIGHT, RIGHT], [RIGHT], is_right)


def test_missing_answer_is_named():
    with pytest.raises(UserError, match="predictions file 2 has no answer to question d"):
        compare(EXAMPLES, [RIGHT, {key: RIGHT[key] for key in "abc"}], [RIGHT, RIGHT], is_right)


def test_command_scores_by_the_spanish_rules(tmp_path, capsys):
    questions = [{"id": "q", "question": "¿Qué río?", "answers": [{"text": "el Duero", "answer_start": 8}]}]
    paragraph = {"context": "Cruzaba el Duero a pie.", "qas": questions}
    files = {
        "dev.json": {"data": [{"title": "Ríos", "paragraphs": [paragraph]}]},
        "student.json": {"q": "Duero"},
        "baseline.json": {"q": "Duero a"},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    student, baseline, references = ([str(tmp_path / f"{name}.json")] for name in ("student", "baseline", "dev"))
    compare_files(student, baseline, references)
    printed = capsys.readouterr().out
    result = json.loads(printed[printed.index("{") :])
    assert result["EM"]["difference"] == 100.0
    assert result["F1"]["student"] == [100.0]
    assert result["F1"]["baseline"] == [pytest.approx(200 / 3)]


@pytest.mark.parametrize("content", ["[]", "{"])
def test_file_that_holds_no_predictions_is_an_error(tmp_path, content):
    file = tmp_path / "predictions.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"predictions\.json: "):
        compare_files([str(file)], [str(file)])
