"""What stored logits depend on, as hashes."""

from __future__ import annotations

import hashlib
import json

import torch
from transformers import PreTrainedModel

#: Raised whenever stored files change their meaning, so that older ones are not read.
STORE_VERSION = 1

#: Settings that a configuration notes but no output depends on.
_NOTES = ("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "_attn_implementation")


def model_digest(model: PreTrainedModel) -> str:
    """Return a hash of a model's configuration and of every weight and its dtype, wherever it was loaded from."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in _NOTES}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()))
    return digest.hexdigest()


def store_key(teacher: str, windows: str, task: str, precision: str, dtype: str, device: str, products: str) -> str:
    """Return the key of one teacher's logits for one training set.

    Args:
        teacher: The teacher's :func:`model_digest`.
        windows: The windows' fingerprint: texts, tokenizer, window settings.
        task: The task's name.
        precision: What the teacher computes in.
        dtype: What the logits are stored in.
        device: The type of device that it computes on.
        products: The precision of float32 products there, as torch names it: ``highest``, ``high`` or ``medium``.
    """
    parts = [STORE_VERSION, teacher, windows, task, precision, dtype, device, products]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
