"""Recording: a forward pass that keeps the named hidden states and attention inputs, and nothing else.

Attention is recorded where it is computed: a function registered with transformers' attention interface calls the
ordinary SDPA kernel and, for the layers of an active recording, keeps its queries, keys and, if asked for, values. No
S x S map is made and the model computes exactly what it computes without recording, up to the last layer that is asked
for. Which precision the kernel runs in is decided there too, since the backward pass of the CPU's bfloat16 kernel costs
more than the whole layer around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from distill.types import AttentionInputs, Batch, ModelShape, Recording, RecordingPlan, UserError

#: Name under which SDPA that can be recorded is known to transformers.
ATTENTION_IMPLEMENTATION = "distill_sdpa"


def model_shape(model: PreTrainedModel | PreTrainedConfig) -> ModelShape:
    """Return the sizes of a model from its configuration."""
    config = model.config if isinstance(model, PreTrainedModel) else model
    return ModelShape(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_heads=config.num_attention_heads,
    )


@dataclass(frozen=True)
class _ActiveRecording:
    """The attention modules that are being recorded, each with its layer, and where their inputs go.

    Attributes:
        layer_of: The modules.
        values: Layers whose values are kept too.
        kept: Their inputs.
    """

    layer_of: Mapping[nn.Module, int]
    values: Collection[int]
    kept: dict[int, AttentionInputs]


# A context variable and not a module attribute: threads do not see each other's recordings, models stay picklable.
_ACTIVE: ContextVar[_ActiveRecording | None] = ContextVar("active_recording", default=None)


def _recorded_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute SDPA as transformers does; keep its inputs when the module is being recorded.

    bfloat16 on a CPU is widened where a gradient will be needed: the backward pass of that kernel takes 3 to 4 times as
    long as float32's (torch 2.13; 32 x 4 heads x 107 tokens x 16 to 64), and float32 is the more exact one.
    """
    active = _ACTIVE.get()
    if active is not None and module in active.layer_of:
        factor = query.shape[-1] ** -0.5 if scaling is None else scaling
        layer = active.layer_of[module]
        active.kept[layer] = AttentionInputs(query, key, value if layer in active.values else None, factor)
    attend = partial(sdpa_attention_forward, module, attention_mask=attention_mask, scaling=scaling, **kwargs)
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad:
        with torch.autocast("cpu", enabled=False):
            output, weights = attend(query=query.float(), key=key.float(), value=value.float())
            return output.to(query.dtype), weights
    return attend(query=query, key=key, value=value)


# What is known of the batch in the model's hands, see known_padding.
_IS_PADDED: ContextVar[bool | None] = ContextVar("is_padded", default=None)


@contextmanager
def known_padding(batch: Batch) -> Iterator[None]:
    """Let models know within whether the batch that they are given is padded, if it was seen on the CPU."""
    token = _IS_PADDED.set(batch.is_padded)
    try:
        yield
    finally:
        _IS_PADDED.reset(token)


def _mask(*, attention_mask: Tensor | None, allow_is_bidirectional_skip: bool = False, **kwargs: Any) -> Tensor | None:
    """Return transformers' SDPA mask, or None where it masks nothing, which SDPA has faster kernels for.

    Decoders do not say whether theirs may be skipped.

    Transformers looks at the mask's values in every forward pass of every model, and a GPU has then to be waited for.
    There the batch is believed, and without :func:`known_padding` a mask is made.
    """
    if attention_mask is not None and attention_mask.device.type != "cpu":
        if _IS_PADDED.get() is False:
            attention_mask = None
        else:
            allow_is_bidirectional_skip = False
    return sdpa_mask(attention_mask=attention_mask, allow_is_bidirectional_skip=allow_is_bidirectional_skip, **kwargs)


AttentionInterface.register(ATTENTION_IMPLEMENTATION, _recorded_sdpa)
AttentionMaskInterface.register(ATTENTION_IMPLEMENTATION, _mask)


class _Recorded(Exception):  # noqa: N818 - no error
    """Leaves a model whose further layers nobody needs."""


class Recorder:
    """Runs a model and keeps what a plan names.

    Works for encoders with one stack of distinct layers (BERT, RoBERTa, XLM-R, ELECTRA, DistilBERT and their like).
    A model whose attention can be recorded computes it by SDPA from then on, whatever it was loaded with.

    Args:
        model: A transformers encoder, with or without a head.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._layers = _encoder_layers(model)
        self._attentions = _attention_modules(model, self._layers)
        if self._attentions:
            model.set_attn_implementation(ATTENTION_IMPLEMENTATION)

    def check(self, plan: RecordingPlan) -> None:
        """Check that the model can be recorded as planned.

        Raises:
            UserError: If a named layer or state does not exist or this model family does not give it away.
        """
        num_layers = self.model.config.num_hidden_layers
        family = self.model.config.model_type
        if (plan.hidden_states or plan.attentions) and not self._layers:
            raise UserError(
                f"model family {family!r} has no stack of {num_layers} distinct layers to record (does it share "
                "layers?); use logit and label losses alone, or another family"
            )
        if plan.attentions and not self._attentions:
            raise UserError(
                f"model family {family!r} does not give away its queries and keys (its attention does not go through "
                "transformers' AttentionInterface); drop the attention loss, or use another family"
            )
        for what, asked, last in (
            ("hidden state", plan.hidden_states, num_layers),
            ("attention layer", plan.attentions, num_layers - 1),
        ):
            if wrong := sorted(index for index in asked if not 0 <= index <= last):
                raise UserError(f"cannot record {what} {wrong[0]} of a {family!r} model: it has 0 to {last}")

    def record(
        self, inputs: Mapping[str, Tensor], plan: RecordingPlan, read_logits: Callable[[Any], Tensor]
    ) -> Recording:
        """Run the model once, no further than needed, and return what the plan names.

        Gradients follow the caller's mode: nothing is detached. Hidden state l is what enters layer l, and the last
        one is what leaves the last layer; so state 0 is the embedding output after any projection to the hidden width.

        Args:
            inputs: Keyword arguments of the model, each (B, S).
            plan: What to keep.
            read_logits: Takes the head's scores from the model's output; not called when the plan leaves logits out.

        Returns:
            Hidden states (B, S, D) and attention inputs (B, H, S, d), in the model's precision.

        Raises:
            UserError: If the plan cannot be recorded, see :meth:`check`.
        """
        self.check(plan)
        recording = Recording()
        with self._keep_hidden_states(plan, recording), self._keep_attentions(plan, recording), self._stop_behind(plan):
            output = self.model(**inputs)
            if plan.logits:
                recording.logits = read_logits(output)
        return recording

    @contextmanager
    def _keep_hidden_states(self, plan: RecordingPlan, recording: Recording) -> Iterator[None]:
        def keep_input(state: int) -> Callable[..., None]:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                recording.hidden_states[state] = args[0] if args else kwargs["hidden_states"]

            return hook

        def keep_output(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            recording.hidden_states[len(self._layers)] = output[0] if isinstance(output, tuple) else output

        handles = [
            self._layers[-1].register_forward_hook(keep_output)
            if state == len(self._layers)
            else self._layers[state].register_forward_pre_hook(keep_input(state), with_kwargs=True)
            for state in plan.hidden_states
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _keep_attentions(self, plan: RecordingPlan, recording: Recording) -> Iterator[None]:
        layer_of = {self._attentions[layer]: layer for layer in plan.attentions}
        token = _ACTIVE.set(_ActiveRecording(layer_of, plan.values, recording.attentions))
        try:
            yield
        finally:
            _ACTIVE.reset(token)

    @contextmanager
    def _stop_behind(self, plan: RecordingPlan) -> Iterator[None]:
        def stop(_: nn.Module, __: tuple[Any, ...]) -> None:
            raise _Recorded

        # Behind the hook that keeps what enters this layer, which is the last thing needed.
        unneeded = self._layers[plan.depth(len(self._layers)) :]
        handles = [layer.register_forward_pre_hook(stop) for layer in unneeded[:1]]
        try:
            with suppress(_Recorded):
                yield
        finally:
            for handle in handles:
                handle.remove()


def record(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], plan: RecordingPlan, read_logits: Callable[[Any], Tensor]
) -> Recording:
    """Run the model once and return what the plan names; see :meth:`Recorder.record`.

    Looks the model's layers up each time: a loop over batches builds one :class:`Recorder` instead.
    """
    return Recorder(model).record(inputs, plan, read_logits)


def _encoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """Return the layers of the model's only stack of ``num_hidden_layers`` layers of one class, or nothing."""
    num_layers = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == num_layers and len({type(m) for m in module}) == 1:
            return list(module)
    return []


def _attention_modules(model: PreTrainedModel, layers: list[nn.Module]) -> list[nn.Module]:
    """Return the module of each layer that calls the attention interface, or nothing where that is not clear."""
    # Some families go through the interface and allow eager attention alone.
    if not (model._can_set_attn_implementation() and model._supports_sdpa):
        return []
    # Modules that hand themselves to the attention interface carry the scaling that they hand over with them.
    found = [[module for module in layer.modules() if hasattr(module, "scaling")] for layer in layers]
    return [modules[0] for modules in found] if all(len(modules) == 1 for modules in found) else []
