"""The comparison gives both sides equal work; what it finds is not asserted."""

import json

import pytest

from tests.benchmarks import taught
from tests.conftest import squad_document

from .taught import TASKS, main, student_arguments, teacher_arguments


def settings(arguments: list[str], name: str):
    value = next(argument for argument in arguments if argument.startswith(f"--{name}="))
    return json.loads(value.removeprefix(f"--{name}="))


def test_every_task_gets_as_many_steps_alone_as_among_the_others():
    runs = student_arguments({task: f"teachers/{task}" for task in TASKS}, (10, 20), 7)
    assert list(runs) == [*(f"{task}_7" for task in TASKS), "all_7"]
    several = settings(runs["all_7"], "schedule.stages")
    assert {name: stage["steps"] for name, stage in several.items()} == {"intermediate": 30, "logits": 60}
    for task in TASKS:
        own = settings(runs[f"{task}_7"], "schedule.stages")
        assert {name: {**stage, "steps": 3 * stage["steps"]} for name, stage in own.items()} == several
        model, shared = (settings(runs[name], "model")["init_args"] for name in (f"{task}_7", "all_7"))
        assert shared["student"] == model["student"]
        assert shared["tasks"][task] == {"task": model["task"], "teacher": f"teachers/{task}"}
        assert settings(runs["all_7"], "data")["init_args"]["tasks"][task] == settings(runs[f"{task}_7"], "data")
        assert "--trainer.val_check_interval=30" in runs[f"{task}_7"]  # once, at the end
    assert "--trainer.val_check_interval=90" in runs["all_7"]
    assert settings(runs["all_7"], "data")["init_args"]["sampling"] == "uniform"


def test_teachers_of_words_start_from_random_weights_of_the_embedded_sizes():
    assert settings(teacher_arguments("qa"), "model")["init_args"]["model"] == "embedded"
    assert settings(teacher_arguments("ner"), "model")["init_args"]["architecture"]["hidden_size"] == 128


@pytest.mark.slow
def test_comparison_of_short_runs_ends_with_its_table(tmp_path, capsys, monkeypatch):
    row = "1\tAna\tAna\tPROPN\t_\t_\t0\troot\t_\t_\n2\tvino\tvenir\tVERB\t_\t_\t1\tdep\t_\t_\n\n"
    files = {
        "qa/train_mix_es.json": json.dumps(squad_document(12)),
        "qa/xquad_es.json": json.dumps(squad_document(3, "v")),
        "ner/esp.train": "Ana B-PER\nvino O\n\n" * 60,
        "ner/esp.testb": "Ana B-PER\nvino O\n\n" * 4,
        "pos/es_ancora-ud-dev.conllu": row * 60,
        "pos/es_ancora-ud-test.conllu": row * 4,
    }
    for name, content in files.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(taught, "TEACHERS", dict.fromkeys(TASKS, (2, 0.001)))
    output = tmp_path / "out"
    main(str(tmp_path / "data"), str(output), layer_steps=1, logit_steps=2, seeds=[1])
    result = json.loads((output / "comparison.json").read_text(encoding="utf-8"))
    assert set(result["tasks"]) == set(result["teacher"]) == set(TASKS)
    assert result["parameters"]["one encoder"] < result["parameters"]["three models"] / 2
    assert "teacher" in capsys.readouterr().out
