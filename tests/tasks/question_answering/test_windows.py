import unicodedata
from types import SimpleNamespace

import pytest

from distill.tasks.question_answering.windows import NULL_POSITION, build_windows, check_lengths, count_flagged
from distill.types import Answer, Example, UserError

CONTEXT = (
    "El río Ebro nace en Fontibre, cerca de Reinosa, y desemboca en el mar Mediterráneo.\n\n  Íñigo Peña pagó 1.234,50 "
    "€ por un cigüeñal en Cádiz;\tla niña comió azúcar «blanca» y Miguel de Cervantes murió en Madrid en 1616."
)
ANSWERS = ["El", "Fontibre", "mar Mediterráneo", "Íñigo Peña", "1.234,50 €", "cigüeñal", "niña", "blanca", "1616"]
LENGTHS = {"max_length": 56, "doc_stride": 24, "max_question_length": 20}


def example(answer="Fontibre", context=CONTEXT, question="¿Dónde nace?", question_id="q"):
    return Example(question_id, question, context, (Answer(answer, context.index(answer)),))


def rows(columns):
    names = list(columns)
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def answer_of(row, context):
    first, last = row.start_position - row.context_start, row.end_position - row.context_start
    return context[row.offset_starts[first] : row.offset_ends[last]]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_are_recovered_from_every_window_that_holds_them(family, answer, form):
    context, answer = unicodedata.normalize(form, CONTEXT), unicodedata.normalize(form, answer)
    start_char = context.index(answer)
    end_char = start_char + len(answer)
    windows = rows(build_windows([example(answer, context)], family, **LENGTHS))
    assert len(windows) > 1
    num_holding = 0
    for row in windows:
        assert not row.answer_unreachable
        holds = min(row.offset_starts) <= start_char and end_char <= max(row.offset_ends)
        num_holding += holds
        if holds:
            # A tokenizer may join the answer to characters beside it, never cut it.
            found = answer_of(row, context)
            assert answer in found
            assert row.end_position == row.start_position or len(found) <= len(answer) + 2
        else:
            assert (row.start_position, row.end_position) == (NULL_POSITION, NULL_POSITION)
    assert num_holding >= 1


def test_words_are_recovered_exactly(family):
    for answer in ("Fontibre", "mar Mediterráneo", "cigüeñal", "niña"):
        windows = rows(build_windows([example(answer)], family, **LENGTHS))
        found = {answer_of(row, CONTEXT) for row in windows if row.start_position != NULL_POSITION}
        assert found == {answer}


def test_windows_cover_the_context_with_the_asked_overlap(family):
    whole = rows(build_windows([example()], family, max_length=500, doc_stride=24, max_question_length=20))
    assert len(whole) == 1
    tokens = list(zip(whole[0].offset_starts, whole[0].offset_ends, strict=True))
    covered = []
    windows = rows(build_windows([example()], family, **LENGTHS))
    for index, row in enumerate(windows):
        assert len(row.input_ids) <= 56
        assert len(row.offset_starts) == len(row.offset_ends) == row.context_end - row.context_start
        own = list(zip(row.offset_starts, row.offset_ends, strict=True))
        if index:
            assert own[:24] == covered[-24:]
            own = own[24:]
        covered += own
    assert covered == tokens


def test_offsets_hold_no_outer_whitespace(family):
    for row in rows(build_windows([example()], family, **LENGTHS)):
        for start, end in zip(row.offset_starts, row.offset_ends, strict=True):
            text = CONTEXT[start:end]
            assert text == text.strip()
            assert 0 <= start <= end <= len(CONTEXT)


def test_columns(family):
    columns = build_windows(
        [example(question_id="a"), example(question_id="b")], family, **LENGTHS, example_index_offset=5
    )
    assert ("token_type_ids" in columns) == ("token_type_ids" in family.model_input_names)
    assert columns["example_index"] == sorted(columns["example_index"])
    assert set(columns["example_index"]) == {5, 6}
    if "token_type_ids" in columns:
        row = rows(columns)[0]
        assert set(row.token_type_ids[row.context_start : row.context_end]) == {1}
    first = rows(columns)[0]
    assert first.input_ids[0] == family.cls_token_id
    assert build_windows([], family, **LENGTHS) == {name: [] for name in columns}


def test_a_batch_gives_the_same_windows_as_single_examples(family):
    examples = [example("Fontibre"), example("niña", question="¿Quién comió azúcar?"), example("El", "El fin.")]
    together = build_windows(examples, family, **LENGTHS)
    for index, one in enumerate(examples):
        alone = build_windows([one], family, **LENGTHS, example_index_offset=index)
        places = [i for i, owner in enumerate(together["example_index"]) if owner == index]
        assert alone == {name: [column[i] for i in places] for name, column in together.items()}


def test_impossible_questions_point_to_the_first_token(family):
    columns = build_windows([Example("q", "¿Qué?", CONTEXT)], family, **LENGTHS)
    assert set(columns["start_position"]) == set(columns["end_position"]) == {NULL_POSITION}
    assert count_flagged(columns, "answer_unreachable") == 0


def test_the_first_answer_counts(family):
    both = Example("q", "¿Qué?", CONTEXT, (Answer("niña", CONTEXT.index("niña")), Answer("Fontibre", 20)))
    found = {answer_of(row, CONTEXT) for row in rows(build_windows([both], family, **LENGTHS)) if row.start_position}
    assert found == {"niña"}


def test_an_answer_longer_than_any_window_is_flagged(family):
    long = Example("q", "¿Qué?", CONTEXT, (Answer(CONTEXT, 0),))
    columns = build_windows([long, example(question_id="r")], family, **LENGTHS)
    assert count_flagged(columns, "answer_unreachable") == 1
    assert {columns["start_position"][i] for i, owner in enumerate(columns["example_index"]) if not owner} == {0}


@pytest.mark.parametrize("limit", [8, 13, 20])
def test_long_questions_are_cut_and_counted(family, limit):
    long = example(question="¿Dónde, según los geógrafos más reputados, nace el río más caudaloso de España? " * 20)
    columns = build_windows(
        [long, example(question="¿?", question_id="r")], family, max_length=60, doc_stride=10, max_question_length=limit
    )
    assert count_flagged(columns, "question_truncated") == 1
    row = rows(columns)[0]
    assert row.question_truncated
    num_special = family.num_special_tokens_to_add(pair=True)
    num_question = len(row.input_ids) - (row.context_end - row.context_start) - num_special
    assert 1 <= num_question <= limit


def test_short_questions_are_whole(family):
    columns = build_windows([example()], family, **LENGTHS)
    assert count_flagged(columns, "question_truncated") == 0


def test_composed_and_decomposed_text_give_the_same_tokens(family):
    one = build_windows([example()], family, **LENGTHS)
    context = unicodedata.normalize("NFD", CONTEXT)
    other = build_windows(
        [example(context=context, question=unicodedata.normalize("NFD", "¿Dónde nace?"))], family, **LENGTHS
    )
    assert other["input_ids"] == one["input_ids"]
    assert other["start_position"] == one["start_position"]


def test_a_context_without_tokens_gives_a_window_without_offsets(tokenizers):
    """The BERT normaliser drops control characters."""
    columns = build_windows([Example("q", "¿Qué?", "\u0001\u0002")], tokenizers["word_piece"], **LENGTHS)
    assert columns["offset_starts"] == [[]]
    assert columns["context_start"] == columns["context_end"]


def test_dropped_characters_do_not_hide_an_answer(tokenizers):
    context = "Nace en \u0001Fontibre\u0001 hoy."
    one = Example("q", "¿Dónde?", context, (Answer("\u0001Fontibre\u0001", 8),))
    row = rows(build_windows([one], tokenizers["word_piece"], **LENGTHS))[0]
    assert answer_of(row, context) == "Fontibre"


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((20, 8, 16), "max_length 20 is too short"),
        ((48, -1, 16), "doc_stride must be at least 0"),
        ((48, 8, 7), "max_question_length must be at least 8, got 7"),
    ],
)
def test_lengths_must_fit(family, lengths, message):
    with pytest.raises(UserError, match=message):
        check_lengths(family, *lengths)
    with pytest.raises(UserError, match=message):
        build_windows([example()], family, *lengths)


def test_the_least_length_that_is_accepted_works(family):
    least = 8 + family.num_special_tokens_to_add(pair=True) + 2 + 1
    windows = rows(build_windows([example(question="¿🏽" * 30)], family, least, 2, 8))
    assert max(max(row.offset_ends) for row in windows) == len(CONTEXT)
    with pytest.raises(UserError, match=f"= {least} is the least"):
        check_lengths(family, least - 1, 2, 8)


def test_slow_tokenizers_are_refused():
    with pytest.raises(UserError, match="slow tokenizer"):
        check_lengths(SimpleNamespace(is_fast=False), 48, 8, 16)
