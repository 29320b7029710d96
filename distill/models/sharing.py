"""One encoder for several heads."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from distill.types import UserError

#: Parts of a base model that belong to the head above it.
_HEAD_PARTS = {"pooler"}

#: Settings of a family that its encoder does not compute with: those of heads, of first weights and of generation.
_NOT_THE_ENCODERS = {
    *("classifier_dropout", "qa_dropout", "seq_classif_dropout"),
    *("summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout"),
    *("initializer_range", "tie_word_embeddings", "use_cache", "bos_token_id", "eos_token_id"),
}


def share_encoder(model: PreTrainedModel, owner: PreTrainedModel) -> PreTrainedModel:
    """Let a model compute with the encoder of another one, embeddings included, and return it.

    Both then hold the same modules; only what is above the encoder is each one's own. A pooler, which some families
    count with the encoder, belongs to the head.

    Args:
        model: Gives its own encoder up.
        owner: Keeps its encoder, which is shared from then on.

    Raises:
        UserError: If the encoders would not compute the same, see :func:`check_same_encoder`.
    """
    check_same_encoder(model.config, owner.config)
    mine, theirs = model.base_model, owner.base_model
    for name, part in theirs.named_children():
        if name not in _HEAD_PARTS:
            setattr(mine, name, part)
    model.tie_weights()  # of heads that use the embeddings
    return model


def check_same_encoder(config: PreTrainedConfig, owner: PreTrainedConfig) -> None:
    """Check that two models' encoders would compute the same with the same weights, dropout included.

    Every setting that the family declares counts, but for those of heads, of first weights and of generation; what a
    folder holds beside them is read by no model.

    Args:
        config: A model's configuration.
        owner: That of the model whose encoder it is to share.

    Raises:
        UserError: If family, sizes or another setting differ.
    """
    if config.model_type != owner.model_type:
        raise _different(f"are of different families, {config.model_type} and {owner.model_type}")
    mine, theirs = _encoder_settings(config), _encoder_settings(owner)
    differing = [f"{name} ({mine[name]} and {theirs[name]})" for name in theirs if mine[name] != theirs[name]]
    if differing:
        raise _different(f"differ in {', '.join(differing)}")


def _encoder_settings(config: PreTrainedConfig) -> dict[str, Any]:
    declared = set(type(config)().to_dict()) - set(PreTrainedConfig().to_dict()) - _NOT_THE_ENCODERS
    return {name: getattr(config, name) for name in sorted(declared)}


def _different(how: str) -> UserError:
    return UserError(
        f"the encoders of its student and the first task's {how}, so they cannot be one; take teachers of one family "
        "and the same settings, and give all of student's sizes and its dropout"
    )
