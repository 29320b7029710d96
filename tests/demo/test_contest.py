from itertools import chain
from types import SimpleNamespace

from distill.demo.contest import Contest, Contestant
from tests.demo.conftest import EXAMPLE, Echo


def ask(times_ms, **options):
    """Ask two contestants, whose turns take these times."""
    ticks = chain.from_iterable((0, int(time * 1e6)) for time in times_ms)
    contest = Contest([Contestant("teacher", Echo()), Contestant("student", Echo())], clock=ticks.__next__, **options)
    return contest.ask(**EXAMPLE)


def test_every_contestant_answers_and_its_time_is_the_median_of_the_rounds():
    answers = ask([9, 4, 7, 1, 8, 2])
    assert [answer["role"] for answer in answers] == ["teacher", "student"]
    assert [answer["milliseconds"] for answer in answers] == [8.0, 2.0]
    assert answers[0]["answer"] == "Ávila."
    assert EXAMPLE["context"][answers[0]["start"] : answers[0]["end"]] == "Ávila."


def test_slow_contestants_answer_once():
    assert [answer["milliseconds"] for answer in ask([900, 40])] == [900.0, 40.0]
    assert [answer["milliseconds"] for answer in ask([50, 10, 60, 30])] == [55.0, 20.0]
    assert [answer["milliseconds"] for answer in ask([9, 4], max_rounds=1)] == [9.0, 4.0]


def test_contestants_are_described_without_a_word_about_where_they_lie():
    student = Echo()
    student.settings = SimpleNamespace(temperature=2.0)
    contest = Contest([Contestant("teacher", Echo()), Contestant("student", student)])
    assert contest.describe() == [
        {"role": "teacher", "num_parameters": 1_243_522, "is_calibrated": False},
        {"role": "student", "num_parameters": 1_243_522, "is_calibrated": True},
    ]
