"""Writing models that share an encoder, so that its weights lie on disk once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: The folder of the shared encoder; no head's.
ENCODER = "encoder"

# A folder with a file of the first name is read without its index, so a head's file has another one.
_WEIGHTS, _HEAD, _INDEX = "model.safetensors", "head.safetensors", "model.safetensors.index.json"


def save_heads(models: Mapping[str, PreTrainedModel], tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write models that share an encoder into ``folder``, each under its name, and the encoder as ``encoder``.

    A model's folder holds its configuration, its head and a weight index that takes the rest from ``../encoder``: it
    loads with its plain ``AutoModelFor...`` class as long as the folders stay side by side. ``encoder`` loads with
    ``AutoModel``.

    Args:
        models: Name to model; on the CPU, in the precision to be written.
        tokenizer: Written into every folder.
        folder: An existing folder.
    """
    states = {name: _unique(model) for name, model in models.items()}
    owner = next(iter(models.values()))
    first = next(iter(states.values()))
    shared = {
        key: tensor
        for key, tensor in first.items()
        if key.startswith(f"{owner.base_model_prefix}.")
        and all(key in state and state[key].data_ptr() == tensor.data_ptr() for state in states.values())
    }
    _write(folder / ENCODER, owner.base_model, tokenizer, shared, _WEIGHTS)
    for name, model in models.items():
        state = states[name]
        _write(folder / name, model, tokenizer, {key: state[key] for key in state if key not in shared}, _HEAD)
        places = {key: f"../{ENCODER}/{_WEIGHTS}" if key in shared else _HEAD for key in state}
        size = sum(tensor.nbytes for tensor in state.values())
        index = {"metadata": {"total_size": size}, "weight_map": places}
        (folder / name / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _unique(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the state of a model, of tied tensors the first name alone."""
    seen: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in model.state_dict().items():
        seen.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name)
    state: dict[str, Tensor] = model.state_dict()
    return {name: state[name] for name in seen.values()}


def _write(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, state: Mapping[str, Tensor], file: str
) -> None:
    folder.mkdir()
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / file, {"format": "pt"})
