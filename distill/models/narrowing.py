"""A narrower student's start: the teacher's layers, read and written through a linear map of its hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from distill.models.families import family_of, find_part, intermediate_size
from distill.models.inheritance import Inheritance, InheritedTensor, Origin, check_not_wider
from distill.models.projection import (
    Affine,
    cut_product,
    fit_norm,
    identity_root,
    moment_root,
    principal_map,
    regress,
)
from distill.models.sampling import sample_parts
from distill.types import Batch


def inherit_projected(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    layers: Sequence[int],
    batches: Sequence[Batch],
    num_head_groups: int = 1,
) -> Inheritance:
    """Start a narrower student as the best small picture of the named teacher layers on sampled text; change it.

    One map E takes all hidden states h of the teacher to the student's width, ``z = E h``: their principal components
    (:func:`~distill.models.projection.principal_map`; the idea of SliceGPT, arXiv 2401.15024, made fit for layer norms
    that have a mean and a gain). Then, part by part, on the teacher's activations:

    - a row r of an embedding table becomes E r;
    - what reads h reads ``R z + c`` instead, found by regression;
    - each head's products ``W_q^T W_k`` and ``W_o W_v`` become the closest ones of the student's head width; where the
      student has fewer heads, those that write the most energy are kept, equally many of each group, and the others'
      mean goes into the bias;
    - of the feed-forward units those that write the most variance are kept, and the second matrix is fitted to write
      what all of them wrote;
    - gain and bias of layer norms are fitted coordinate by coordinate.

    Heads for other tasks than question answering stay random.

    Args:
        student: A model of the teacher's family, in no respect wider; changed in place.
        teacher: The model to start from, in evaluation mode.
        layers: One teacher layer, counted from 0, for each student layer.
        batches: Text of the kind that the student will see.
        num_head_groups: Runs of neighbouring heads, of both models, that are to stand for one another, as those do
            which a loss compares (:func:`~distill.losses.attention.num_attention_maps`); divides both numbers of heads.

    Raises:
        UserError: If the student is wider somewhere, or the family is not known.
    """
    check_not_wider(student.config, teacher.config)
    # Wherever and in whatever precision the run builds its models: this is computed here, in full.
    with torch.no_grad(), torch.device("cpu"):
        return _Narrowing(student, teacher, layers, batches, num_head_groups).run()


class _Narrowing:
    """One run of :func:`inherit_projected`: the models, the samples, the map, and the account so far."""

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        layers: Sequence[int],
        batches: Sequence[Batch],
        num_head_groups: int,
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.layers = tuple(layers)
        self.num_head_groups = num_head_groups
        self.family = family_of(teacher.config)
        self.samples = sample_parts(teacher, self._sampled_parts(), batches)
        self.tensors: dict[str, InheritedTensor] = {}
        family = self.family
        norms = [family.in_layer(i, part) for i in self.layers for part in (family.attention_norm, family.output_norm)]
        states = [self._first_state(), *(self.samples[norm].outputs for norm in norms)]
        generator = torch.Generator().manual_seed(0)  # of its own: the student's random parts are not to depend on it
        self.encode, self.kept = principal_map(states, student.config.hidden_size, generator)

    def run(self) -> Inheritance:
        """Set every part of the student; return the account."""
        if find_part(self.student, self.family.table_projection) is None:
            self._embed()
        else:
            self._embed_and_project()
        for own, other in enumerate(self.layers):
            self._attend(own, other)
            self._feed_forward(own, other)
        self._read_out()
        everything = [
            self.tensors.get(name, InheritedTensor(name, tuple(parameter.shape), "random"))
            for name, parameter in self.student.named_parameters()
        ]
        return Inheritance("inherited", self.layers, tuple(everything))

    def _embed(self) -> None:
        """Set the tables and their norm, of a student that adds rows of its own width up."""
        inputs = self.samples[self.family.table_norm].inputs.double()
        states = self._first_state().double() @ self.encode.T
        rows = self.encode
        if inputs.shape[1] != rows.shape[1]:  # the teacher's tables have a width of their own, and are projected
            rows = regress(inputs, states, torch.zeros(len(rows), inputs.shape[1], dtype=torch.float64)).weight
        for table in self.family.tables:
            if (own := find_part(self.student, table)) is not None:
                other = self._part(table)
                self._set(own, other, next(other.parameters()).double().cpu() @ rows.T, kept=self.kept)
        self._fit_norm(self.family.table_norm, self.family.table_norm, inputs @ rows.T, states)

    def _embed_and_project(self) -> None:
        """Set the embeddings of a student whose tables keep the teacher's width, and are projected."""
        for name in (*self.family.tables, self.family.table_norm):
            if (own := find_part(self.student, name)) is not None:
                other = self._part(name)
                self._set(own, other, *(parameter.double() for parameter in other.parameters()), origin="copied")
        weight, bias = self.encode, torch.zeros(len(self.encode), dtype=torch.float64)
        if (projection := find_part(self.teacher, self.family.table_projection)) is not None:
            source = _linear(projection)
            weight, bias = self.encode @ source.weight, self.encode @ source.bias
        self._set(self._own_part(self.family.table_projection), projection, weight, bias, kept=self.kept)

    def _attend(self, own: int, other: int) -> None:
        """Set queries, keys, values, the output matrix and the norm behind it of one layer."""
        family = self.family
        names = (family.query, family.key, family.value, family.attention_output)
        inputs = self.samples[family.in_layer(other, family.query)].inputs
        states = inputs.double() @ self.encode.T
        root = moment_root(states)
        reading = self._reading(inputs, states)
        teacher = [self._part(family.in_layer(other, name)) for name in names]
        query, key, value = (_through(_linear(part), reading) for part in teacher[:3])
        output = _linear(teacher[3])
        num_heads, new_num_heads = (model.config.num_attention_heads for model in (self.teacher, self.student))
        head_width, new_width = len(query) // num_heads, len(self.encode) // new_num_heads
        context = self.samples[family.in_layer(other, family.attention_output)].inputs.double()
        heads = _strongest_heads(context, output.weight, num_heads, new_num_heads, self.num_head_groups)
        is_lost = torch.ones(num_heads, head_width, dtype=torch.bool)
        is_lost[heads] = False
        lost = output.weight[:, is_lost.flatten()] @ context.mean(0)[is_lost.flatten()]
        scores, writing = [], []
        for head in heads:
            rows = slice(head * head_width, (head + 1) * head_width)
            # Attention divides by the root of the head's width, which is another one now.
            scaled = query[rows] * (new_width / head_width) ** 0.5
            scores.append(cut_product(scaled, key[rows], new_width, root, root))
            writer = (self.encode @ output.weight[:, rows]).T
            writing.append(cut_product(writer, value[rows], new_width, identity_root(len(self.encode)), root))
        stacked = (
            torch.cat([factors.left for factors in scores]),
            torch.cat([factors.right for factors in scores]),
            torch.cat([factors.right for factors in writing]),
        )
        shares = [sum(factors.kept for factors in each) / len(heads) for each in (scores, writing)]
        parts = [self._own_part(family.in_layer(own, name)) for name in names]
        for part, source, rows_, share in zip(
            parts[:3], teacher[:3], stacked, (shares[0], shares[0], shares[1]), strict=True
        ):
            self._set(part, source, rows_[:, :-1], rows_[:, -1], kept=share)
        weight = torch.cat([factors.left for factors in writing]).T
        self._set(parts[3], teacher[3], weight, self.encode @ (output.bias + lost), kept=shares[1])
        self._fit_state_norm(own, other, family.attention_norm)

    def _feed_forward(self, own: int, other: int) -> None:
        """Set both dense matrices and the norm behind them of one layer."""
        family = self.family
        inputs = self.samples[family.in_layer(other, family.attention_norm)].outputs
        states = inputs.double() @ self.encode.T
        first, second = (self._part(family.in_layer(other, part)) for part in (family.intermediate, family.output))
        own_first, own_second = (
            self._own_part(family.in_layer(own, part)) for part in (family.intermediate, family.output)
        )
        units_before = self.samples[family.in_layer(other, family.output)].inputs.double()
        output = _linear(second)
        writer = self.encode @ output.weight
        energy = units_before.var(0) * writer.square().sum(0)
        units = energy.topk(intermediate_size(self.student.config)).indices.sort().values
        reader = _through(_linear(first), self._reading(inputs, states))[units]
        kept = float(energy[units].sum() / energy.sum())
        self._set(own_first, first, reader[:, :-1], reader[:, -1], kept=kept)
        activate = ACT2FN[getattr(self.teacher.config, "hidden_act", None) or self.teacher.config.activation]
        units_now = activate(states @ reader[:, :-1].T + reader[:, -1])
        fitted = regress(units_now, units_before @ writer.T + self.encode @ output.bias, writer[:, units])
        self._set(own_second, second, fitted.weight, fitted.bias, origin="fitted", kept=fitted.kept)
        self._fit_state_norm(own, other, family.output_norm)

    def _read_out(self) -> None:
        """Set the head, where both models have one that reads hidden states."""
        own, other = (getattr(model, self.family.head, None) for model in (self.student, self.teacher))
        if own is not None and other is not None:
            inputs = self.samples[self._last_norm()].outputs
            reader = _through(_linear(other), self._reading(inputs, inputs.double() @ self.encode.T))
            self._set(own, other, reader[:, :-1], reader[:, -1])

    def _reading(self, inputs: Tensor, states: Tensor) -> Affine:
        """Return R and c of ``h = R z + c``, for sampled h and z = E h."""
        return regress(states, inputs, self.encode.T)

    def _fit_state_norm(self, own: int, other: int, part: str) -> None:
        sample = self.samples[self.family.in_layer(other, part)]
        inputs, targets = (states.double() @ self.encode.T for states in (sample.inputs, sample.outputs))
        self._fit_norm(self.family.in_layer(own, part), self.family.in_layer(other, part), inputs, targets)

    def _fit_norm(self, own: str, other: str, inputs: Tensor, targets: Tensor) -> None:
        norm = self._own_part(own)
        assert isinstance(norm, nn.LayerNorm)
        fitted = fit_norm(inputs, targets, norm.eps)
        self._set(norm, self._part(other), fitted.weight, fitted.bias, origin="fitted", kept=fitted.kept)

    def _set(
        self, part: nn.Module, source: nn.Module | None, *values: Tensor, origin: Origin = "projected", kept: float = 1
    ) -> None:
        """Give a part its weight and bias, and note where they come from."""
        names = {id(parameter): name for name, parameter in self.student.named_parameters()}
        sources = {id(parameter): name for name, parameter in self.teacher.named_parameters()}
        others = [sources[id(parameter)] for parameter in source.parameters()] if source is not None else [None] * 2
        for parameter, other, value in zip(part.parameters(), others, values, strict=True):
            parameter.copy_(value)
            name = names[id(parameter)]
            self.tensors[name] = InheritedTensor(name, tuple(parameter.shape), origin, other, round(kept, 4))

    def _first_state(self) -> Tensor:
        """Return the samples of the teacher's hidden state 0."""
        projection = self.family.table_projection
        return self.samples[projection if projection in self.samples else self.family.table_norm].outputs

    def _last_norm(self) -> str:
        return self.family.in_layer(self.teacher.config.num_hidden_layers - 1, self.family.output_norm)

    def _part(self, name: str) -> nn.Module:
        return self.teacher.base_model.get_submodule(name)

    def _own_part(self, name: str) -> nn.Module:
        return self.student.base_model.get_submodule(name)

    def _sampled_parts(self) -> dict[str, nn.Module]:
        """Return the parts of the teacher whose inputs and outputs are needed, by name."""
        family = self.family
        each = (family.query, family.attention_output, family.attention_norm, family.output, family.output_norm)
        names = {family.table_norm, self._last_norm()}
        names |= {family.in_layer(layer, part) for layer in self.layers for part in each}
        if find_part(self.teacher, family.table_projection) is not None:
            names.add(family.table_projection)
        return {name: self._part(name) for name in names}


def _linear(part: nn.Module) -> Affine:
    assert isinstance(part, nn.Linear)
    return Affine(part.weight.double().cpu(), part.bias.double().cpu())


def _through(part: Affine, reading: Affine) -> Tensor:
    """Return ``[W R, W c + b]``, (D_out, D_s + 1): what a part makes of z followed by 1."""
    return torch.cat((part.weight @ reading.weight, (part.weight @ reading.bias + part.bias)[:, None]), 1)


def _strongest_heads(context: Tensor, output: Tensor, num_heads: int, count: int, num_groups: int) -> list[int]:
    """Return the heads of each group that write the most energy into the hidden state, ascending.

    Args:
        context: (N, H d), what the heads gathered.
        output: (D, H d), what leads back.
        num_heads: H.
        count: How many are wanted.
        num_groups: Runs of neighbouring heads of which equally many are taken; divides both numbers.
    """
    parts = zip(context.chunk(num_heads, 1), output.chunk(num_heads, 1), strict=True)
    written = torch.stack([(values @ weight.T).square().sum() for values, weight in parts]).view(num_groups, -1)
    within = written.topk(count // num_groups).indices
    firsts = torch.arange(0, num_heads, num_heads // num_groups)
    strongest: list[int] = (firsts[:, None] + within).flatten().sort().values.tolist()
    return strongest
