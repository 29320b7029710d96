"""The objective of every published recipe against its formula, written down from the text, on whole models.

Two models with random weights of unlike widths read windows of unlike lengths. What their layers compute is taken from
transformers' own eager attention and its linear maps, in float64, and put together here as the papers and their
released codes have it; nothing of the package's losses is used on that side but the weights that they learn.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F
from transformers import RobertaConfig, RobertaForQuestionAnswering

from distill.losses import AttentionLoss, HiddenStateLoss, LabelLoss, LogitLoss, RelationLoss
from distill.losses.objective import Objective
from distill.models.layer_map import SeparateLayers, resolve_layer_map
from distill.models.recording import Recorder, model_shape
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch
from tests.test_configs import CONFIGS

TOLERANCE = 1e-6
CLASSES = {loss.__name__: loss for loss in (AttentionLoss, HiddenStateLoss, LabelLoss, LogitLoss, RelationLoss)}

#: Windows of 9, 6 and 2 tokens.
MASK = torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7])
INPUTS = {
    "input_ids": torch.randint(3, 40, (3, 9), generator=torch.Generator().manual_seed(1)).where(MASK.bool(), 1),
    "attention_mask": MASK,
}
LABELS = {"start_positions": torch.tensor([2, 0, 1]), "end_positions": torch.tensor([4, 0, 1])}
REAL = MASK.bool()


def build(seed: int, num_layers: int, hidden_size: int, num_heads: int) -> RobertaForQuestionAnswering:
    """Return a model whose attention is far from even."""
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=40, num_hidden_layers=num_layers, hidden_size=hidden_size, num_attention_heads=num_heads,
        intermediate_size=24, max_position_embeddings=20, pad_token_id=1, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=0.4,
    )  # fmt: skip
    return RobertaForQuestionAnswering(config).double().eval()


@dataclass
class Seen:
    """What a model computes, as transformers gives it away: states and maps from the first on, scores of a head."""

    states: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]
    start: Tensor
    end: Tensor
    model: RobertaForQuestionAnswering

    def read(self, layer: int, name: str) -> Tensor:
        """Return (B, S, D), a layer's queries, keys or values of all heads, joined."""
        return getattr(self.model.roberta.encoder.layer[layer].attention.self, name)(self.states[layer])


@torch.no_grad()
def look(model: RobertaForQuestionAnswering) -> Seen:
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    output = eager(**INPUTS, output_hidden_states=True, output_attentions=True)
    return Seen(output.hidden_states, output.attentions, output.start_logits, output.end_logits, eager)


class Recipe:
    """A recipe's objective as the package builds it, on two models."""

    def __init__(self, name: str, student: Any, teacher: Any, **changes: Any) -> None:
        settings = yaml.safe_load((CONFIGS / "recipes" / f"{name}.yaml").read_text(encoding="utf-8"))
        arguments = settings["model"]["init_args"]
        self.stages = settings["schedule"]["stages"]
        terms = {
            term: CLASSES[loss["class_path"].split(".")[-1]](**{**loss.get("init_args", {}), **changes.get(term, {})})
            for term, loss in arguments["losses"].items()
        }
        shapes = [model_shape(model) for model in (student, teacher)]
        layer_map = changes.get("layer_map", arguments.get("layer_map", "uniform"))
        if isinstance(layer_map, dict):
            layer_map = SeparateLayers(**layer_map)
        self.task = QuestionAnswering()
        self.objective = Objective(terms)
        self.objective.bind(*shapes, resolve_layer_map(layer_map, *shapes), self.task)
        self.objective.double()
        self.models = student, teacher

    @torch.no_grad()
    def value(self, stage: str) -> float:
        settings = self.stages[stage]
        recordings = [
            Recorder(model).record(INPUTS, plan, self.task.logits) if plan is not None else None
            for model, plan in zip(self.models, self.objective.plans(settings["weights"]), strict=True)
        ]
        batch = Batch(INPUTS, LABELS, torch.arange(3))
        return float(self.objective(*recordings, batch, settings["weights"], settings.get("temperature", 1.0)).total)


def batch_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the KL of the classes that both tempered softmaxes give, a window's mean, times the temperature's square.

    Padding is among the classes, as in the released codes.
    """
    p, q = ((scores / temperature).softmax(-1) for scores in (teacher, student))
    return temperature**2 * (p * (p / q).log()).sum() / len(student)


def cross_entropy(seen: Seen) -> Tensor:
    """Return the mean over start and end of the labels' cross entropy, padding among the classes."""
    start, end = (F.cross_entropy(getattr(seen, side), LABELS[f"{side}_positions"]) for side in ("start", "end"))
    return (start + end) / 2


@torch.no_grad()
def test_spanish_tinyroberta():
    """KL(start) + KL(end) + CE + sum of MSE(maps after softmax) + sum of MSE(fit_dense(states)), all of weight 1."""
    student, teacher = build(0, 6, 8, 4), build(1, 24, 16, 4)
    recipe = Recipe("spanish_tinyroberta", student, teacher)
    mine, other = look(student), look(teacher)
    (fit_dense,) = recipe.objective.terms["hidden"].projections
    expected = batch_divergence(mine.start, other.start, 1.0) + batch_divergence(mine.end, other.end, 1.0)
    expected += cross_entropy(mine)
    for layer in range(6):
        expected += (mine.maps[layer] - other.maps[4 * layer + 3]).square().mean()
    for state in range(7):
        expected += (fit_dense(mine.states[state]) - other.states[4 * state]).square().mean()
    assert recipe.value("distillation") == pytest.approx(float(expected), rel=TOLERANCE)


@torch.no_grad()
def test_tinybert():
    """First MSE of scores before the softmax, masked ones set to 0 in both, and of fit_dense(states); then soft CE."""
    student, teacher = build(2, 2, 8, 4), build(3, 4, 16, 4)
    recipe = Recipe("tinybert", student, teacher)
    mine, other = look(student), look(teacher)
    (fit_dense,) = recipe.objective.terms["hidden"].projections

    def scores(seen: Seen, layer: int) -> Tensor:
        query, key = (seen.read(layer, name).unflatten(-1, (4, -1)).transpose(1, 2) for name in ("query", "key"))
        raw = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 - 10_000.0 * ~REAL[:, None, None, :]
        return raw.where(raw > -1e2, 0.0)

    expected = sum(F.mse_loss(scores(mine, layer), scores(other, 2 * layer + 1)) for layer in range(2))
    expected += sum(F.mse_loss(fit_dense(mine.states[state]), other.states[2 * state]) for state in range(3))
    assert recipe.value("intermediate") == pytest.approx(float(expected), rel=TOLERANCE)

    # The code's mean over windows and classes, of start and end; over 2 or 3 classes in its tasks, over places here.
    literal = [
        (-getattr(other, side).softmax(-1) * getattr(mine, side).log_softmax(-1)).mean() for side in ("start", "end")
    ]
    num_places = INPUTS["input_ids"].shape[1]
    # The recipe has the paper's cross entropy, the sum over classes; a weight of 1 / places makes it the code's mean.
    assert recipe.value("prediction") == pytest.approx(num_places * float(sum(literal)) / 2, rel=TOLERANCE)
    recipe.stages["prediction"]["weights"] = {"logits": 1 / num_places}
    assert recipe.value("prediction") == pytest.approx(float(sum(literal)) / 2, rel=TOLERANCE)


def test_header_of_tinybert_names_the_weight_of_the_codes_mean():
    file = CONFIGS / "recipes" / "tinybert.yaml"
    text = file.read_text(encoding="utf-8")
    max_length = yaml.safe_load(text)["data"]["init_args"]["max_length"]
    assert f"--schedule.stages.prediction.weights '{{logits: {1 / max_length:.4g}}}' (1 / {max_length})" in text


@torch.no_grad()
def test_distilbert_qa():
    """0.5 (KL(start) + KL(end)) / 2 T^2 + 0.5 CE at T 2."""
    student, teacher = build(4, 6, 8, 2), build(5, 12, 8, 2)
    recipe = Recipe("distilbert_qa", student, teacher)
    mine, other = look(student), look(teacher)
    divergences = [batch_divergence(getattr(mine, side), getattr(other, side), 2.0) for side in ("start", "end")]
    expected = 0.5 * sum(divergences) / 2 + 0.5 * cross_entropy(mine)
    assert recipe.value("distillation") == pytest.approx(float(expected), rel=TOLERANCE)


@torch.no_grad()
def test_minilm():
    """Sum over QQ, KK, VV of 1 / (A n) sum over relation heads and tokens of KL(R_t || R_s); unequal heads, widths."""
    student, teacher = build(6, 2, 8, 2), build(7, 5, 12, 3)
    num_relation_heads = 4
    changes = {"num_relation_heads": num_relation_heads, "student_layer": 1, "teacher_layer": 3}
    recipe = Recipe("minilm", student, teacher, relations=changes)
    mine, other = look(student), look(teacher)

    def relations(seen: Seen, layer: int, name: str, window: int) -> Tensor:
        """Return (A, n, n) over the real tokens of one window."""
        vectors = seen.read(layer, name)[window][REAL[window]]
        pieces = vectors.unflatten(-1, (num_relation_heads, -1)).transpose(0, 1)
        return (pieces @ pieces.transpose(-1, -2) / pieces.shape[-1] ** 0.5).softmax(-1)

    expected = torch.zeros((), dtype=torch.float64)
    for name in ("query", "key", "value"):
        for window in range(3):
            r_s, r_t = relations(mine, 1, name, window), relations(other, 3, name, window)
            expected += (r_t * (r_t / r_s).log()).sum() / (num_relation_heads * REAL.sum())
    assert recipe.value("relations") == pytest.approx(float(expected), rel=TOLERANCE)
