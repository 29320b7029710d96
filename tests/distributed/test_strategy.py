"""Two processes against one with the same batches of all processes together."""

import json

import pytest
import torch

from tests.conftest import squad_document

from .fits import STAGES, compare
from .processes import run_processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fits(tmp_path_factory, teacher_folder, backbone_folder):
    """What one process computes, and each of two."""
    folder = tmp_path_factory.mktemp("fits")
    document = squad_document(10)
    (folder / "questions.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    few = json.dumps(squad_document(2, "few"), ensure_ascii=False)
    (folder / "questions-few.json").write_text(few, encoding="utf-8")
    sentences = [[f"{name} B-PER", *["vino O"] * (1 + i % 5)] for i, name in enumerate(["Ana", "Lucía"] * 8)]
    (folder / "words.conll").write_text("\n\n".join("\n".join(rows) for rows in sentences), encoding="utf-8")
    contexts = [paragraph["context"] for paragraph in squad_document(20)["data"][0]["paragraphs"]]
    (folder / "text.txt").write_text("\n\n\n".join(contexts[:10]), encoding="utf-8")
    (folder / "otro.txt").write_text("\n\n\n".join(contexts[10:]), encoding="utf-8")
    sources = [str(folder / name) for name in ("questions.json", "text.txt", "words.conll")]
    models = [str(teacher_folder), str(backbone_folder)]
    one = compare(*models, *sources, str(folder), 1)
    return one, run_processes(compare, 2, folder / "two", *models, *sources, str(folder), 2)


def relative_errors(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> dict[str, float]:
    """Return ``|g - e| / |e|`` by tensor; what is 0 but for rounding, such as a key's bias, counts against them all."""
    everything = torch.cat([tensor.flatten() for tensor in expected.values()]).norm()
    return {name: float((got[name] - e).norm() / e.norm().clamp_min(1e-4 * everything)) for name, e in expected.items()}


def is_noise(name: str, steps: list[dict[str, torch.Tensor]]) -> bool:
    """Whether a gradient is 0 but for rounding in a stage."""
    return any(float(step[name].abs().max()) < 1e-13 for step in steps if name in step)


@pytest.mark.parametrize("accumulated", [1, 2, "tokens", "text", "tasks"])
def test_gradients_of_the_first_step_are_those_of_one_process(fits, accumulated):
    one, two = fits
    expected = one["32-true", accumulated]["gradients"][0]
    for rank in range(2):
        got = two[rank]["32-true", accumulated]["gradients"][0]
        assert got.keys() == expected.keys()
        errors = relative_errors(got, expected)
        assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("accumulated", [1, 2, "tokens", "text", "tasks"])
def test_weights_and_logged_values_after_both_stages_are_those_of_one_process(fits, accumulated):
    one, two = fits
    expected = one["64-true", accumulated]
    for rank in range(2):
        got = two[rank]["64-true", accumulated]
        assert len(got["gradients"]) == len(expected["gradients"]) == (8 if accumulated == "text" else 30)
        for name, weight in expected["weights"].items():
            # Adam makes steps of what is 0 but for rounding, such as the gradient of a key's bias: in 15 steps at 2e-3
            # at most 15 * 2e-3 * 1e-13 / 1e-8, its epsilon.
            tolerance = 3e-7 if is_noise(name, expected["gradients"]) else 1e-11
            torch.testing.assert_close(got["weights"][name], weight, rtol=1e-10, atol=tolerance)
        for values, others in zip(got["logged"], expected["logged"], strict=True):
            assert values == pytest.approx(others, rel=1e-6)  # the Trainer logs in float32


def test_idle_parameters_have_no_gradient_and_keep_their_values(fits):
    for results in fits[1]:
        gradients = results["64-true", 1]["gradients"]
        head, projections = "student.qa_outputs.weight", "objective.terms.hidden.projections.0.weight"
        for step, names in enumerate(map(set, gradients)):
            assert (head in names) == (step >= STAGES["intermediate"].steps)
            assert (projections in names) == (step < STAGES["intermediate"].steps)
