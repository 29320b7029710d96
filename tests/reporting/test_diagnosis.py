import pytest
from rich.console import Console

from distill.reporting.diagnosis import Diagnosis, diagnosis_screen, duration, model_facts
from tests.models.tiny import CONFIGS, lively


def shown(diagnosis: Diagnosis) -> str:
    console = Console(width=100, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(diagnosis_screen(diagnosis))
    return capture.get()


@pytest.mark.parametrize("family", list(CONFIGS))
def test_facts_of_a_model_are_those_of_the_model(family):
    model = lively(CONFIGS[family])
    facts = model_facts(model)
    assert facts["layers"] == "3"
    assert facts["width"] == "16"
    assert facts["heads"] == "4 x 4"
    assert facts["feed-forward"] == "24"
    assert facts["parameters"] == f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    assert facts["dtype"] == "float32"
    assert model_facts(model.bfloat16())["dtype"] == "bfloat16"


def test_screen_shows_everything_and_fits_one():
    models = {"teacher": {"layers": "24", "width": "1024"}, "student": {"layers": "6", "heads": "16 x 32"}}
    stage = {"name": "logits", "num_steps": 1200, "learning_rate": 3e-5, "weights": {"logits": 2.0, "labels": 0.0}}
    text = shown(Diagnosis(models, {"tokenizer": "[bold]odd[/bold] name"}, [stage], ["it scores 3 F1"]))
    for part in ("24", "1024", "16 x 32", "[bold]odd[/bold] name", "stage logits", "1,200 steps at 3e-05: logits 2"):
        assert part in text
    assert "labels" not in text
    assert "warning: it scores 3 F1" in text
    assert len(text.splitlines()) < 24


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.2, "0 s"), (42.4, "42 s"), (99, "99 s"), (100, "2 min"), (754, "13 min"), (5970, "1 h 40 min")),
        *((9000, "2 h 30 min"), (200_000, "2 d 8 h")),
    ],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text
