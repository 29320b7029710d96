"""Other tools, through their own training loops where they have one; each needs only itself, torch and transformers.

The hidden states and the attention of the same layers are compared, and the logits, in the form that each tool gives
these terms: probabilities and not scores, and maps of all layers, since transformers gives away no fewer.
"""

from __future__ import annotations

import tempfile
from itertools import cycle
from typing import Any

import torch
from torch import nn

from .workload import (
    LAYERS,
    STATES,
    STUDENT,
    TEACHER,
    TEMPERATURE,
    Exposed,
    Stopwatch,
    adamw,
    batches,
    build,
    frozen_teacher,
)

_STEPS = 10000


def textbrewer_layers(stopwatch: Stopwatch) -> None:
    """TextBrewer's GeneralDistiller."""
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    matches: list[dict[str, Any]] = [
        {"layer_S": s, "layer_T": t, "feature": "hidden", "loss": "hidden_mse", "weight": 1,
         "proj": ["linear", STUDENT[1], TEACHER[1]]}
        for s, t in STATES
    ]  # fmt: skip
    matches += [
        {"layer_S": s, "layer_T": t, "feature": "attention", "loss": "attention_mse", "weight": 1} for s, t in LAYERS
    ]
    config = DistillationConfig(temperature=TEMPERATURE, hard_label_weight=0, intermediate_matches=matches)
    teacher, student = frozen_teacher("eager"), build(STUDENT, "eager").train()
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingConfig(device="cpu", output_dir=folder)
        distiller = GeneralDistiller(training, config, teacher, student, _textbrewer_output, _textbrewer_output)
        with distiller:
            distiller.train(
                stopwatch.follow(adamw(student)), batches() * _STEPS, num_epochs=1,
                output_hidden_states=True, output_attentions=True,
            )  # fmt: skip


def textbrewer_answers(stopwatch: Stopwatch) -> None:
    """TextBrewer's BasicDistiller with cached logits."""
    from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig

    config = DistillationConfig(temperature=TEMPERATURE, hard_label_weight=0, is_caching_logits=True)
    teacher, student = frozen_teacher(), build(STUDENT).train()
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingConfig(device="cpu", output_dir=folder, ckpt_epoch_frequency=_STEPS)
        distiller = BasicDistiller(training, config, teacher, student, _textbrewer_output, _textbrewer_output)
        with distiller:
            distiller.train(stopwatch.follow(adamw(student)), batches(), num_epochs=_STEPS)


def torchdistill_layers(stopwatch: Stopwatch) -> None:
    """torchdistill's box with hooks on what is compared."""
    _torchdistill(stopwatch, states=True)


def torchdistill_answers(stopwatch: Stopwatch) -> None:
    """torchdistill's box on the logits alone, with the teacher in every step: it keeps no outputs."""
    _torchdistill(stopwatch, states=False)


def modelopt_layers(stopwatch: Stopwatch) -> None:
    """modelopt's wrapped student with hooks on what is compared."""
    _modelopt(stopwatch, states=True)


def modelopt_answers(stopwatch: Stopwatch) -> None:
    """modelopt's wrapped student on the logits alone, with the teacher in every step: it keeps no outputs."""
    _modelopt(stopwatch, states=False)


def _textbrewer_output(batch: Any, output: Any) -> dict[str, Any]:
    found = {"logits": [output.start_logits, output.end_logits], "inputs_mask": batch["attention_mask"]}
    if output.attentions:
        found |= {"hidden": output.hidden_states, "attention": output.attentions}
    return found


def _exposed(states: bool) -> tuple[Exposed, Exposed]:
    """Return teacher and student whose mapped states, maps and logits hooks can reach."""
    attention = "eager" if states else "sdpa"
    pairs, layers = (STATES, LAYERS) if states else ((), ())
    teacher = Exposed(frozen_teacher(attention), [t for _, t in pairs], [t for _, t in layers], None).eval()
    student = Exposed(build(STUDENT, attention), [s for s, _ in pairs], [s for s, _ in layers], TEACHER[1])
    return teacher, student.train()


def _paths(student: Exposed) -> list[str]:
    states = [f"states.{i}" for i in range(len(student.states))]
    return states + [f"maps.{i}" for i in range(len(student.maps))]


def _torchdistill(stopwatch: Stopwatch, states: bool) -> None:
    from torchdistill.core.distillation import DistillationBox

    teacher, student = _exposed(states)

    def mse(path: str) -> dict[str, Any]:
        where = {"module_path": path, "io": "output"}
        wrapper = {"input": {"is_from_teacher": False, **where}, "target": {"is_from_teacher": True, **where}}
        return {
            "criterion": {"key": "MSELoss", "kwargs": {}},
            "criterion_wrapper": {"key": "SimpleLossWrapper", "kwargs": wrapper},
            "weight": 1.0,
        }

    def flat(*_: Any) -> None:
        """Nothing: targets are not used."""

    kd = {
        "student_module_path": "logits", "student_module_io": "output", "teacher_module_path": "logits",
        "teacher_module_io": "output", "temperature": TEMPERATURE, "alpha": 0.0, "reduction": "batchmean",
    }  # fmt: skip
    terms: dict[str, Any] = {path: mse(path) for path in _paths(student)}
    terms["logits"] = {"criterion": {"key": "KDLoss", "kwargs": kd}, "weight": 1.0}
    hooks = {"forward_hook": {"output": [*_paths(student), "logits"]}}
    config = {
        "num_epochs": 1,
        "teacher": {**hooks, "forward_proc": "forward_batch_only_as_kwargs", "requires_grad": False},
        "student": {**hooks, "forward_proc": "forward_batch_only_as_kwargs"},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": terms}},
        "optimizer": {"key": "AdamW", "kwargs": {"lr": 1e-4, "fused": True}},
    }
    box = DistillationBox(teacher, student, {}, config, torch.device("cpu"), None, False, 1)
    stopwatch.follow(box.optimizer)
    for batch in cycle(batches()):
        loss = box.forward_process(sample_batch=batch, targets=None, supp_dict=None)
        box.post_forward_process(loss=loss)
        loss.item()  # as its examples log it


def _modelopt(stopwatch: Stopwatch, states: bool) -> None:
    from modelopt.torch import distill

    teacher, student = _exposed(states)
    criterion: dict[tuple[str, str], nn.Module] = {(path, path): nn.MSELoss() for path in _paths(student)}
    criterion["logits", "logits"] = distill.LogitsDistillationLoss(TEMPERATURE, reduction="batchmean")
    balancer = distill.StaticLossBalancer([(1 - 1e-9) / len(criterion)] * len(criterion))
    settings = {"teacher_model": teacher, "criterion": criterion, "loss_balancer": balancer}
    model = distill.convert(student, mode=[("kd_loss", settings)])
    model.train()
    optimizer = stopwatch.follow(adamw(model))
    for batch in cycle(batches()):
        model(**batch)
        loss = model.compute_kd_loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
