import json
import random
from functools import partial

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing as mp

from distill.metrics.normalize import normalize_mlqa, normalize_squad
from distill.metrics.squad import SquadMetric, exact_match, f1, nonempty_references, question_scores

from .official_rules import OfficialRules

SPANISH = partial(normalize_mlqa, language="es")


@pytest.mark.parametrize(
    ("prediction", "references", "expected_match", "expected_f1"),
    [
        ("la Universidad de Sevilla", ["Universidad de Sevilla"], 1, 1),
        ("¿quién?", ["quién"], 1, 1),
        ("«El Quijote»", ["El Quijote"], 1, 1),
        ("vitamina A", ["vitamina"], 0, 2 / 3),
        ("Felipe II", ["rey Felipe II", "Felipe"], 0, 0.8),
        ("Madrid", ["Sevilla", "madrid."], 1, 1),
        ("no no no", ["no"], 0, 0.5),
        ("Barcelona", ["Madrid"], 0, 0),
        ("", ["Madrid"], 0, 0),
        ("", [""], 1, 1),
        ("los", [""], 1, 1),
        ("Madrid", [""], 0, 0),
        ("L.A.", ["LA"], 1, 0),  # the official scripts give no F1 without a common token
        ("ni\u00f1o", ["nin\u0303o"], 0, 0),
    ],
)
def test_spanish_scores(prediction, references, expected_match, expected_f1):
    assert exact_match(prediction, references, SPANISH) == expected_match
    assert f1(prediction, references, SPANISH) == pytest.approx(expected_f1)


@pytest.mark.parametrize("score", [exact_match, f1])
def test_no_reference_is_an_error(score):
    with pytest.raises(ValueError, match="no reference"):
        score("Madrid", [], SPANISH)


def test_nonempty_references_follow_the_v2_script():
    assert nonempty_references(["the", "The Beatles"], normalize_squad) == ("The Beatles",)
    assert nonempty_references(["the"], normalize_squad) == ("",)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [("el rey Felipe II", ["Felipe II"], (0.0, 80.0)), ("", [], (100.0, 100.0)), ("Jaén", [], (0.0, 0.0))],
)
def test_one_questions_scores_are_percentages(prediction, answers, expected):
    scores = question_scores(prediction, answers, "es")
    assert (scores["exact_match"], scores["f1"]) == pytest.approx(expected)


def test_empty_metric_gives_zeros():
    assert SquadMetric().compute() == {
        "exact_match": 0.0,
        "f1": 0.0,
        "squad/exact_match": 0.0,
        "squad/f1": 0.0,
        "num_questions": 0.0,
    }


def test_split_and_tags():
    metric = SquadMetric(tags=("new", "never"))
    metric.update(["Madrid", "el río Ebro", "Lugo", ""], [["madrid"], ["Ebro"], [], []], [["new"], [], ["new"], []])
    scores = metric.compute()
    assert scores == pytest.approx(
        {
            "exact_match": 50.0,
            "f1": 100 * (1 + 2 / 3 + 0 + 1) / 4,
            "squad/exact_match": 50.0,
            "squad/f1": 100 * (1 + 0.5 + 0 + 1) / 4,
            "has_answer/exact_match": 50.0,
            "has_answer/f1": 100 * (1 + 2 / 3) / 2,
            "no_answer/exact_match": 50.0,
            "no_answer/f1": 50.0,
            "new/exact_match": 50.0,
            "new/f1": 50.0,
            "num_questions": 4,
        }
    )


def test_squad_script_is_chosen_by_the_data():
    """A reference that normalises to nothing earns no F1 in v1.1 and counts as no answer in v2.0."""
    v1, v2 = SquadMetric(), SquadMetric()
    v1.update(["the"], [["The"]])
    v2.update(["the", ""], [["The"], []])
    assert (v1.compute()["squad/exact_match"], v1.compute()["squad/f1"]) == (100.0, 0.0)
    assert (v2.compute()["squad/exact_match"], v2.compute()["squad/f1"]) == (100.0, 100.0)


def test_bad_input():
    with pytest.raises(ValueError, match="unknown language"):
        SquadMetric(language="xx")
    with pytest.raises(ValueError, match="tags must differ"):
        SquadMetric(tags=("no_answer",))
    with pytest.raises(ValueError, match="tags must differ"):
        SquadMetric(tags=("a", "a"))
    with pytest.raises(ValueError, match="2 predictions, 1 reference"):
        SquadMetric().update(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="unknown tag 'x'"):
        SquadMetric().update(["a"], [["a"]], [["x"]])
    with pytest.raises(ValueError, match="unknown tag 'all'"):
        SquadMetric().update(["a"], [["a"]], [["all"]])


def _questions(num_questions: int) -> list[tuple[str, list[str], list[str]]]:
    rng = random.Random(0)
    words = ["el", "río", "Ebro", "nace", "en", "Fontibre", "y", "la", "villa", "de", "Reinosa", "a", "3", "km"]
    return [
        (
            " ".join(rng.choices(words, k=rng.randint(0, 4))),
            [" ".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(rng.randint(0, 3))],
            ["new"] if rng.random() < 0.3 else [],
        )
        for _ in range(num_questions)
    ]


def _update(metric: SquadMetric, questions) -> None:
    if questions:
        predictions, references, tags = zip(*questions, strict=True)
        metric.update(predictions, references, tags)


def test_order_and_batches_do_not_matter():
    questions = _questions(200)
    one, other = SquadMetric(tags=("new",)), SquadMetric(tags=("new",))
    _update(one, questions)
    random.Random(1).shuffle(questions)
    for start in range(0, 200, 7):
        _update(other, questions[start : start + 7])
    assert other.compute() == pytest.approx(one.compute(), abs=1e-9)
    assert one.compute()["num_questions"] == 200


def _score_a_share(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    metric = SquadMetric(tags=("new",))
    _update(metric, _questions(31)[rank::2])
    torch.save(metric.compute(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_totals_are_exact_over_processes(tmp_path):
    mp.spawn(_score_a_share, args=(str(tmp_path),), nprocs=2)
    whole = SquadMetric(tags=("new",))
    _update(whole, _questions(31))
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(whole.compute(), abs=1e-9)


def test_totals_are_exact_over_merged_states():
    whole, *shares = (SquadMetric(tags=("new",)) for _ in range(3))
    _update(whole, _questions(31))
    for rank, share in enumerate(shares):
        _update(share, _questions(31)[rank::2])
    shares[0].merge_state(shares[1])
    assert shares[0].compute() == pytest.approx(whole.compute(), abs=1e-9)


def test_agrees_with_the_official_rules_on_xquad(real_data):
    data = json.loads((real_data / "qa" / "xquad_es.json").read_text(encoding="utf-8"))["data"]
    rng = random.Random(0)
    predictions, references = {}, {}
    for paragraph in (paragraph for article in data for paragraph in article["paragraphs"]):
        context = paragraph["context"]
        for question in paragraph["qas"]:
            references[question["id"]] = [answer["text"] for answer in question["answers"]]
            start = max(0, question["answers"][0]["answer_start"] + rng.choice([0, 0, -4, -1, 3]))
            end = start + len(references[question["id"]][0]) + rng.choice([0, 0, 1, 7])
            predictions[question["id"]] = context[start:end] if rng.random() < 0.95 else ""
    metric = SquadMetric()
    metric.update(list(predictions.values()), list(references.values()))
    scores, rules = metric.compute(), OfficialRules()
    assert scores["num_questions"] == 1190
    mlqa = rules.score(rules.mlqa, predictions, references)
    assert 20 < mlqa[0] < mlqa[1] < 95
    assert (scores["exact_match"], scores["f1"]) == pytest.approx(mlqa, abs=1e-9)
    squad = rules.score(rules.squad, predictions, references)
    assert (scores["squad/exact_match"], scores["squad/f1"]) == pytest.approx(squad, abs=1e-9)


def test_totals_are_the_single_scores_added_up_in_order():
    """Bit for bit, whatever is normalised once for several scores."""
    generator = random.Random(0)
    words = ["el", "The", "Ebro", "río", "¿", "a", "1.897", "—", "Ebro"]

    def text():
        return " ".join(generator.choices(words, k=generator.randrange(5)))

    predictions = [text() for _ in range(300)]
    references = [[text() for _ in range(generator.randrange(4))] for _ in predictions]
    tags = [generator.choice([(), ("new",), ("new", "new")]) for _ in predictions]
    metric = SquadMetric(tags=["new"])
    metric.update(predictions, references, tags)
    totals = [[0.0] * 6 for _ in range(4)]
    for prediction, answers, names in zip(predictions, references, tags, strict=True):
        given = answers or [""]
        nonempty = nonempty_references(given, normalize_squad)
        arms = ((given, SPANISH), (given, normalize_squad), (nonempty, normalize_squad))
        scores = [score(prediction, one, how) for one, how in arms for score in (exact_match, f1)]
        assert list(question_scores(prediction, answers, "es").values()) == [100 * value for value in scores[:2]]
        for row in {0, 1 if answers else 2, *([3] if names else [])}:
            totals[row] = [total + value for total, value in zip(totals[row], scores, strict=True)]
    assert metric.totals.tolist() == totals
    assert metric.counts[0] == 300


def test_an_update_without_questions_changes_nothing():
    metric = SquadMetric(tags=["new"])
    metric.update([], [])
    assert metric.compute()["num_questions"] == 0
