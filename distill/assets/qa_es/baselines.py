"""What simple tricks score on the set: word overlap, and guessing without reading the question.

Run ``python -m distill.assets.qa_es.baselines`` to measure them on ``dev.json``. None of them learns and none answers
with the empty string, so unanswerable questions count as wrong for all.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from distill.metrics.normalize import normalize_mlqa
from distill.metrics.squad import f1

WORD = re.compile(r"\w+")
SENTENCE_END = re.compile(r"(?<=\.) (?=[^a-z])")
# A candidate answer: a title in «», a quantity or date that starts with a number, or a run of capitalised words.
CANDIDATE = re.compile(
    r"«[^»]+»|\d[\d ]*(?: de \w+ de \d+| \w+(?: de \w+)?)?|(?:[A-ZÁÉÍÓÚÑ]\w+)(?: (?:de )?[A-ZÁÉÍÓÚÑ]\w+)*|\w+ y \w+"
)
STOP_WORDS = frozenset(
    WORD.findall(
        "a al ante con cuál cuáles cuándo cuánta cuántas cuánto cuántos cómo de del desde dónde el en es fue hasta la "
        "las lo los para por que qué quién quiénes se según sobre su sus un una y"
    )
)

Predictor = Callable[[str, str], str]


def content_words(text: str) -> set[str]:
    """Return the lower-cased words of ``text`` that are not function words."""
    return {word for word in WORD.findall(text.lower()) if word not in STOP_WORDS}


def candidates(sentence: str) -> list[str]:
    """List the spans of a sentence that look like answers."""
    return [match.strip(" ,.;") for match in CANDIDATE.findall(sentence)]


def best_sentence(question: str, context: str) -> str:
    """Return the sentence of ``context`` that shares most content words with ``question``; the first one in a tie."""
    words = content_words(question)
    return max(SENTENCE_END.split(context), key=lambda sentence: len(words & content_words(sentence)))


def best_candidate(question: str, spans: Iterable[str]) -> str:
    """Choose the first span that has the type the question word asks for and repeats none of its content words."""
    words = content_words(question)
    new = [span for span in spans if not words & content_words(span)]
    first = question.lower()
    if re.search(r"cuánt|qué año|cuándo|qué fecha|qué día|longitud|altitud|número", first):
        typed = [span for span in new if span[0].isdigit()]
    elif re.search(r"obra|título|titula", first):
        typed = [span for span in new if span[0] == "«"]
    elif re.search(r"quién|dónde|localidad|pueblo|lugar", first):
        typed = [span for span in new if span[0].isupper()]
    else:
        typed = new
    return next(iter(typed or new), "")


def overlap(question: str, context: str) -> str:
    """Answer with the best-typed candidate of the sentence that overlaps most with the question."""
    sentence = best_sentence(question, context)
    return best_candidate(question, candidates(sentence)) or sentence


def overlap_sentence(question: str, context: str) -> str:
    """Answer with the whole sentence that overlaps most with the question."""
    return best_sentence(question, context)


def first_of_type(question: str, context: str) -> str:
    """Answer with the first candidate of the context that has the type asked for, no matter about whom."""
    return best_candidate(question, candidates(context))


def predict(dataset: Mapping[str, Any], predictor: Predictor) -> dict[str, str]:
    """Map each question id to the prediction for it."""
    paragraphs = (paragraph for article in dataset["data"] for paragraph in article["paragraphs"])
    return {
        qa["id"]: predictor(qa["question"], paragraph["context"]) for paragraph in paragraphs for qa in paragraph["qas"]
    }


def mean_f1(dataset: Mapping[str, Any], predictions: Mapping[str, str]) -> float:
    """Return the mean F1 over all questions, in percent, by the metric that models are scored with."""
    qas = [qa for article in dataset["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    normalize = partial(normalize_mlqa, language="es")
    scores = [f1(predictions[qa["id"]], [answer["text"] for answer in qa["answers"]] or [""], normalize) for qa in qas]
    return 100 * sum(scores) / len(scores)


def sentence_recall(dataset: Mapping[str, Any]) -> float:
    """Return how often, in percent, the sentence with the highest overlap holds the answer.

    It bounds the exact match of any choice of a span from that sentence; an unanswerable question counts as a miss.
    """
    predictions = predict(dataset, overlap_sentence)
    qas = [qa for article in dataset["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    num_hits = sum(bool(qa["answers"]) and qa["answers"][0]["text"] in predictions[qa["id"]] for qa in qas)
    return 100 * num_hits / len(qas)


def load(name: str) -> dict[str, Any]:
    """Load one of the shipped files, ``train.json`` or ``dev.json``."""
    return json.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def main() -> None:
    """Print the score of every baseline on dev."""
    dev = load("dev.json")
    predictors: dict[str, Predictor] = {
        "overlap": overlap,
        "overlap_sentence": overlap_sentence,
        "first_of_type": first_of_type,
        "always_empty": lambda question, context: "",
    }
    for name, predictor in predictors.items():
        sys.stdout.write(f"{name:20} F1 {mean_f1(dev, predict(dev, predictor)):5.1f}\n")
    sys.stdout.write(f"sentence recall of overlap {sentence_recall(dev):5.1f} %\n")


if __name__ == "__main__":
    main()
