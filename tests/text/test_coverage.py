import pytest

from distill.text.coverage import measure_coverage


def test_figures_are_those_counted_by_hand(wordpiece):
    # el | pin ##gü ##ino | come . || el | el | el
    coverage = measure_coverage(["el pingüino come.", "el el el"], wordpiece)
    assert (coverage.documents, coverage.words, coverage.tokens) == (2, 6, 9)
    assert coverage.tokens_per_word == 1.5
    # Runs of letters: five of "el" or "come", one "pingüino".
    assert coverage.one_piece_share == pytest.approx(100 * 5 / 6, abs=0.01)
    assert coverage.describe() == "1.500 tokens per word, 83.3 % of words in one piece (6 words in 2 documents)"


def test_words_are_judged_behind_a_space(tokenizer):
    assert len(tokenizer.tokenize(" nació")) == 1 < len(tokenizer.tokenize("nació"))
    coverage = measure_coverage(["nació"], tokenizer)
    assert coverage.one_piece_share == 100.0
    assert coverage.tokens == len(tokenizer.tokenize("nació"))


def test_nothing_gives_zeros(tokenizer):
    coverage = measure_coverage([], tokenizer)
    assert (coverage.documents, coverage.words, coverage.tokens_per_word, coverage.one_piece_share) == (0, 0, 0, 0)
