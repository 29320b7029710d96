"""A comparison of runs goes on where it was killed and reports what they scored; runs are tiny or made up."""

import json
from pathlib import Path

import pytest
import yaml

from distill.files import write_json
from distill.reporting.status import RunStatus, write_status
from distill.types import Answer, Example, UserError

from .answerable import task_for
from .backbones import ARMS, PRETRAINED, RANDOM, READER, build_arms, hold_back
from .campaign import Arm, Campaign, merged, summarise


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


class FakeRuns:
    """Leaves what fits and tests leave, and remembers what was asked for."""

    def __init__(self, failing: tuple[str, str] | None = None) -> None:
        self.failing = failing
        self.calls: list[tuple[str, str]] = []

    def __call__(self, arguments, place) -> None:
        command, name = arguments[0], f"{place.parent.name}-{place.name}"
        self.calls.append((command, name))
        if (command, name) == self.failing:
            raise RuntimeError("killed")
        settings = yaml.safe_load((place / f"{command}.yaml").read_text(encoding="utf-8"))
        assert settings["trainer"]["logger"][0]["init_args"] == {"save_dir": str(place), "name": command}
        run = place / command / "version_0"
        if command == "fit":
            assert option(arguments, "--ckpt_path") == "auto"
            write_status(run, RunStatus("finished"))
        else:
            assert option(arguments, "--ckpt_path") == str(place / "fit" / "version_0" / "checkpoints" / "best.ckpt")
            assert settings["data"]["init_args"]["test_files"] == ["test.json"]
            write_json(run / "predictions.json", {"q": place.name})


def test_a_killed_campaign_does_only_what_is_left(tmp_path):
    arms = {"one": Arm(["teacher.yaml"], {"trainer": {"max_epochs": 1}}), "other": Arm(["teacher.yaml"])}
    first = FakeRuns(failing=("test", "other-2"))
    with pytest.raises(RuntimeError, match="killed"):
        Campaign(tmp_path, arms, [1, 2], ["test.json"], first).run()
    campaign = Campaign(tmp_path, arms, [1, 2], ["test.json"], second := FakeRuns())
    assert second.calls == []
    assert campaign.predictions("other", 2) is None
    campaign.run()
    assert second.calls == [("test", "other-2")]
    assert campaign.predictions("other", 2) == {"q": "2"}


def test_a_run_of_other_settings_is_not_taken_for_this_one(tmp_path):
    def campaign(steps):
        arms = {"one": Arm(["teacher.yaml"], {"trainer": {"max_steps": steps}, "data": {"files": ("a",)}})}
        return Campaign(tmp_path, arms, [1], ["test.json"], FakeRuns())

    campaign(100).run()
    campaign(100).run()
    with pytest.raises(UserError, match=r"one/1/fit\.yaml: this run was begun with other settings"):
        campaign(3000).run()


def test_what_is_held_back_is_in_no_other_article_and_the_questions_stay(tmp_path):
    articles = [
        {"title": str(number), "paragraphs": [{"context": f"Texto {number}."}, {"context": "TEXTO  0."}]}
        for number in range(3)
    ]
    (tmp_path / "train.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    files = hold_back(tmp_path / "train.json", tmp_path / "out")
    train = json.loads(Path(files["train"]).read_text(encoding="utf-8"))["data"]
    assert [[one["context"] for one in article["paragraphs"]] for article in train] == [["Texto 1."], ["Texto 2."]]
    with pytest.raises(UserError, match="is the questions' own file"):
        hold_back(tmp_path / "train.json", tmp_path)
    (tmp_path / "one.json").write_text(json.dumps({"data": articles[:1]}), encoding="utf-8")
    with pytest.raises(UserError, match="takes at least 2, not 1"):
        hold_back(tmp_path / "one.json", tmp_path / "out")


def test_the_questions_of_several_data_modules_are_tested_on(tmp_path):
    class Staged(FakeRuns):
        def __call__(self, arguments, place) -> None:
            if arguments[0] == "fit":
                super().__call__(arguments, place)
            else:
                self.settings = yaml.safe_load((place / "test.yaml").read_text(encoding="utf-8"))
                write_json(place / "test" / "version_0" / "predictions.json", {})

    runs = Staged()
    Campaign(tmp_path, {"one": Arm(["distill.yaml"], data=("main",))}, [1], ["test.json"], runs).run()
    assert runs.settings["data"] == {"init_args": {"main": {"init_args": {"test_files": ["test.json"]}}}}


def test_settings_are_laid_over_one_another_key_by_key():
    assert merged({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}, "d": None}) == {"a": {"b": 1, "c": [2]}, "d": None}


def test_scores_and_differences_by_hand():
    kinds = [(), (Answer("sí", 0),)]
    examples = [Example(str(index), "¿?", f"contexto {index % 5}", kinds[index % 2]) for index in range(20)]
    right = {example.question_id: "sí" if example.answers else "" for example in examples}
    answered = dict.fromkeys(right, "sí")
    results = summarise(examples, {"a": [right, right], "b": [right, answered]}, [("a", "b"), ("a", "absent")])
    assert results["arms"]["a"]["F1"] == {"seeds": [100, 100], "mean": 100, "interval": (100, 100)}
    assert results["arms"]["b"]["EM"]["seeds"] == [100, 50]
    assert list(results["differences"]) == ["a - b"]
    assert results["differences"]["a - b"]["F1"]["difference"] == 25


def test_one_article_in_ten_is_held_back_and_none_is_lost(tmp_path):
    articles = [{"title": str(number), "paragraphs": []} for number in range(21)]
    (tmp_path / "mix.json").write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    files = hold_back(tmp_path / "mix.json", tmp_path / "out")
    parts = {name: json.loads(Path(file).read_text(encoding="utf-8"))["data"] for name, file in files.items()}
    assert [article["title"] for article in parts["validation"]] == ["0", "10", "20"]
    assert sorted(article["title"] for part in parts.values() for article in part) == sorted(map(str, range(21)))


def test_the_reader_is_an_arm_of_its_own_and_starts_differ_alone(backbone_folder, tmp_path):
    files = {"train": "train.json", "validation": "validation.json"}
    task = {"class_path": "distill.QuestionAnswering", "init_args": {}}
    assert tuple(build_arms(backbone_folder, files, task, 2, 1e-3, 2, 0.5)) == (PRETRAINED, RANDOM)
    arms = build_arms(backbone_folder, files, task, 2, 1e-3, 2, 0.5, reader=tmp_path / "reader")
    assert tuple(arms) == ARMS
    assert arms[READER].settings["model"]["init_args"].pop("model") == str(tmp_path / "reader")
    assert arms[PRETRAINED].settings["model"]["init_args"].pop("model") == str(backbone_folder)
    assert arms[READER] == arms[PRETRAINED]


@pytest.mark.slow
def test_all_arms_are_trained_alike(backbone_folder, teacher_folder, squad_file, tmp_path):
    files = {"train": str(squad_file), "validation": str(squad_file)}
    arms = build_arms(
        backbone_folder, files, task_for([str(squad_file)]), steps=2, learning_rate=1e-3, batch_size=2, repetition=0,
        reader=teacher_folder,
    )  # fmt: skip
    tiny = {"data": {"init_args": {"max_length": 96, "doc_stride": 16}}, "benchmark": {"lengths": [16], "rounds": 1}}
    arms = {name: Arm(arm.configs, merged(arm.settings, tiny)) for name, arm in arms.items()}
    campaign = Campaign(tmp_path, arms, [1], [str(squad_file)])
    campaign.run()
    configured = json.dumps([arm.settings["model"] for arm in arms.values()])
    assert configured.count('"null_threshold": 0.0') == 3  # some of these questions are impossible
    reports = [json.loads((campaign.trained(name, 1) / "report.json").read_text("utf-8")) for name in ARMS]
    sizes = {name: report["student"]["num_parameters"] for name, report in zip(ARMS, reports, strict=True)}
    assert sizes[PRETRAINED] == sizes[RANDOM]
    assert all(campaign.predictions(name, 1) for name in ARMS)
