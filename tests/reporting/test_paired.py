"""Paired comparison against differences that can be counted by hand."""

import json

import pytest

from distill.metrics.bootstrap import bootstrap_interval
from distill.reporting.paired import compare, compare_files
from distill.tasks.classification.task import SequenceClassification
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.tagging.task import TokenClassification
from distill.types import Answer, Example, UserError

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
    result = compare(QuestionAnswering(), EXAMPLES, student, baseline)["exact_match"]
    assert result.student == [100.0, 75.0]
    assert result.baseline == [75.0, 50.0]
    assert result.difference == 25.0
    # By question, means of both seeds: a 0, b +50, c +100, d -50; a and b share a paragraph.
    expected = bootstrap_interval([0.0, 50.0, 100.0, -50.0], ["Ana vino.", "Ana vino.", "c", "d"])
    assert result.interval == expected
    assert expected.low < 25.0 < expected.high


def test_share_of_the_baseline_is_paired_by_question_and_scores_have_intervals_of_their_own():
    questions = [EXAMPLES[0], EXAMPLES[3]]  # one a paragraph: a resample has one of them twice, or both
    student, baseline = [{"a": "Ana", "d": "En"}, {"a": "vino", "d": "En"}], [RIGHT, {**RIGHT, "d": "En"}]
    result = compare(QuestionAnswering(), questions, student, baseline)["exact_match"]
    # Means over seeds, student and baseline: a 50 and 100, d 0 and 50; together 25 and 75.
    assert result.student_interval == (0.0, 50.0)
    assert result.ratio == pytest.approx(1 / 3)
    assert result.ratio_interval == (0.0, 0.5)
    # Wrong on the same question: nothing is lost, whichever are drawn, though the score itself may be anything.
    same = compare(QuestionAnswering(), questions, student[:1], [{"a": "Ana", "d": ""}])["exact_match"]
    assert (same.ratio, same.ratio_interval, same.student_interval) == (1.0, (1.0, 1.0), (0.0, 100.0))


def test_there_is_no_share_of_nothing():
    nothing = dict.fromkeys(RIGHT, "nada")
    result = compare(QuestionAnswering(), EXAMPLES, [RIGHT], [nothing])["exact_match"]
    assert (result.ratio, result.ratio_interval) == (None, None)


def test_equal_sides_have_no_difference_and_no_interval():
    for result in compare(QuestionAnswering(), EXAMPLES, [RIGHT], [RIGHT]).values():
        assert (result.student, result.difference, *result.interval) == ([100.0], 0.0, 0.0, 0.0)


def test_seeds_come_in_pairs():
    with pytest.raises(UserError, match="2 and 1 predictions files"):
        compare(QuestionAnswering(), EXAMPLES, [RIGHT, RIGHT], [RIGHT])


def test_missing_answer_is_named():
    with pytest.raises(UserError, match="predictions file 2 has no prediction for d"):
        compare(QuestionAnswering(), EXAMPLES, [RIGHT, {key: RIGHT[key] for key in "abc"}], [RIGHT, RIGHT])


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


SENTENCES = """\
Ana B-PER
vino O
a O
Soria B-LOC

El O
Duero B-LOC
baja O
"""


def test_span_f1_is_that_of_all_sentences_together_and_is_resampled_as_such(tmp_path):
    file = tmp_path / "test.conll"
    file.write_text(SENTENCES, encoding="utf-8")
    task = TokenClassification()
    sentences, _ = task.read([file])
    first, second = (sentence.sentence_id for sentence in sentences)
    # One of two spans of the first sentence found, and a wrong one besides; the second sentence's found.
    student = {first: "B-PER O O B-ORG", second: "O B-LOC O"}
    baseline = {first: "O O O B-LOC", second: "O O O"}
    result = compare(task, sentences, [student], [baseline])
    assert result["f1"].student == [pytest.approx(100 * 2 * 2 / (3 + 3))]
    assert result["f1"].baseline == [pytest.approx(100 * 2 * 1 / (1 + 3))]
    assert result["accuracy"].difference == pytest.approx(100 * (6 - 5) / 7 - 0.0)
    # Resamples: the first sentence alone 50 - 66.7, both +16.7, the second alone +100.
    low, high = result["f1"].interval
    assert (low, high) == (pytest.approx(50 - 200 / 3), pytest.approx(100))


def test_pairs_with_a_common_second_sentence_are_drawn_together(tmp_path):
    file = tmp_path / "test.tsv"
    rows = ["sentence1\tsentence2\tlabel", "a\tz\t1", "b\tz\t0", "c\ty\t1", "d\tx\t0"]
    file.write_text("\n".join(rows), encoding="utf-8")
    task = SequenceClassification()
    texts, _ = task.read([file])
    ids = [text.text_id for text in texts]
    right = dict(zip(ids, ["1", "0", "1", "0"], strict=True))
    wrong = dict(zip(ids, ["0", "1", "1", "0"], strict=True))
    result = compare(task, texts, [right], [wrong])["accuracy"]
    assert (result.student, result.baseline) == ([100.0], [50.0])
    assert result.interval == bootstrap_interval([100.0, 100.0, 0.0, 0.0], ["z", "z", "y", "x"])


def test_command_takes_the_outcomes_of_a_fit_and_another_task(tmp_path, capsys):
    reference = tmp_path / "test.conll"
    reference.write_text(SENTENCES, encoding="utf-8")
    ids = [sentence.sentence_id for sentence in TokenClassification().read([reference])[0]]
    files = []
    for name, labels in (("student", ["B-PER O O B-LOC", "O B-LOC O"]), ("baseline", ["O O O O", "O O O"])):
        rows = [{"id": key, "student": {"prediction": found}} for key, found in zip(ids, labels, strict=True)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        files.append([str(tmp_path / f"{name}.jsonl")])
    compare_files(*files, [str(reference)], TokenClassification())
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :])["span F1"]["difference"] == 100.0
