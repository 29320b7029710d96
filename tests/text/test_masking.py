import numpy as np
import pytest

from distill.text.masking import IGNORED, WholeWordMasking
from distill.text.vocabulary import PieceTable
from distill.types import UserError

PAD, CLS, SEP, MASK = range(4)
#: Pieces: 4 special, 40 that begin a word, 40 that continue one, a full stop that stands alone.
STOP = 84
TABLE = PieceTable(
    begins_word=np.arange(85) < 44,
    stands_alone=np.arange(85) == STOP,
    is_special=np.arange(85) < 4,
    ordinary_ids=np.arange(4, 85),
    mask_id=MASK,
    pad_id=PAD,
)


def blocks(num_blocks=400, length=64) -> np.ndarray:
    """Words of one to three pieces, a full stop behind each tenth of them, framed, the last rows padded."""
    rng = np.random.default_rng(0)
    rows = np.full((num_blocks, length), PAD)
    for i, row in enumerate(rows):
        end = length - (i % 5) * 7
        content: list[int] = []
        while len(content) < end - 2:
            content += [rng.integers(4, 44), *rng.integers(44, 84, rng.integers(0, 3))]
            content += [STOP] * (rng.random() < 0.1)
        row[:end] = [CLS, *content[: end - 2], SEP]
    return rows


IDS = blocks()
BLOCK_IDS = np.arange(len(IDS)) * 17


def masked(ids=IDS, block_ids=BLOCK_IDS, seed=1, epoch=0, **shares):
    return WholeWordMasking(**shares)(ids, block_ids, TABLE, seed, epoch)


def test_one_token_in_seven_is_predicted_eighty_ten_ten():
    inputs, labels = masked()
    chosen = labels != IGNORED
    num_chosen = chosen.sum()
    assert num_chosen / (IDS >= 4).sum() == pytest.approx(0.15, abs=0.01)
    assert (labels[chosen] == IDS[chosen]).all()
    assert (inputs[~chosen] == IDS[~chosen]).all()
    hidden, kept = inputs[chosen] == MASK, inputs[chosen] == IDS[chosen]
    assert hidden.sum() / num_chosen == pytest.approx(0.8, abs=0.02)
    # One random piece in 81 is the original by chance.
    assert kept.sum() / num_chosen == pytest.approx(0.1 + 0.1 / 81, abs=0.015)
    replacements = inputs[chosen][~hidden & ~kept]
    assert set(replacements) <= set(TABLE.ordinary_ids)
    assert len(set(replacements)) > 60


def test_special_tokens_and_padding_are_never_chosen():
    _, labels = masked(probability=1.0)
    assert ((labels == IGNORED) == (IDS < 4)).all()


def words_of(row) -> list[list[int]]:
    """Group the positions of a block into words, one by one: an independent account of what a word is."""
    words: list[list[int]] = []
    before = CLS
    for position, piece in enumerate(row):
        if piece >= 4:
            starts = piece < 44 or STOP in (piece, before) or before < 4
            if starts:
                words.append([])
            words[-1].append(position)
        before = piece
    return words


def test_words_are_chosen_whole_and_independently():
    _, labels = masked()
    num_words = num_chosen = 0
    for row, label in zip(IDS, labels, strict=True):
        for word in words_of(row):
            flags = label[word] != IGNORED
            assert flags.all() or not flags.any()
            num_words += 1
            num_chosen += flags[0]
    assert num_chosen / num_words == pytest.approx(0.15, abs=0.01)


def test_every_block_with_words_has_one_to_predict():
    _, labels = masked(probability=1e-9)
    for row, label in zip(IDS, labels, strict=True):
        chosen = [word for word in words_of(row) if (label[word] != IGNORED).all()]
        assert len(chosen) == 1
        assert (label != IGNORED).sum() == len(chosen[0])
    inputs, labels = masked(ids=np.full((2, 5), PAD), block_ids=np.arange(2))
    assert (labels == IGNORED).all()
    assert (inputs == PAD).all()


def test_batch_split_and_order_change_nothing():
    inputs, labels = masked()
    order = np.random.default_rng(1).permutation(len(IDS))
    for part in np.split(order, [1, 7, 200]):
        own_inputs, own_labels = masked(IDS[part], BLOCK_IDS[part])
        assert (own_inputs == inputs[part]).all()
        assert (own_labels == labels[part]).all()


@pytest.mark.parametrize("changes", [{"seed": 2}, {"epoch": 1}, {"block_ids": BLOCK_IDS + 1}])
def test_seed_epoch_and_block_each_give_other_words(changes):
    chosen, other = masked()[1] != IGNORED, masked(**changes)[1] != IGNORED
    both = (chosen & other).sum() / chosen.sum()
    assert both == pytest.approx(0.15, abs=0.03)  # what independent choices share


def test_seed_and_epoch_are_not_interchangeable():
    assert (masked(seed=1, epoch=2)[1] != masked(seed=2, epoch=1)[1]).any()


def test_draws_of_one_position_are_independent():
    # Among chosen tokens, how a token is treated says nothing of how its neighbour is.
    inputs, labels = masked(probability=0.9)
    chosen = labels != IGNORED
    hidden = (inputs == MASK)[chosen].astype(float)
    assert abs(np.corrcoef(hidden[1:], hidden[:-1])[0, 1]) < 0.02


def test_empty_batch_stays_empty():
    inputs, labels = masked(ids=np.zeros((0, 8), np.int64), block_ids=np.zeros(0, np.int64))
    assert inputs.shape == labels.shape == (0, 8)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"probability": 0.0}, "probability must be above 0"),
        ({"probability": 1.5}, "probability must be above 0"),
        ({"mask_share": 0.95}, "mask_share 0.95 and random_share 0.1 must be shares of a whole"),
        ({"mask_share": -0.1}, "must be shares of a whole"),
    ],
)
def test_shares_out_of_range_are_refused(shares, message):
    with pytest.raises(UserError, match=message):
        WholeWordMasking(**shares)
