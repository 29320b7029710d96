"""Perplexity is exact: by hand, over any split into batches, and over processes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from distill.files import write_json
from distill.tasks.masked_language import MaskedLanguageEvaluation
from distill.tasks.masked_language.evaluation import LARGEST
from distill.types import UserError

from .conftest import VOCABULARY, masked_batch, part


def logits_of(batch, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*batch.attention_mask.shape, VOCABULARY, generator=generator)


def scores(*pairs, num_blocks=6):
    evaluation = MaskedLanguageEvaluation(num_blocks)
    for logits, batch in pairs:
        evaluation.update(logits, batch)
    return evaluation.compute().scores


def test_scores_by_hand(batch):
    logits = logits_of(batch)
    losses, hits = [], []
    for block, row in enumerate(batch.labels["token_ids"].tolist()):
        for place, label in enumerate(row):
            if label != -100:
                values = logits[block, place].tolist()
                losses.append(math.log(sum(math.exp(value) for value in values)) - values[label])
                hits.append(values.index(max(values)) == label)
    result = scores((logits, batch))
    assert result["cross_entropy"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert result["perplexity"] == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-6)
    assert result["accuracy"] == pytest.approx(100 * sum(hits) / len(hits))
    assert result["num_masked_tokens"] == len(losses)


def test_a_perfect_and_an_ignorant_model(batch):
    targets = batch.labels["token_ids"].clamp_min(0)
    perfect = 100.0 * torch.nn.functional.one_hot(targets, VOCABULARY)
    assert scores((perfect, batch)) == pytest.approx(
        {
            "perplexity": 1,
            "cross_entropy": 0,
            "accuracy": 100,
            "num_masked_tokens": len(batch.labels["token_ids"][batch.labels["token_ids"] >= 0]),
        }
    )
    assert scores((torch.zeros_like(perfect), batch))["perplexity"] == pytest.approx(VOCABULARY)


@pytest.mark.parametrize(
    ("worst", "cross_entropy"),
    [(1e3, 1e3), (1e30, LARGEST), (math.inf, LARGEST), (math.nan, LARGEST)],
)
def test_model_that_has_diverged_is_told_in_figures_that_a_report_holds(batch, tmp_path, worst, cross_entropy):
    targets = batch.labels["token_ids"].clamp_min(0)
    wrong = torch.zeros(*targets.shape, VOCABULARY).scatter_(-1, ((targets + 1) % VOCABULARY)[..., None], worst)
    with pytest.warns(UserWarning, match="the model has diverged; .* told as 1e\\+12"):
        result = scores((wrong, batch))
    assert result["perplexity"] == LARGEST
    assert result["cross_entropy"] == pytest.approx(cross_entropy)
    # Lightning keeps what is logged in single precision.
    write_json(tmp_path / "report.json", {name: torch.tensor(value).item() for name, value in result.items()})


@pytest.mark.parametrize("cuts", [(0, 6), (0, 1, 6), (0, 2, 3, 4, 6)])
def test_any_split_into_batches_gives_the_same_scores(batch, cuts):
    """Batches hold unequally many hidden tokens, so a mean of the batches' means would differ."""
    logits = logits_of(batch)
    pieces = [(logits[a:b], part(batch, a, b)) for a, b in pairwise(cuts)]
    assert scores(*pieces) == pytest.approx(scores((logits, batch)), rel=1e-12)


def test_rows_of_the_hidden_places_alone_give_the_same_scores(batch):
    logits = logits_of(batch)
    rows = logits.flatten(0, 1)[batch.labels["token_ids"].flatten() != -100]
    surplus = torch.full((7, VOCABULARY), 50.0)
    assert scores((torch.cat((rows, surplus)), batch)) == scores((logits, batch))


def test_half_precision_is_widened_before_anything_is_summed(batch):
    logits = logits_of(batch).bfloat16()
    assert scores((logits, batch)) == scores((logits.float(), batch))


def test_batch_without_hidden_tokens_counts_as_nothing(batch):
    bare = masked_batch(num_blocks=2, share=0.0)
    logits = logits_of(batch)
    with_bare = scores((logits, batch), (logits_of(bare), bare), num_blocks=8)
    assert with_bare == scores((logits, batch))


def test_set_without_hidden_tokens_is_refused():
    bare = masked_batch(share=0.0)
    with pytest.raises(UserError, match="no token was hidden"):
        scores((logits_of(bare), bare))


def test_blocks_that_never_came_are_noticed_unless_the_run_is_a_trial(batch):
    evaluation = MaskedLanguageEvaluation(7)
    evaluation.update(logits_of(batch), batch)
    with pytest.raises(UserError, match="6 of 7 blocks"):
        evaluation.compute()
    trial = MaskedLanguageEvaluation(7, partial=True)
    trial.update(logits_of(batch), batch)
    assert trial.compute().scores["num_masked_tokens"] > 0


def score_own_share(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    batch = masked_batch()
    cut = slice(0, 1) if rank == 0 else slice(1, 6)
    evaluation = MaskedLanguageEvaluation(6)
    evaluation.update(logits_of(batch)[cut], part(batch, cut.start, cut.stop))
    torch.save(dict(evaluation.compute().scores), f"{folder}/scores-{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_agree_on_the_scores_of_one(tmp_path, batch):
    multiprocessing.spawn(score_own_share, (str(tmp_path),), nprocs=2)
    expected = scores((logits_of(batch), batch))
    for rank in range(2):
        assert torch.load(tmp_path / f"scores-{rank}.pt") == pytest.approx(expected, rel=1e-12)
