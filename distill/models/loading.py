"""Finding, loading, freezing and comparing models: folders, hub names and the embedded ones."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill.tasks.base import Task
from distill.types import UserError

#: The name that stands for the teacher that the package carries.
EMBEDDED = "embedded"

#: Sentence on which two tokenizers must agree piece by piece: accents, inverted marks, digits, a rare word.
_PROBE = "¿En qué año nació la señora Güell, autora de «Pingüinos», 1.897 ó 1902?"


def resolve_source(source: str) -> str:
    """Return the folder or hub name behind ``source``; ``"embedded"`` is the teacher that the package carries."""
    if source == EMBEDDED:
        return str(resources.files("distill.assets") / "teacher")
    return source


def load_config(source: str) -> PreTrainedConfig:
    """Load a model's configuration, which costs nothing, before its weights.

    Raises:
        UserError: If there is no such folder or hub model, or it cannot be reached.
    """
    return _from_pretrained(AutoConfig, source, "a configuration")


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies beside a model.

    Raises:
        UserError: If there is none, or it is not a fast tokenizer (offsets are needed to find answers).
    """
    tokenizer = _from_pretrained(AutoTokenizer, source, "a tokenizer")
    if not tokenizer.is_fast:
        raise UserError(f"{source}: a fast tokenizer is needed (this one gives no offsets); add its tokenizer.json")
    return tokenizer


def load_frozen(task: Task, source: str, dtype: str = "float32") -> PreTrainedModel:
    """Load a model with the task's head in eval mode, without gradients, in the given precision."""
    folder = resolve_source(source)
    try:
        model = task.load_model(folder, dtype=getattr(torch, dtype))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"teacher {source}: cannot be loaded with a {task.name} head: {_first_line(error)}") from error
    return freeze(model)


def freeze(model: PreTrainedModel) -> PreTrainedModel:
    """Switch a model to eval mode and take its parameters out of every gradient; return it."""
    model.eval()
    model.requires_grad_(False)
    return model


def check_same_tokenizer(student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase) -> None:
    """Check that two tokenizers cut text into the same pieces with the same ids.

    Raises:
        UserError: If their vocabularies, special tokens or the pieces of a probe sentence differ.
    """
    if len(student) != len(teacher) or student.get_vocab() != teacher.get_vocab():
        raise UserError(
            f"student and teacher use different tokenizers ({student.name_or_path}: {len(student)} pieces, "
            f"{teacher.name_or_path}: {len(teacher)}): distillation compares them token by token; "
            "start the student from a model with the teacher's tokenizer, or from random weights"
        )
    if student(_PROBE)["input_ids"] != teacher(_PROBE)["input_ids"]:
        raise UserError(
            f"student and teacher use different tokenizers: {student.name_or_path} and {teacher.name_or_path} share "
            "a vocabulary but cut text differently (normaliser, casing or special tokens); use the teacher's files"
        )


def max_positions(config: PreTrainedConfig) -> int:
    """Return how many tokens a model can take at most; RoBERTa's family loses two places to its padding offset."""
    limit = int(config.max_position_embeddings)
    pad_offset = config.model_type in {"roberta", "xlm-roberta", "camembert", "longformer"}
    return limit - (int(config.pad_token_id) + 1 if pad_offset else 0)


def _from_pretrained(loader: Any, source: str, what: str) -> Any:
    folder = resolve_source(source)
    try:
        return loader.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        kind = "folder" if Path(folder).exists() else "folder or reachable hub model"
        raise UserError(f"{source}: no {kind} with {what}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
