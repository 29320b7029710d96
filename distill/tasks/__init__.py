"""What a task is: reading, features, head, label loss, decoding and scores, one folder per task."""

from distill.tasks.base import MASKED_LOGIT, Evaluation, EvaluationResult, Score, Shown, Tally, Task

__all__ = ["MASKED_LOGIT", "Evaluation", "EvaluationResult", "Score", "Shown", "Tally", "Task"]
