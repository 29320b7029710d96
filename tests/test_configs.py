"""Every YAML under configs/ parses, and runs a batch on tiny models."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

import distill
from distill.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
RUNS = sorted(path for path in CONFIGS.rglob("*.yaml") if not {"controls", "devices", "sweeps"} & set(path.parts))
OVERLAYS = sorted(path for folder in ("controls", "devices") for path in (CONFIGS / folder).glob("*.yaml"))


def run(command: str, *arguments: str) -> None:
    main([command, *arguments])


def tiny(teacher_folder, file, tmp_path, model: str, data: str = "SquadDataModule", place: str = "data") -> list[str]:
    """Return the command-line arguments that shrink a configuration to tiny models and data."""
    settings = {
        "SquadDataModule": {"max_length": 64, "doc_stride": 8, "max_question_length": 24},
        "TextDataModule": {"block_length": 32, "deduplicate": "false"},
        "LabelledDataModule": {"max_length": 48},
    }[data.split(".")[-1]]
    # Text that is trained on may not be scored; the questions here may.
    scored = Path(file).with_name("otro.txt") if data.endswith("TextDataModule") else file
    files = {"train_files": f"[{file}]", "validation_files": f"[{scored}]", "cache_dir": tmp_path / "cache"}
    if model.endswith("DistillationModule"):
        sizes = {"num_layers": 2, "hidden_size": 8, "num_heads": 2, "intermediate_size": 16}
        models = [f"--model.teacher={teacher_folder}", f"--model.student={sizes}"]
    else:
        sizes = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": 130}
        models = [f"--model.tokenizer={teacher_folder}", f"--model.architecture={ {'model_type': 'roberta', **sizes} }"]
    return [
        *models,
        *(f"--{place}.{name}={value}" for name, value in {**settings, **files}.items()),
        *("--benchmark.lengths=[32]", "--benchmark.rounds=2", "--benchmark.warmup=0", "--throughput.peak_size=16"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
    ]


#: Tiny data of tasks with labels.
LABELLED = {
    "distill.TokenClassification": ("a.conll", "Lucía B-PER\nvive O\n\n" * 4),
    "distill.SequenceClassification": ("a.tsv", "sentence1\tsentence2\tlabel\n" + "Hola.\tAdiós.\t0\n" * 4),
}


#: What else does not fit a teacher of four layers and a student of two.
EXTRAS = {
    "spanish_tinyroberta": ["--model.layer_map={attention: [1, 3], hidden: [0, 2, 4]}"],
    "distilbert_qa": [
        "--model.layer_map=[0, 3]",
        "--model.student.hidden_size=16",
        "--model.student.intermediate_size=32",
    ],
    "best": ["--model.student.hidden_size=16", "--model.student.intermediate_size=32"],
    "minilm": [
        f"--model.losses.relations.init_args.{setting}"
        for setting in ("num_relation_heads=4", "student_layer=1", "teacher_layer=2")
    ],
}


def several_tasks(config: dict, teacher_folder: Path, squad_file: Path, tmp_path: Path) -> list[str]:
    """Return the arguments that shrink a run of several tasks: tiny data, and one tiny teacher, for the questions."""
    tasks, data = copy.deepcopy(config["model"]["init_args"]["tasks"]), {}
    for name, settings in tasks.items():
        kind, file, limits = "LabelledDataModule", tmp_path / name, {"max_length": 48}
        labels = settings["task"].get("init_args", {}).get("labels")
        if settings["task"]["class_path"] == "distill.QuestionAnswering":
            settings["teacher"] = str(teacher_folder)
            kind, file = "SquadDataModule", squad_file
            limits = {"max_length": 64, "doc_stride": 8, "max_question_length": 24}
        else:
            settings["teacher"] = None
            suffix, content = LABELLED[settings["task"]["class_path"]]
            if labels is not None:
                content = content.replace("B-PER", labels[0]).replace("O\n", f"{labels[1]}\n").replace("0", labels[0])
            columns = settings["task"].get("init_args", {}).get("columns", {})
            for column, usual in (("text", "sentence1"), ("pair", "sentence2")):
                content = content.replace(usual, columns.get(column, usual))
            file = tmp_path / f"{name}-{suffix}"
            file.write_text(content, encoding="utf-8")
        files = {"train_files": [str(file)], "validation_files": [str(file)], "cache_dir": str(tmp_path / "cache")}
        data[name] = {"class_path": f"distill.{kind}", "init_args": {**limits, **files}}
    return [
        f"--model.tasks={json.dumps(tasks)}",
        f"--data.tasks={json.dumps(data)}",
        "--model.student={num_layers: 2, hidden_size: 8, num_heads: 2, intermediate_size: 16, init: random}",
        f"--schedule.stages.{next(iter(config['schedule']['stages']))}.tasks=[qa]",
        *("--benchmark.lengths=[32]", "--benchmark.rounds=2", "--benchmark.warmup=0", "--throughput.peak_size=16"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
    ]


@pytest.fixture
def shrink(teacher_folder, backbone_folder, squad_file, text_file, tmp_path):
    """Return the arguments that shrink the configuration in a file."""

    def arguments(path: Path) -> list[str]:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        model, data = config["model"]["class_path"], config["data"]["class_path"]
        settings = config["model"]["init_args"]
        if data in ("distill.TextDataModule", "distill.SquadDataModule", "distill.LabelledDataModule"):
            folder, file = teacher_folder, squad_file
            if data == "distill.TextDataModule":
                folder, file = backbone_folder, text_file
            elif data == "distill.LabelledDataModule":
                name, content = LABELLED[settings["task"]["class_path"]]
                file = tmp_path / name
                file.write_text(content, encoding="utf-8")
            own = tiny(folder, file, tmp_path, model, data)
            if "model" in settings:
                own = [argument for argument in own if not argument.startswith(("--model.tok", "--model.arch"))]
                own.append(f"--model.model={folder}")
            return [*own, *EXTRAS.get(path.stem, [])]
        if data == "distill.MultiTaskDataModule":
            return several_tasks(config, teacher_folder, squad_file, tmp_path)
        main = tiny(teacher_folder, squad_file, tmp_path, model, place="data.main")
        text = {"train_files": [str(text_file)], "block_length": 32, "cache_dir": str(tmp_path / "cache")}
        others = {"text": {"class_path": "distill.TextDataModule", "init_args": text}}
        return [*main, f"--data.others={others}"]

    return arguments


@pytest.mark.parametrize("terms", [["attention", "hidden", "embeddings"], ["relations"]], ids=lambda terms: terms[0])
def test_general_distillation_runs_as_its_comments_have_it(terms, shrink, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, text = CONFIGS / "general.yaml", (CONFIGS / "general.yaml").read_text(encoding="utf-8")
    weights = ", ".join(f"{term}: 1.0" for term in terms)
    text = re.sub(r"\n +weights: .*", "", text).replace(f"# weights: {{{weights}}}", f"weights: {{{weights}}}")
    smaller = []
    if "relations" in terms:
        text = re.sub(r"# (losses:|  relations:)", r"\1", text)
        smaller = ["--model.losses.relations.init_args.num_relation_heads=4"]
    Path("general.yaml").write_text(text, encoding="utf-8")
    assert list(yaml.safe_load(text)["schedule"]["stages"]["general"]["weights"]) == terms
    run("fit", "--config=general.yaml", "--trainer.fast_dev_run=true", *shrink(own), *smaller)


SEVERAL = [path for path in RUNS if "distill.MultiTaskModule" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", SEVERAL, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_wandb_keeps_the_best_main_score_of_every_task(path):
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    expected = {"val/mean"}
    for name, settings in config["model"]["init_args"]["tasks"].items():
        kind = getattr(distill, settings["task"]["class_path"].removeprefix("distill."))
        labels = {key: value for key, value in settings["task"].get("init_args", {}).items() if key == "labels"}
        expected.add(f"{name}/val/{kind(**labels).main_score.name}")
    for logger in config["trainer"]["logger"]:
        if logger["class_path"] == "distill.WandbRun":
            assert set(logger["init_args"]["best"]) == expected


def test_there_are_configurations():
    assert {path.name for path in RUNS} >= {
        "chain.yaml",
        "distill.yaml",
        "general.yaml",
        "multitask.yaml",
        "pretrain.yaml",
        "teacher.yaml",
    }
    assert OVERLAYS


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_configuration_parses_and_runs_a_batch(path, shrink, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("fit", f"--config={path}", "--trainer.fast_dev_run=true", *shrink(path))
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.parametrize("path", [path for path in RUNS if "multitask" in path.stem], ids=lambda path: path.stem)
def test_run_of_several_tasks_parses_as_it_stands(path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("fit", f"--config={path}", "--print_config")
    assert not stopped.value.code
    tasks = yaml.safe_load(capsys.readouterr().out)
    assert list(tasks["model"]["init_args"]["tasks"]) == list(tasks["data"]["init_args"]["tasks"])


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_overlay_runs_a_batch_on_top_of_its_base(path, shrink, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = CONFIGS / re.search(r"--config configs/([\w/]+\.yaml) --config", path.read_text(encoding="utf-8"))[1]
    run("fit", f"--config={base}", f"--config={path}", "--trainer.fast_dev_run=true", *shrink(base))


@pytest.mark.parametrize("base", RUNS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_overlays_of_devices_fit_every_base(base, capsys):
    overlays = [f"--config={path}" for path in OVERLAYS if path.parent.name == "devices"]
    with pytest.raises(SystemExit) as stopped:
        run("fit", f"--config={base}", *overlays, "--print_config")
    assert not stopped.value.code
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["data"]["init_args"]["max_tokens"] == 16384
    own = yaml.safe_load(base.read_text(encoding="utf-8"))["trainer"].get("precision")
    assert settings["trainer"]["precision"] == own  # left out, it is chosen by what the device has


@pytest.mark.parametrize("path", [*RUNS, *OVERLAYS], ids=lambda path: path.stem)
def test_configuration_opens_with_purpose_and_command(path):
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("# Purpose:")
    assert second.startswith("# Command:  python train.py fit --config configs/")
