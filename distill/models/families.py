"""Where the parts of an encoder are, for the model families whose weights a student can inherit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from distill.types import UserError


@dataclass(frozen=True)
class Family:
    """The parts that every encoder of BERT's kind has: post-norm layers of attention and two dense matrices.

    Names without a layer are relative to the encoder, the others to one of its layers.

    Attributes:
        layers: The list of layers.
        query: Queries, (H d, D); ``key`` and ``value`` likewise.
        key: Keys.
        value: Values.
        attention_output: What leads from the heads back to the hidden width, (D, H d).
        attention_norm: The norm behind it.
        intermediate: The first dense matrix, (F, D).
        output: The second one, (D, F).
        output_norm: The norm behind it.
        tables: The embedding tables, whose rows are added up.
        table_norm: The norm behind them.
        table_projection: What leads from the tables' width to the hidden one, in models that have it.
        head: The question-answering head, relative to the whole model.
    """

    layers: str = "encoder.layer"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    intermediate: str = "intermediate.dense"
    output: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    tables: tuple[str, ...] = (
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
    )
    table_norm: str = "embeddings.LayerNorm"
    table_projection: str = "embeddings_project"
    head: str = "qa_outputs"

    def in_layer(self, layer: int, part: str) -> str:
        """Return the name of a part of one layer, relative to the encoder."""
        return f"{self.layers}.{layer}.{part}"


_BERT = Family()
_DISTILBERT = replace(
    _BERT,
    layers="transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    intermediate="ffn.lin1",
    output="ffn.lin2",
    output_norm="output_layer_norm",
    tables=("embeddings.word_embeddings", "embeddings.position_embeddings"),
)

#: The families by transformers' ``model_type``.
FAMILIES = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": _DISTILBERT,
}


def family_of(config: PreTrainedConfig) -> Family:
    """Return where the parts of a model are.

    Raises:
        UserError: If the family is not known.
    """
    if config.model_type not in FAMILIES:
        raise UserError(
            f"the parts of {config.model_type!r} models are not known, so a student cannot inherit them; use init "
            f"random, or a teacher of one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[config.model_type]


def find_part(model: PreTrainedModel, name: str) -> nn.Module | None:
    """Return a part of a model's encoder by its name, nothing where this model has none."""
    try:
        return model.base_model.get_submodule(name)
    except AttributeError:
        return None


def intermediate_size(config: PreTrainedConfig) -> int:
    """Return the width of the feed-forward layers; DistilBERT has a name of its own for it."""
    return int(getattr(config, "intermediate_size", None) or config.hidden_dim)
