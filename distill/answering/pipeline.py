"""The removed ``transformers.pipeline("question-answering")`` under its old name and with its old habits."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.answering.answerer import QuestionAnswerer
from distill.types import UserError

#: What the old pipeline did where it was not told otherwise.
PIPELINE_DEFAULTS: dict[str, Any] = {"max_answer_len": 15, "handle_impossible_answer": False, "align_to_words": True}

TASK = "question-answering"


class QuestionAnsweringPipeline(QuestionAnswerer):
    """A :class:`QuestionAnswerer` that is called as the old pipeline was.

    What differs from a :class:`QuestionAnswerer`: a list of one item gives that item's answer rather than a list of it,
    ``data`` is another name of the items, and answers to impossible questions must be asked for with
    ``handle_impossible_answer=True``. What differs from the old pipeline: spans are ranked by their logits over all
    windows, not by probabilities within each window, and scores are a softmax over these candidates.
    """

    def __call__(self, question: Any = None, context: Any = None, *, data: Any = None, **options: Any) -> Any:
        """Answer questions; see :meth:`QuestionAnswerer.__call__`."""
        asked = data if question is None else question
        answers = super().__call__(asked, context, **options)
        return answers[0] if isinstance(asked, list | tuple) and len(asked) == 1 else answers


def pipeline(
    task: str = TASK,
    model: str | PreTrainedModel | None = None,
    tokenizer: str | PreTrainedTokenizerBase | None = None,
    device: str | int | None = None,
    **options: Any,
) -> QuestionAnsweringPipeline:
    """Return a question-answering pipeline, as ``transformers.pipeline`` did before version 5.

    Old code moves over by importing ``pipeline`` from here::

        from distill import pipeline

        ask = pipeline("question-answering", model="my-org/my-model")
        ask(question="¿Dónde nació Ana?", context="Ana nació en Jaén.")

    Args:
        task: Only ``question-answering``.
        model: Folder or hub name, or a loaded model.
        tokenizer: Folder or hub name if not beside the model; a loaded one for a loaded model.
        device: ``auto``, ``cpu``, ``cuda``, or the number of a GPU (-1 for the CPU, the default as it was).
        options: ``dtype`` or ``torch_dtype``, ``backend``, and the pipeline's own: ``top_k``, ``max_answer_len``,
            ``max_seq_len``, ``max_question_len``, ``doc_stride``, ``handle_impossible_answer``, ``align_to_words``.

    Raises:
        UserError: If the task is another one, no model is given, or an option is unknown.
    """
    if task != TASK:
        raise UserError(f"pipeline: task {task!r} is not here, only {TASK!r}: use transformers' own for others")
    dtype = options.pop("torch_dtype", None) or options.pop("dtype", None)
    settings = {**PIPELINE_DEFAULTS, **options}
    if isinstance(model, str) and (tokenizer is None or isinstance(tokenizer, str)):
        return QuestionAnsweringPipeline.from_pretrained(
            model, dtype=_dtype_name(dtype), device="cpu" if device is None else device, tokenizer=tokenizer, **settings
        )
    if isinstance(model, PreTrainedModel) and isinstance(tokenizer, PreTrainedTokenizerBase):
        return QuestionAnsweringPipeline.from_model(model, tokenizer, device, **settings)
    raise UserError("pipeline: give a model's folder or hub name, or a loaded model together with its loaded tokenizer")


def _dtype_name(dtype: Any) -> str | None:
    """Return ``float16`` for ``torch.float16``; ``auto``, which the old pipeline took, is the default."""
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    return None if name == "auto" else name
