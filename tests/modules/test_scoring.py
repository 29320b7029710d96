"""The blind guess that the scores of a run of several tasks stand beside."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from distill.modules.scoring import evaluate_all


class Guessing:
    """A task whose batches are their targets, and whose guess is the class alone."""

    def guess(self, batch, target, num_classes):
        return torch.tensor(target)

    def targets(self, batch):
        return torch.tensor(batch)


class Guesses:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def update(self, logits, batch) -> None:
        self.seen.append(int(logits))

    def compute(self) -> list[int]:
        return self.seen


def fake_module(training_batches):
    return SimpleNamespace(
        task=Guessing(),
        student=SimpleNamespace(config=SimpleNamespace(num_labels=3)),
        teacher=None,
        data=SimpleNamespace(train_dataloader=lambda: training_batches),
        trainer=SimpleNamespace(fast_dev_run=False),
        start_evaluation=lambda _: Guesses(),
        evaluate=lambda model, loader: None,
    )


def test_guess_is_the_most_frequent_class(monkeypatch):
    evaluations = evaluate_all(fake_module([[0, 1], [1]]), [[2], [2]], with_majority=True)
    assert evaluations.majority == [1, 1]


def test_processes_guess_alike_by_what_all_of_them_have_counted(monkeypatch):
    shares = [[[0, 1], [1]], [[2, 2], [2, 0]]]
    counts = [torch.tensor([1, 2]), torch.tensor([1, 0, 3])]

    def gather(own):
        assert any(torch.equal(own, other) for other in counts)
        return counts

    monkeypatch.setattr("distill.modules.scoring.gather", gather)
    for share in shares:
        assert evaluate_all(fake_module(share), [[0]], with_majority=True).majority == [2]
