"""Other tools, through their own training loops where they have one; each needs only itself, torch and transformers.

The hidden states and the attention of the same layers are compared, and the logits, in the form that each tool gives
these terms: probabilities and not scores, and maps of all layers, since transformers gives away no fewer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
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

    matches = textbrewer_matches(STATES, LAYERS, ["linear", STUDENT[1], TEACHER[1]])
    config = DistillationConfig(temperature=TEMPERATURE, hard_label_weight=0, intermediate_matches=matches)
    teacher, student = frozen_teacher("eager"), build(STUDENT, "eager").train()
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingConfig(device="cpu", output_dir=folder)
        distiller = GeneralDistiller(training, config, teacher, student, textbrewer_output, textbrewer_output)
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
        distiller = BasicDistiller(training, config, teacher, student, textbrewer_output, textbrewer_output)
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


def textbrewer_matches(
    states: Sequence[tuple[int, int]], layers: Sequence[tuple[int, int]], projection: list[Any] | None
) -> list[dict[str, Any]]:
    """Return TextBrewer's ``intermediate_matches`` of pairs of states and of layers."""
    hidden = {"feature": "hidden", "loss": "hidden_mse", "weight": 1, **({"proj": projection} if projection else {})}
    attention = {"feature": "attention", "loss": "attention_mse", "weight": 1}
    return [
        {"layer_S": s, "layer_T": t, **form}
        for form, pairs in ((hidden, states), (attention, layers))
        for s, t in pairs
    ]


def textbrewer_output(batch: Any, output: Any) -> dict[str, Any]:
    """Return a model's output as TextBrewer's adaptors do."""
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


def exposed_paths(student: Exposed) -> list[str]:
    """Return the modules through which states and maps pass."""
    states = [f"states.{i}" for i in range(len(student.states))]
    return states + [f"maps.{i}" for i in range(len(student.maps))]


def _torchdistill(stopwatch: Stopwatch, states: bool) -> None:
    teacher, student = _exposed(states)
    box = torchdistill_box(teacher, student, [*exposed_paths(student)], TEMPERATURE, 1e-4, 1)
    stopwatch.follow(box.optimizer)
    for batch in cycle(batches()):
        torchdistill_step(box, batch)


def torchdistill_step(box: Any, batch: Any) -> None:
    """Take a step as torchdistill's examples do."""
    loss = box.forward_process(sample_batch=batch, targets=None, supp_dict=None)
    box.post_forward_process(loss=loss)
    loss.item()  # as its examples log it


def torchdistill_box(
    teacher: Exposed,
    student: Exposed,
    paths: Sequence[str],
    temperature: float | None,
    learning_rate: float,
    num_epochs: int,
) -> Any:
    """Return torchdistill's box, with hooks on what is compared.

    Args:
        teacher: The teacher.
        student: The student.
        paths: Modules of both whose outputs are compared.
        temperature: That of the logits; None if they are not compared.
        learning_rate: AdamW's.
        num_epochs: Epochs of the box.
    """
    from torchdistill.core.distillation import DistillationBox

    def mse(path: str) -> dict[str, Any]:
        where = {"module_path": path, "io": "output"}
        wrapper = {"input": {"is_from_teacher": False, **where}, "target": {"is_from_teacher": True, **where}}
        return {
            "criterion": {"key": "MSELoss", "kwargs": {}},
            "criterion_wrapper": {"key": "SimpleLossWrapper", "kwargs": wrapper},
            "weight": 1.0,
        }

    terms: dict[str, Any] = {path: mse(path) for path in paths}
    if temperature is not None:
        kd = {
            "student_module_path": "logits", "student_module_io": "output", "teacher_module_path": "logits",
            "teacher_module_io": "output", "temperature": temperature, "alpha": 0.0, "reduction": "batchmean",
        }  # fmt: skip
        terms["logits"] = {"criterion": {"key": "KDLoss", "kwargs": kd}, "weight": 1.0}
    hooks = {"forward_hook": {"output": list(terms)}}
    config = {
        "num_epochs": num_epochs,
        "teacher": {**hooks, "forward_proc": "forward_batch_only_as_kwargs", "requires_grad": False},
        "student": {**hooks, "forward_proc": "forward_batch_only_as_kwargs"},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": terms}},
        "optimizer": {"key": "AdamW", "kwargs": {"lr": learning_rate, "fused": True}},
    }
    return DistillationBox(teacher, student, {}, config, torch.device("cpu"), None, False, 1)


def _modelopt(stopwatch: Stopwatch, states: bool) -> None:
    teacher, student = _exposed(states)
    model = modelopt_model(teacher, student, exposed_paths(student), TEMPERATURE)
    optimizer = stopwatch.follow(adamw(model))
    for batch in cycle(batches()):
        modelopt_step(model, optimizer, batch)


def modelopt_step(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """Take a step as modelopt's examples do."""
    model(**batch)
    loss = model.compute_kd_loss()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def modelopt_model(teacher: Exposed, student: Exposed, paths: Sequence[str], temperature: float | None) -> Any:
    """Return modelopt's wrapped student in training mode, with hooks on what is compared; arguments as for the box."""
    from modelopt.torch import distill

    criterion: dict[tuple[str, str], nn.Module] = {(path, path): nn.MSELoss() for path in paths}
    if temperature is not None:
        criterion["logits", "logits"] = distill.LogitsDistillationLoss(temperature, reduction="batchmean")
    balancer = distill.StaticLossBalancer([(1 - 1e-9) / len(criterion)] * len(criterion))
    settings = {"teacher_model": teacher, "criterion": criterion, "loss_balancer": balancer}
    model = distill.convert(student, mode=[("kd_loss", settings)])
    model.train()  # which does not return it
    return model
