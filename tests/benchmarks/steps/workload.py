"""What every arm trains: the same models, the same batches, the same optimizer; needs torch and transformers alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForQuestionAnswering

#: (student layer, teacher layer), counted from 0, and the states that these layers give.
LAYERS = ((0, 2), (1, 5), (2, 8), (3, 11))
STATES = tuple((student + 1, teacher + 1) for student, teacher in LAYERS)
TEMPERATURE = 2.0
VOCABULARY = 30522
BATCH_SIZE, LENGTH = 4, 384
NUM_BATCHES = 8
#: Layers, width, width of the feed-forward part.
TEACHER, STUDENT = (12, 256, 1024), (4, 128, 512)
NUM_HEADS = 8


class Finished(Exception):  # noqa: N818 - no error
    """Ends whatever loop an arm runs in, once all steps are timed."""


@dataclass
class Stopwatch:
    """Times the steps of an optimizer: each from the end of the step before it, so with everything between them."""

    warmup: int
    steps: int
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    _seen: int = 0
    _last: tuple[float, float] = (0.0, 0.0)

    def follow(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Time the optimizer's steps from now on; return it."""
        optimizer.register_step_post_hook(lambda *_: self._stop())
        return optimizer

    def _stop(self) -> None:
        now = time.perf_counter(), time.process_time()
        if self._seen > self.warmup:
            self.wall.append(now[0] - self._last[0])
            self.processor.append(now[1] - self._last[1])
        self._seen += 1
        self._last = time.perf_counter(), time.process_time()
        if self._seen > self.warmup + self.steps:
            raise Finished


def build(sizes: tuple[int, int, int], attention: str = "sdpa") -> BertForQuestionAnswering:
    """Return a model with random weights and no dropout, under which SDPA would leave its fast kernel on a CPU."""
    num_layers, hidden_size, intermediate_size = sizes
    config = BertConfig(
        vocab_size=VOCABULARY, num_hidden_layers=num_layers, hidden_size=hidden_size, num_attention_heads=NUM_HEADS,
        intermediate_size=intermediate_size, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        attn_implementation=attention,
    )  # fmt: skip
    torch.manual_seed(num_layers)
    return BertForQuestionAnswering(config)


def frozen_teacher(attention: str = "sdpa") -> BertForQuestionAnswering:
    """Return the teacher."""
    return build(TEACHER, attention).eval().requires_grad_(False)


def batches(num_batches: int = NUM_BATCHES) -> list[dict[str, Tensor]]:
    """Return batches of random tokens without padding, as ``input_ids`` and ``attention_mask``."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, VOCABULARY, (num_batches, BATCH_SIZE, LENGTH), generator=generator)
    return [{"input_ids": one, "attention_mask": torch.ones_like(one)} for one in ids]


def labels(num_batches: int = NUM_BATCHES) -> list[dict[str, Tensor]]:
    """Return the first and last token of the answers of every batch."""
    generator = torch.Generator().manual_seed(1)
    spans = torch.randint(0, LENGTH, (num_batches, 2, BATCH_SIZE), generator=generator)
    return [{"start_positions": start, "end_positions": end} for start, end in spans]


def adamw(*modules: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of what can be trained in some modules."""
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(parameters, lr=1e-4, fused=True)


def rows(output: Any) -> Tensor:
    """Return a model's logits as (B, 2, S)."""
    return torch.stack((output.start_logits, output.end_logits), 1)


class Exposed(nn.Module):
    """A model whose mapped states, attention maps and logits pass through modules of their own, for tools with hooks.

    Args:
        model: The model.
        states: Which hidden states.
        layers: Which layers' attention; none where it is not compared.
        width: What states are projected to; None leaves them.
    """

    def __init__(
        self, model: BertForQuestionAnswering, states: Sequence[int], layers: Sequence[int], width: int | None
    ) -> None:
        super().__init__()
        self.model = model
        self.state_indices, self.layer_indices = tuple(states), tuple(layers)
        own = model.config.hidden_size
        self.states = nn.ModuleList(nn.Identity() if width is None else nn.Linear(own, width) for _ in states)
        self.maps = nn.ModuleList(nn.Identity() for _ in layers)
        self.logits = nn.Identity()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        output = self.model(
            input_ids=input_ids, attention_mask=attention_mask,
            output_hidden_states=bool(self.state_indices), output_attentions=bool(self.layer_indices),
        )  # fmt: skip
        for index, module in zip(self.state_indices, self.states, strict=True):
            module(output.hidden_states[index])
        for index, module in zip(self.layer_indices, self.maps, strict=True):
            module(output.attentions[index])
        return self.logits(rows(output))
