import pickle

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing as mp

from distill.tasks.question_answering.evaluation import QuestionAnsweringEvaluation
from distill.types import Answer, Example, UserError

CONTEXT = "El río Ebro nace en Fontibre, cerca de Reinosa, y desemboca en el mar Mediterráneo tras 930 kilómetros."
EXAMPLES = [
    Example("a", "¿Dónde nace?", CONTEXT, (Answer("Fontibre", 20), Answer("en Fontibre", 17)), ("new",)),
    Example("b", "¿Cuánto mide?", CONTEXT, (Answer("930 kilómetros", CONTEXT.index("930")),)),
    Example("c", "¿Quién lo descubrió?", CONTEXT, (), ("new",)),
    Example("d", "¿Dónde muere?", CONTEXT, (Answer("mar Mediterráneo", CONTEXT.index("mar")),)),
]


def label_logits(batch):
    """Logits that point at the labels."""
    logits = torch.zeros(*batch.inputs["input_ids"].shape, 2)
    rows = torch.arange(len(logits))
    logits[rows, batch.labels["start_positions"], 0] = 9.0
    logits[rows, batch.labels["end_positions"], 1] = 9.0
    return logits


def test_perfect_logits_score_one_hundred(make_batch):
    evaluation = QuestionAnsweringEvaluation(EXAMPLES)
    for example in EXAMPLES[::-1]:
        batch = make_batch([example])
        assert len(batch.windows) > 1
        evaluation.update(label_logits(batch), batch)
    result = evaluation.compute()
    assert dict(result.predictions) == {"a": "Fontibre", "b": "930 kilómetros", "c": "", "d": "mar Mediterráneo"}
    assert list(result.predictions) == ["a", "b", "c", "d"]
    assert result.scores["num_questions"] == 4
    for name in ("exact_match", "f1", "squad/f1", "has_answer/f1", "no_answer/exact_match", "new/f1"):
        assert result.scores[name] == 100.0


def test_predictions_are_substrings_of_the_context(make_batch):
    evaluation = QuestionAnsweringEvaluation(EXAMPLES, null_threshold=None)
    batch = make_batch(EXAMPLES)
    evaluation.update(torch.randn(*batch.inputs["input_ids"].shape, 2), batch)
    answers = evaluation.answers()
    assert all(answer.text and answer.text in CONTEXT for answer in answers.values())
    assert all(CONTEXT[one.start_char : one.end_char] == one.text for a in answers.values() for one in a.n_best)
    assert evaluation.compute().scores["no_answer/exact_match"] == 0.0


def test_outcomes_of_single_questions_average_to_the_scores(make_batch):
    evaluation = QuestionAnsweringEvaluation(EXAMPLES)
    batch = make_batch(EXAMPLES)
    evaluation.update(torch.randn(*batch.inputs["input_ids"].shape, 2), batch)
    result = evaluation.compute()
    assert list(result.outcomes) == ["a", "b", "c", "d"]
    for name in ("exact_match", "f1"):
        mean = sum(outcome[name] for outcome in result.outcomes.values()) / len(EXAMPLES)
        assert mean == pytest.approx(result.scores[name])
    assert result.breakdowns["question word"] == {"quién": ["c"], "dónde": ["a", "d"], "cuánto": ["b"]}
    assert set(result.breakdowns["answer length"]) == {"1 word", "2 words", "no answer"}


def test_repeated_windows_change_nothing(make_batch):
    once, twice = QuestionAnsweringEvaluation(EXAMPLES), QuestionAnsweringEvaluation(EXAMPLES)
    batch = make_batch(EXAMPLES)
    logits = torch.randn(*batch.inputs["input_ids"].shape, 2)
    once.update(logits, batch)
    twice.update(logits, batch)
    twice.update(logits, batch)
    assert once.compute() == twice.compute()


def test_a_question_without_window_is_an_error(make_batch):
    evaluation = QuestionAnsweringEvaluation(EXAMPLES)
    batch = make_batch(EXAMPLES[:2])
    evaluation.update(label_logits(batch), batch)
    with pytest.raises(UserError, match=r"question 'c' got no window \(2 of 4"):
        evaluation.compute()


def test_an_unknown_question_is_an_error(make_batch):
    evaluation = QuestionAnsweringEvaluation(EXAMPLES[:1])
    batch = make_batch(EXAMPLES[:2])
    evaluation.update(label_logits(batch), batch)
    with pytest.raises(RuntimeError, match="question 'b' is not among the 1"):
        evaluation.compute()


def test_repeated_identifiers_are_an_error():
    with pytest.raises(UserError, match="1 question ids are used twice"):
        QuestionAnsweringEvaluation([EXAMPLES[0], EXAMPLES[0]])


def _evaluate_a_share(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    with open(f"{folder}/batches", "rb") as file:  # noqa: PTH123
        batches = pickle.load(file)
    results = []
    # An uneven share first, then one in which both processes have windows of question "a", one of them twice.
    for share in ([0] if rank == 0 else [1, 2, 3], [0, 1] if rank == 0 else [0, 2, 3]):
        evaluation = QuestionAnsweringEvaluation(EXAMPLES)
        for index in share:
            evaluation.update(*batches[index])
        results.append(evaluation.compute())
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_questions(make_batch, tmp_path):
    batches = [
        (torch.randn(*batch.inputs["input_ids"].shape, 2), batch) for batch in map(make_batch, ([e] for e in EXAMPLES))
    ]
    with (tmp_path / "batches").open("wb") as file:
        pickle.dump(batches, file)
    mp.spawn(_evaluate_a_share, args=(str(tmp_path),), nprocs=2)
    alone = QuestionAnsweringEvaluation(EXAMPLES)
    for logits, batch in batches:
        alone.update(logits, batch)
    for rank in range(2):
        for shared in torch.load(tmp_path / f"{rank}.pt", weights_only=False):
            assert shared == alone.compute()
