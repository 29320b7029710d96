"""Finding, loading, freezing and comparing models: folders, hub names and the embedded ones."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill.models.saving import ENCODER
from distill.tasks.base import Task
from distill.types import UserError

#: The name that stands for the question-answering teacher that the package carries.
EMBEDDED = "embedded"

#: The name that stands for that teacher's student.
EMBEDDED_STUDENT = "embedded_student"

#: The names that stand for the models that the package carries, and their folders among its assets.
EMBEDDED_MODELS = {
    EMBEDDED: "teacher",
    EMBEDDED_STUDENT: "student",
    "embedded_ner": "teacher_ner",
    "embedded_pairs": "teacher_pairs",
}

#: Families whose first position is the one behind the padding id.
_POSITIONS_AFTER_PADDING = {
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer"),
    *("mpnet", "data2vec-text", "esm"),
}

#: Sentence on which two tokenizers must agree piece by piece: accents, inverted marks, digits, a rare word.
_PROBE = "¿En qué año nació la señora Güell, autora de «Pingüinos», 1.897 ó 1902?"


def resolve_source(source: str) -> str:
    """Return the folder or hub name behind ``source``, which may be one of ``EMBEDDED_MODELS``."""
    folder = EMBEDDED_MODELS.get(source)
    return source if folder is None else str(resources.files("distill.assets") / folder)


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
    if tokenizer.is_fast and len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"{source}: no folder with a tokenizer: it has no pieces; add its tokenizer.json")
    if not tokenizer.is_fast:
        raise UserError(f"{source}: a fast tokenizer is needed (this one gives no offsets); add its tokenizer.json")
    return tokenizer


def load_model(
    task: Task, source: str, role: str, dtype: str = "float32", config: PreTrainedConfig | None = None
) -> tuple[PreTrainedModel, list[str]]:
    """Load a model with the task's head; return it with the names of weights that ``source`` lacks.

    Args:
        task: What the head predicts.
        source: Folder, hub name or ``embedded``.
        role: Who it is, for messages: ``student``, ``teacher``, ``model``.
        dtype: Precision of the weights in memory.
        config: Replaces the configuration that lies beside the weights.

    Raises:
        UserError: If the weights cannot be read or do not fit the configuration.
    """
    settings = {} if config is None else {"config": config}
    try:
        # Lightning builds models under the device's context, which transformers would take for a wish to split them.
        with torch.device("cpu"):
            model, info = task.load_model(
                resolve_source(source), dtype=getattr(torch, dtype), output_loading_info=True, **settings
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError, StrictDataclassError) as error:
        raise UserError(f"{role} {source}: cannot be loaded with a {task.name} head: {first_line(error)}") from error
    return model, sorted(info["missing_keys"])


def load_frozen(task: Task, source: str, dtype: str = "float32") -> PreTrainedModel:
    """Load a teacher in eval mode, without gradients, in the given precision.

    Raises:
        UserError: If it cannot be loaded, or some of its weights would be random, as a missing head's would.
    """
    model, missing = load_model(task, source, "teacher", dtype)
    if missing:
        raise UserError(
            f"teacher {source}: it has no weights for {', '.join(missing[:3])}; is its {task.name} head missing? "
            "train it first, see configs/teacher.yaml and configs/pretrain.yaml"
        )
    return freeze(model)


def freeze(model: PreTrainedModel) -> PreTrainedModel:
    """Switch a model to eval mode and take its parameters out of every gradient; return it."""
    model.eval()
    model.requires_grad_(False)
    return model


def check_same_tokenizer(
    student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase, role: str = "student"
) -> None:
    """Check that two tokenizers cut text into the same pieces with the same ids.

    Args:
        student: The tokenizer that must be like the teacher's.
        teacher: The teacher's.
        role: Whose the first one is, for messages.

    Raises:
        UserError: If their vocabularies, special tokens or the pieces of a probe sentence differ.
    """
    if len(student) != len(teacher) or student.get_vocab() != teacher.get_vocab():
        raise UserError(
            f"{role} and teacher use different tokenizers ({student.name_or_path}: {len(student)} pieces, "
            f"{teacher.name_or_path}: {len(teacher)}): distillation compares them token by token; "
            "use models that share a tokenizer, or start the student from random weights"
        )
    if student(_PROBE)["input_ids"] != teacher(_PROBE)["input_ids"]:
        raise UserError(
            f"{role} and teacher use different tokenizers: {student.name_or_path} and {teacher.name_or_path} share "
            "a vocabulary but cut text differently (normaliser, casing or special tokens); use the teacher's files"
        )


def max_positions(config: PreTrainedConfig) -> int | None:
    """Return how many tokens a model can take at most, or None where there is no limit.

    RoBERTa's family counts positions from behind its padding id and loses as many places.
    """
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or limit < 1:
        return None
    return int(limit) - (int(config.pad_token_id) + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0)


def check_length(length: int, config: PreTrainedConfig, role: str) -> None:
    """Check that a model can take windows of ``length`` tokens.

    Raises:
        UserError: If it has fewer positions.
    """
    limit = max_positions(config)
    if limit is not None and length > limit:
        raise UserError(
            f"{length} tokens are more than the {role}'s {limit} positions: lower data.max_length, "
            "or data.block_length of plain text"
        )


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, role: str) -> None:
    """Check that a model has an embedding for every piece of a tokenizer.

    Raises:
        UserError: If it has fewer.
    """
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} pieces and the {role} embeddings for {config.vocab_size}: "
            "they do not belong together"
        )


def _from_pretrained(loader: Any, source: str, what: str) -> Any:
    folder = resolve_source(source)
    if folder.startswith(("/", "./", "../", "~")) and not Path(folder).is_dir():
        raise UserError(f"{source}: no such folder: check the path")
    student = Path(folder) / "student"
    if (student / "config.json").is_file():
        raise UserError(f"{source}: a run's folder, not a model's: name {student}")
    if tasks := _task_folders(Path(folder)) or _task_folders(student):
        raise UserError(f"{source}: holds several tasks: name one of them, {' or '.join(map(str, tasks))}")
    try:
        return loader.from_pretrained(folder)
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        kind = "folder" if Path(folder).exists() else "folder or reachable hub model"
        raise UserError(f"{source}: no {kind} with {what}: {first_line(error)}") from error


def _task_folders(folder: Path) -> list[Path]:
    """Return the students of several tasks, where ``folder`` holds them beside the encoder that they share."""
    if not (folder / ENCODER / "config.json").is_file():
        return []
    return sorted(file.parent for file in folder.glob("*/config.json") if file.parent.name != ENCODER)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its name where it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
