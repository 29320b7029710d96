"""One encoder for several heads."""

from __future__ import annotations

from transformers import PreTrainedModel

from distill.types import UserError

#: Parts of a base model that belong to the head above it.
_HEAD_PARTS = {"pooler"}


def share_encoder(model: PreTrainedModel, owner: PreTrainedModel) -> PreTrainedModel:
    """Let a model compute with the encoder of another one, embeddings included, and return it.

    Both then hold the same modules; only what is above the encoder is each one's own. A pooler, which some families
    count with the encoder, belongs to the head.

    Args:
        model: Gives its own encoder up.
        owner: Keeps its encoder, which is shared from then on.

    Raises:
        UserError: If the encoders are of different families or sizes.
    """
    mine, theirs = model.base_model, owner.base_model
    for name, part in theirs.named_children():
        if name in _HEAD_PARTS:
            continue
        own = getattr(mine, name, None)
        if own is None or _shapes(own) != _shapes(part):
            raise UserError(
                f"the tasks' students differ in {theirs.config.model_type}.{name}, so they cannot share an encoder; "
                "give all of student's sizes, and teachers of one family"
            )
        setattr(mine, name, part)
    model.tie_weights()  # of heads that use the embeddings
    return model


def _shapes(module: object) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}  # type: ignore[attr-defined]
