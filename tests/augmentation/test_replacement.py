"""Copies with replaced words: answers stay exact, facts and names stay as they are."""

import re
from copy import deepcopy
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from distill.augmentation.masked_words import MaskedWords
from distill.augmentation.replacement import WordReplacement
from distill.augmentation.words import words_of
from distill.models.loading import load_tokenizer
from distill.tasks.question_answering.reading import read_examples
from distill.types import Answer, Example, UserError

CONTEXT = "El médico Mateo Güell vivió en Lérida con su perro. Después de 1910 se fue a Cádiz en un barco muy lento."
EXAMPLES = [
    Example("a", "¿Dónde vivió Mateo Güell?", CONTEXT, (Answer("Lérida", CONTEXT.index("Lérida")),)),
    Example("b", "¿Cuándo se fue?", CONTEXT, (Answer("1910", CONTEXT.index("1910")), Answer("Después de 1910", 52))),
    Example("c", "¿Quién era Ana?", CONTEXT),
]


@pytest.fixture(scope="module")
def masked_words():
    """A masked-language model with random weights and the embedded teacher's pieces."""
    tokenizer = load_tokenizer("embedded")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=514, **sizes)
    return MaskedWords(RobertaForMaskedLM(config).eval(), tokenizer, batch_size=32)


def test_everything_that_questions_depend_on_stays(masked_words):
    replacement = WordReplacement(probability=1.0, num_candidates=5, num_copies=3)
    copies = replacement(EXAMPLES, masked_words, np.random.default_rng(0))
    assert [copy.question_id for copy in copies] == [f"{name}#{number}" for number in (1, 2, 3) for name in "abc"]
    assert len({copy.context for copy in copies}) == 3
    for copy, original in zip(copies, EXAMPLES * 3, strict=True):
        assert copy.question == original.question
        assert [answer.text for answer in copy.answers] == [answer.text for answer in original.answers]
        assert all(copy.context.startswith(answer.text, answer.start_char) for answer in copy.answers)
        for kept in ("Mateo Güell", "vivió", "Lérida", "Después de 1910"):
            assert kept in copy.context
        before, after = CONTEXT.split(), copy.context.split()
        assert len(before) == len(after)
        changed = {old for old, new in zip(before, after, strict=True) if old != new}
        assert {"médico", "con", "su", "perro.", "barco", "muy", "lento."} <= changed


@pytest.mark.parametrize(
    ("question", "context", "kept", "replaced"),
    [
        ("¿Dónde nació Ana?", "En 1901, un año seco, Ana nació en Jaén.", {"Ana"}, {"un", "en"}),
        ("Ana, ¿dónde nació?", "Vino de una villa Ana, la de Jaén.", {"Ana"}, {"de", "una"}),
        ("¿dónde nació ana?", "Según un acta, Ana nació en Jaén.", {"Ana"}, {"un"}),
        ("¿Qué edad tiene el Sol?", "Visto de aquí, el sol es de oro.", {"sol"}, {"de", "el"}),
        ("¿Qué vota la ONU?", "Hoy vota la ONU por un plan.", {"ONU"}, {"la", "por", "un"}),
        ("¿Hay un mar en Jaén?", "En toda la zona de Jaén no hay un mar.", {"mar", "Jaén"}, {"la", "un"}),
    ],
)
def test_short_words_stay_where_the_question_names_them(masked_words, question, context, kept, replaced):
    [made] = WordReplacement(1.0, 5, 1)([Example("a", question, context)], masked_words, np.random.default_rng(0))
    before, after = (re.findall(r"\w+", text) for text in (context, made.context))
    changed = {old for old, new in zip(before, after, strict=True) if old != new}
    assert kept <= set(before) - changed
    assert replaced <= changed


def test_every_word_of_an_answer_stays_everywhere(masked_words):
    context = "Ayer vino la voz de la ONU, y la ONU no la vio en un año."
    example = Example("a", "¿Quién vino?", context, (Answer("la voz de la ONU", 10),))
    [made] = WordReplacement(1.0, 5, 1)([example], masked_words, np.random.default_rng(0))
    words = re.findall(r"\w+", made.context)
    assert (words.count("la"), words.count("ONU"), words.count("un")) == (4, 2, 0)


def test_no_word_of_a_question_or_answer_is_put_anywhere(masked_words):
    examples = [
        Example("a", "¿Qué río pasa por la Casa?", CONTEXT),
        Example("b", "¿Quién era?", CONTEXT, (Answer("Mateo Güell", CONTEXT.index("Mateo")),)),
    ]
    tempting = masked_words.tokenizer(" río casa Mateo", add_special_tokens=False)["input_ids"]
    assert len(tempting) == 3
    masked_words = deepcopy(masked_words)
    with torch.no_grad():
        masked_words.model.lm_head.bias[tempting] = 100.0
    ids, words = masked_words.read(CONTEXT)
    assert set(masked_words.candidates(ids, [words[-1:]], 3)[0][0]) == {"río", "casa", "Mateo"}
    for made in WordReplacement(1.0, 3, 2)(examples, masked_words, np.random.default_rng(0)):
        found = re.findall(r"\w+", made.context.casefold())
        assert not {"río", "casa", "qué", "era"} & set(found)
        assert found.count("mateo") == 1
        assert made.context != CONTEXT


def test_share_of_replaced_words(masked_words):
    context = " ".join(["una cosa que nadie sabe de verdad"] * 40)
    example = Example("a", "¿Qué?", context)
    shares = []
    for seed in range(5):
        [copy] = WordReplacement(0.4, 5, 1)([example], masked_words, np.random.default_rng(seed))
        pairs = zip(context.split(), copy.context.split(), strict=True)
        shares.append(np.mean([old != new for old, new in pairs]))
    assert np.mean(shares) == pytest.approx(0.4, abs=0.05)


def test_the_generator_decides(masked_words):
    first, again, other = (WordReplacement()(EXAMPLES, masked_words, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_thousand_copies_of_the_embedded_questions_have_exact_spans(masked_words):
    examples, _ = read_examples([Path(str(resources.files("distill.assets") / "qa_es" / "train.json"))])
    by_context: dict[str, list[Example]] = {}
    for example in examples:
        by_context.setdefault(example.context, []).append(example)
    replacement = WordReplacement(0.4, 15, 2)
    generator = np.random.default_rng(0)
    num_checked = num_answers = num_changed = 0
    for group in by_context.values():
        for copy, original in zip(replacement(group, masked_words, generator), group * 2, strict=True):
            assert [answer.text for answer in copy.answers] == [answer.text for answer in original.answers]
            for answer in copy.answers:
                assert copy.context[answer.start_char : answer.start_char + len(answer.text)] == answer.text
            num_checked += 1
            num_answers += len(copy.answers)
            num_changed += copy.context != original.context
            assert sum(1 for _ in words_of(copy.context)) == sum(1 for _ in words_of(original.context))
        if num_checked >= 1000:
            break
    assert num_checked >= 1000
    assert num_answers >= 800
    assert num_changed >= 0.99 * num_checked


@pytest.mark.parametrize(
    "settings", [{"probability": 0}, {"probability": 1.1}, {"num_candidates": 0}, {"num_copies": 0}]
)
def test_numbers_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match="--"):
        WordReplacement(**settings)
