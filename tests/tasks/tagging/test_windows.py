"""Every word has its label at its first sub-word, once, whatever the tokenizer and the length."""

from __future__ import annotations

from itertools import chain

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from distill.models.loading import EMBEDDED, load_tokenizer
from distill.tasks.labelled import IGNORED
from distill.tasks.tagging import TaggedSentence, TokenClassification, build_windows
from distill.types import UserError

LABELS = {"O": 0, "B-PER": 1, "I-PER": 2}
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ"),
    *("SYM", "VERB", "X", "_"),
)
SENTENCE = TaggedSentence("a:1", ("Lucía", "Ferrer", "nació", "."), ("B-PER", "I-PER", "O", "O"))


def wordpiece(unknown: str | None = "[UNK]") -> PreTrainedTokenizerFast:
    """A WordPiece of letters that drops control characters, as BERT's does."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdeé.", *(f"##{letter}" for letter in "abcdeé")]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token=unknown,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def labelled_words(columns) -> dict[int, list[tuple[int, int]]]:
    """Return, for each sentence, word and label at every labelled place, in the order of the windows."""
    found: dict[int, list[tuple[int, int]]] = {}
    for index, labels, words in zip(columns["example_index"], columns["label_ids"], columns["word_ids"], strict=True):
        given = [label for label in labels if label != IGNORED]
        found.setdefault(index, []).extend(zip(words, given, strict=True))
    return found


def test_label_at_the_first_sub_word_alone():
    tokenizer = load_tokenizer(EMBEDDED)
    columns = build_windows([SENTENCE], tokenizer, LABELS, 64)
    (ids,), (labels,) = columns["input_ids"], columns["label_ids"]
    expected = [IGNORED]
    for word, label in zip(("Lucía", " Ferrer", " nació", " ."), (1, 2, 0, 0), strict=True):
        pieces = tokenizer(word, add_special_tokens=False).tokens()
        first = pieces[0] == "Ġ"  # a space by itself shows nothing of the word
        expected += [label if place == first else IGNORED for place in range(len(pieces))]
    assert labels == [*expected, IGNORED]
    assert ids == tokenizer("Lucía Ferrer nació .")["input_ids"]
    assert columns["word_ids"] == [[0, 1, 2, 3]]


def test_by_hand_with_word_pieces():
    columns = build_windows([TaggedSentence("a:1", ("ab.", "é"), ("B-PER", "O"))], wordpiece(), LABELS, 16)
    # [CLS] a ##b . é [SEP]
    assert columns["input_ids"] == [[2, 4, 12, 10, 9, 3]]
    assert columns["label_ids"] == [[IGNORED, 1, IGNORED, IGNORED, 0, IGNORED]]
    assert columns["token_type_ids"] == [[0] * 6]


def test_decomposed_accents_are_read_as_composed_ones():
    plain = TaggedSentence("a:1", ("é",), ("O",))
    split = TaggedSentence("a:1", ("é",), ("O",))
    assert build_windows([split], wordpiece(), LABELS, 16) == build_windows([plain], wordpiece(), LABELS, 16)


def test_a_dropped_word_stands_as_the_unknown_token():
    sentence = TaggedSentence("a:1", ("a", "\u0007", "b"), ("O", "B-PER", "O"))
    columns = build_windows([sentence], wordpiece(), LABELS, 16)
    assert columns["input_ids"] == [[2, 4, 1, 5, 3]]
    assert columns["label_ids"] == [[IGNORED, 0, 1, 0, IGNORED]]
    with pytest.raises(UserError, match=r"a:1: the tokenizer has no token for the word '\\x07'"):
        build_windows([sentence], wordpiece(unknown=None), LABELS, 16)


def test_words_with_dropped_beginnings_or_spaces_inside():
    sentence = TaggedSentence("a:1", ("\u0007a", "b c", "d"), ("B-PER", "I-PER", "O"))
    columns = build_windows([sentence], wordpiece(), LABELS, 16)
    assert columns["label_ids"] == [[IGNORED, 1, 2, IGNORED, 0, IGNORED]]


@pytest.mark.parametrize("max_length", [8, 11, 16, 40])
def test_long_sentences_are_cut_into_windows_that_label_every_word_once(max_length):
    words = tuple(chain.from_iterable(("ab", "c", "deab", ".") for _ in range(12)))
    labels = tuple("B-PER" if word == "ab" else "O" for word in words)
    columns = build_windows([SENTENCE, TaggedSentence("a:2", words, labels)], wordpiece(), LABELS, max_length, 5)
    assert max(map(len, columns["input_ids"])) <= max_length
    found = labelled_words(columns)[6]
    assert found == [(index, LABELS[label]) for index, label in enumerate(labels)]
    assert columns["example_index"].count(6) > 1


def test_words_are_labelled_where_they_have_most_context():
    words = tuple("abcde" * 6)
    columns = build_windows([TaggedSentence("a:1", words, ("O",) * 30)], wordpiece(), LABELS, 18)
    # Windows of 16 words that share 4: the first two of these are labelled in the earlier window.
    assert columns["word_ids"] == [list(range(14)), list(range(14, 26)), list(range(26, 30))]


def test_unlabelled_sentences_mark_their_words():
    (labels,) = build_windows([TaggedSentence("a:1", ("ab", "c"))], wordpiece(), LABELS, 16)["label_ids"]
    assert labels == [IGNORED, 0, IGNORED, 0, IGNORED]


@pytest.mark.parametrize("name", ["ner/esp.train", "ner/esp.testa", "ner/esp.testb"])
def test_every_sentence_of_conll_2002_is_aligned(real_data, name):
    check_alignment(TokenClassification(), real_data / name, load_tokenizer(EMBEDDED))


@pytest.mark.parametrize("name", ["pos/es_ancora-ud-dev.conllu", "pos/es_ancora-ud-test.conllu"])
def test_every_sentence_of_ancora_is_aligned(real_data, name):
    check_alignment(TokenClassification(UPOS), real_data / name, load_tokenizer(EMBEDDED))


def check_alignment(task, file, tokenizer, max_length: int = 64) -> None:
    """Check each word of each sentence: labelled once, at the token that begins with the word's first letter."""
    sentences, _ = task.read([file])
    columns = task.columns(sentences, tokenizer, max_length)
    found = labelled_words(columns)
    assert len(found) == len(sentences)
    for index, sentence in enumerate(sentences):
        assert found[index] == [(word, task.label_ids[label]) for word, label in enumerate(sentence.labels)]
    for index, ids, labels, words in zip(
        columns["example_index"], columns["input_ids"], columns["label_ids"], columns["word_ids"], strict=True
    ):
        places = [place for place, label in enumerate(labels) if label != IGNORED]
        for place, following, word in zip(places, [*places[1:], len(ids)][: len(places)], words, strict=True):
            # What stands from the label to the next one, decoded, begins as the word does.
            spoken = tokenizer.decode(ids[place:following], skip_special_tokens=True).strip()
            assert spoken[:1] == sentences[index].words[word][:1], sentences[index].sentence_id
