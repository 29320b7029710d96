"""Arms of the comparison of starts differ in nothing but what is compared; real runs are tiny."""

import json

import pytest

from distill.files import write_text
from distill.models.student import Student

from .campaign import Campaign, merged
from .starts import ARMS, AUGMENTED, GENERAL, PLAIN, augment, build_arms, general_arm

SIZES = ("num_layers", "hidden_size")
TASK = {"class_path": "distill.QuestionAnswering", "init_args": {"null_threshold": None}}
TINY = Student(num_layers=2, hidden_size=8, init="mimetic")


def arms_of(teacher, started, questions, copies, steps=10):
    files = {"train_files": [str(questions)], "validation_files": [str(questions)], "max_length": 96, "doc_stride": 16}
    return build_arms(teacher, TINY, started, files, copies, TASK, steps, learning_rate=1e-3)


def test_arms_differ_in_what_is_compared_alone(tmp_path):
    arms = arms_of(tmp_path / "teacher", tmp_path / "started", tmp_path / "train.json", tmp_path / "copies.json")
    plain, general, augmented = (arms[name] for name in (PLAIN, GENERAL, AUGMENTED))
    start = {"model": {"init_args": {"student": {"init": str(tmp_path / "started"), **dict.fromkeys(SIZES)}}}}
    assert merged(plain.settings, start) == general.settings
    stages = augmented.settings["schedule"]["stages"]
    assert stages["intermediate"] == {**general.settings["schedule"]["stages"]["intermediate"], "data": "copies"}
    assert stages["logits"] == general.settings["schedule"]["stages"]["logits"]
    assert [stage["steps"] for stage in stages.values()] == [4, 6]
    data = augmented.settings["data"]["init_args"]
    assert data["main"] == general.settings["data"]
    assert data["others"]["copies"]["init_args"]["train_files"] == [
        str(tmp_path / name) for name in ("copies.json", "train.json")
    ]
    others = {"data", "schedule"}
    assert {name: part for name, part in augmented.settings.items() if name not in others} == {
        name: part for name, part in general.settings.items() if name not in others
    }


def test_copies_are_made_once(tmp_path):
    calls = []

    def command(arguments, folder):
        calls.append((arguments[0], folder))
        write_text(folder / "copies.json", "{}")

    for _ in range(2):
        augment(tmp_path, "train.json", tmp_path / "copies.json", 2, command)
    assert calls == [("augment", tmp_path)]


@pytest.mark.slow
def test_all_arms_are_trained_and_tested(backbone_folder, teacher_folder, squad_file, text_file, tmp_path):
    text = {"train_files": [str(text_file)], "validation_every": 4, "block_length": 32, "batch_size": 2}
    general = general_arm(backbone_folder, text, TINY, steps=2, learning_rate=1e-3)
    started = Campaign(tmp_path / "start", {GENERAL: general}, [1], []).train(GENERAL, 1) / "student"
    copies = tmp_path / "copies.json"
    augment(backbone_folder, str(squad_file), copies, num_copies=1)
    arms = arms_of(teacher_folder, started, squad_file, copies)
    campaign = Campaign(tmp_path / "runs", arms, [1], [str(squad_file)])
    campaign.run()
    reports = [json.loads((campaign.trained(name, 1) / "report.json").read_text("utf-8")) for name in ARMS]
    assert len({report["student"]["num_parameters"] for report in reports}) == 1
    assert [len(report["data"].get("others", {})) for report in reports] == [0, 0, 1]
    assert set(campaign.scores([(GENERAL, PLAIN), (AUGMENTED, GENERAL)])["arms"]) == set(ARMS)
