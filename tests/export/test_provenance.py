import copy
import json

import pytest
import yaml

from distill.export.provenance import find_provenance
from distill.types import UserError


def config(dataset="embedded", files=None, **model) -> str:
    data = {"init_args": {"dataset": dataset, "train_files": files, "validation_files": None}}
    return yaml.safe_dump({"model": {"init_args": model}, "data": data})


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "student").mkdir()
    (folder / "checkpoints" / "best.ckpt").touch()
    (folder / "report.json").write_text(json.dumps({"speedup": {"p50": 4.0}}), encoding="utf-8")
    (folder / "config.yaml").write_text(config(teacher="org/large"), encoding="utf-8")
    return folder


@pytest.mark.parametrize("source", ["checkpoints/best.ckpt", "student"])
def test_run_is_found_from_its_checkpoint_and_its_student(run, source):
    found = find_provenance(run / source, config(teacher="another"), None)
    assert found.report == {"speedup": {"p50": 4.0}}
    # What the run was, not what the command was given.
    assert found.teachers == ["org/large"]
    assert found.weights == source.rpartition("/")[2]


def test_elsewhere_only_the_command_is_known(tmp_path):
    found = find_provenance(tmp_path / "some" / "folder", config(teacher="org/large"), None)
    assert found.report is None
    assert found.teachers == ["org/large"]
    assert find_provenance(None, None, None).teachers == []
    assert find_provenance(None, None, None).weights is None


def test_report_of_a_run_that_was_stopped_says_nothing_of_the_student(run):
    (run / "report.json").write_text(json.dumps({"status": "stopped", "step": 4}), encoding="utf-8")
    found = find_provenance(run / "checkpoints" / "best.ckpt", None, None)
    assert (found.report, found.teachers) == (None, ["org/large"])


def test_broken_report_is_named(run):
    (run / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"report\.json: not valid JSON"):
        find_provenance(run / "student", None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "unknown"),
        (config(teacher="embedded", student={"init": "mimetic"}), "apache-2.0"),
        (config(teacher="embedded"), "apache-2.0"),
        (config(teacher="embedded", student={"init": "inherited"}), "apache-2.0"),
        (config(model="embedded"), "apache-2.0"),
        (config(teacher="org/large"), "unknown"),
        (config(teacher="embedded", student={"init": "org/base"}), "unknown"),
        (config(teacher="embedded", extra_teachers=[{"source": "org/large", "weight": 1.0}]), "unknown"),
        (config(teacher="embedded", files=["mine.json"]), "unknown"),
        (config(teacher="embedded", dataset="squad_es"), "unknown"),
    ],
)
def test_licence_is_known_only_for_what_the_package_carries(text, expected):
    assert find_provenance(None, text, None).license == expected
    assert find_provenance(None, text, "cc-by-4.0").license == "cc-by-4.0"


MULTITASK = {
    "model": {
        "init_args": {
            "tasks": {"qa": {"teacher": "embedded"}, "ner": {"teacher": "embedded_ner"}, "labelled": {"teacher": None}},
            "student": {"init": "inherited"},
        }
    },
    "data": {"init_args": {"tasks": {"qa": {"init_args": {"dataset": "embedded"}}, "ner": {}}}},
}


@pytest.fixture
def multitask_run(run):
    report = {
        "stages": [],
        "teacher": {"mean": 80.0},
        "tasks": {"qa": {"data": {"train": {}}, "teacher": {"scores": {"f1": 88.0}}}},
    }
    (run / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (run / "config.yaml").write_text(yaml.safe_dump(MULTITASK), encoding="utf-8")
    return run


def test_student_of_one_of_several_tasks_has_the_report_of_its_own(multitask_run):
    found = find_provenance(multitask_run / "student" / "qa", config(teacher="another"), None)
    assert found.report == {"stages": [], "data": {"train": {}}, "teacher": {"scores": {"f1": 88.0}}}
    assert (found.task, found.teachers, found.other_tasks) == ("qa", ["embedded"], ["labelled", "ner"])
    labelled = find_provenance(multitask_run / "student" / "labelled", None, None)
    assert (labelled.teachers, labelled.report) == ([], None)


def test_folder_that_is_none_of_the_runs_tasks_tells_nothing_of_its_making(multitask_run):
    found = find_provenance(multitask_run / "student" / "encoder", None, None)
    assert (found.report, found.task, found.teachers) == (None, None, [])


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("model", "tasks", "ner", "teacher"), "embedded_ner", "apache-2.0"),
        (("model", "tasks", "ner", "teacher"), "org/large", "unknown"),
        (("data", "tasks", "ner"), {"init_args": {"dataset": "conll2002"}}, "unknown"),
        (("data", "tasks", "ner"), {"init_args": {"dataset": "embedded", "train_files": ["a.conll"]}}, "unknown"),
    ],
)
def test_licence_of_one_of_several_tasks_is_that_of_all(path, value, expected):
    settings = copy.deepcopy(MULTITASK)
    settings["data"]["init_args"]["tasks"]["ner"] = {"init_args": {"dataset": "embedded"}}
    place = settings[path[0]]["init_args"]
    for key in path[1:-1]:
        place = place[key]
    place[path[-1]] = value
    assert find_provenance(None, yaml.safe_dump(settings), None).license == expected
