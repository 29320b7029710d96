"""The command line as a user meets it: whole runs on tiny models, and one clear message for each mistake."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from distill.cli import main
from distill.data.base import SPLITS
from distill.data.datamodule import SquadDataModule
from tests.conftest import squad_document
from tests.test_configs import CONFIGS, tiny

DISTILL = f"--config={CONFIGS / 'distill.yaml'}"


@pytest.fixture
def arguments(teacher_folder, squad_file, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [DISTILL, *tiny(teacher_folder, squad_file, tmp_path, "DistillationModule")]


@pytest.fixture
def short(arguments) -> list[str]:
    return [*arguments, "--schedule.stages.intermediate.epochs=1", "--schedule.stages.logits.epochs=2"]


def fails(arguments: list[str], capsys) -> tuple[int, str]:
    """Run a command that must fail; return its exit code and its last line."""
    with pytest.raises(SystemExit) as exit_info:
        main(["fit", *arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    return exit_info.value.code, lines[-1]


@pytest.mark.parametrize(
    ("units", "asked", "precision", "warned"),
    [(True, None, "bf16-mixed", 0), (False, None, "32-true", 0), (False, "bf16-mixed", "bf16-mixed", 1)],
)
def test_a_run_computes_in_what_the_processor_is_fast_in(
    units, asked, precision, warned, arguments, monkeypatch, recwarn
):
    precisions = []
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": units})
    monkeypatch.setattr("distill.cli.ExportTrainer.fit", lambda trainer, *_, **__: precisions.append(trainer.precision))
    main(["fit", *arguments, *([f"--trainer.precision={asked}"] if asked else [])])
    assert precisions == [precision]
    assert sum("without bfloat16 units" in str(warning.message) for warning in recwarn) == warned


def test_fit_then_test_and_predict(short, tmp_path, capsys):
    main(["fit", *short])
    run = tmp_path / "lightning_logs" / "distill" / "version_0"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert [stage["name"] for stage in report["stages"]] == ["intermediate", "logits"]
    assert set(report) >= {"teacher", "student", "retention", "speedup", "stages", "data", "environment", "checkpoints"}
    for role in ("teacher", "student"):
        assert set(report[role]) >= {"exact_match", "f1", "num_parameters", "latency_ms"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt", "best.ckpt"}
    assert yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["seed_everything"] == 42
    assert (run / "samples.json").exists()

    # The folder loads with transformers alone and holds the best weights.
    student = AutoModelForQuestionAnswering.from_pretrained(run / "student")
    AutoTokenizer.from_pretrained(run / "student")
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(best[f"student.{name}"], tensor) for name, tensor in student.state_dict().items())

    # A test of the best checkpoint gives the scores that the run reported.
    main(["test", *short, f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"])
    predictions = json.loads(
        (tmp_path / "lightning_logs" / "distill" / "version_1" / "predictions.json").read_text(encoding="utf-8")
    )
    paragraphs = squad_document()["data"][0]["paragraphs"]
    contexts = {qa["id"]: paragraph["context"] for paragraph in paragraphs for qa in paragraph["qas"]}
    assert set(predictions) == set(contexts)
    assert all(text in contexts[question_id] for question_id, text in predictions.items())

    questions = tmp_path / "open.json"
    questions.write_text(json.dumps(squad_document(1)), encoding="utf-8")
    checkpoint = run / "checkpoints" / "last.ckpt"
    main(["predict", *short, f"--data.predict_files=[{questions}]", f"--ckpt_path={checkpoint}"])
    predictions = json.loads(
        (tmp_path / "lightning_logs" / "distill" / "version_2" / "predictions.json").read_text(encoding="utf-8")
    )
    assert set(predictions) == {"q-0-0", "q-0-1", "q-0-2"}
    assert "Test" in capsys.readouterr().out


def test_test_of_a_checkpoint_equals_the_runs_own_validation(short, tmp_path):
    main(["fit", *short])
    logs = tmp_path / "lightning_logs" / "distill"
    best = json.loads((logs / "version_0" / "report.json").read_text(encoding="utf-8"))["checkpoints"]["best"]
    main(["test", *short, f"--ckpt_path={logs / 'version_0' / 'checkpoints' / 'best.ckpt'}"])
    header, *rows = (logs / "version_1" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    tested = dict(zip(header.split(","), rows[-1].split(","), strict=True))
    for score in ("exact_match", "f1"):
        assert float(tested[f"test/{score}"]) == pytest.approx(best["scores"][score], abs=1e-4)


@pytest.mark.slow
def test_inherited_student_with_a_trimmed_vocabulary_runs_end_to_end(short, tmp_path):
    few = tmp_path / "few.json"
    few.write_text(json.dumps(squad_document(1)), encoding="utf-8")
    sizes = "num_layers: 2, hidden_size: 8, num_heads: 2, intermediate_size: 16"
    student = f"--model.student={{{sizes}, init: inherited, vocabulary: trimmed}}"
    layer_map = "--model.layer_map={attention: [0, 3], hidden: [0, 1, 4]}"
    main(["fit", *short, student, layer_map, f"--data.train_files=[{few}]"])
    run = tmp_path / "lightning_logs" / "distill" / "version_0"
    inheritance = json.loads((run / "student" / "inheritance.json").read_text(encoding="utf-8"))
    assert inheritance["layers"] == [0, 3]
    student = AutoModelForQuestionAnswering.from_pretrained(run / "student")
    assert [tensor["name"] for tensor in inheritance["tensors"]] == [name for name, _ in student.named_parameters()]
    tokenizer = AutoTokenizer.from_pretrained(run / "student")
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert len(tokenizer) == student.config.vocab_size == report["data"]["vocabulary"]

    # The folder is a student to start from, beside the teacher with all pieces.
    main(["fit", *short, f"--model.student={{init: {run / 'student'}}}", "--schedule.stages.intermediate=null"])
    second = AutoModelForQuestionAnswering.from_pretrained(run.with_name("version_1") / "student")
    assert second.config.vocab_size == len(tokenizer)


def test_layer_similarity_is_in_the_runs_folder(short, tmp_path):
    main(["fit", *short, "--model.layer_map=similarity"])
    run = tmp_path / "lightning_logs" / "distill" / "version_0"
    similarity = json.loads((run / "layer_similarity.json").read_text(encoding="utf-8"))
    assert [len(row) for row in similarity["matrix"]] == [4, 4]
    assert (run / "layer_similarity.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("--data.bogus=3", "'bogus' is not accepted$"),
        ("--data.batchsize=3", r"'batchsize' is not accepted; did you mean batch_size or eval_batch_size\?$"),
        ("--modell=x", r"--modell=x; did you mean --model\?$"),
        ("--model.student={num_layer: 2}", r"option 'num_layer'; did you mean num_layers\?$"),
        ("--schedule.stages.logits.epoch=2", r"'epoch' is not accepted; did you mean epochs\?$"),
        ("--trainer.maximal_epochs=2", r"did you mean --trainer\.max_epochs"),
        ("--max_epochs=2", r"did you mean --trainer\.max_epochs\?$"),
        ("--benchmark.lengths=32", r"^error: Parser key \"benchmark\.lengths\": it takes a list: write '\[32\]'$"),
        ("--schedule.stages.logits.tasks=qa", r"\"tasks\": it takes a list: write '\[qa\]'$"),
        ("--data.batch_size=x", "batch_size"),
        ("--data.batch_size=0", r"^error: data\.batch_size must be at least 1, not 0$"),
        ("--model.class_path=distill.Nothing", "Nothing"),
        ("--model.class_path=distill.DistilationModule", r"did you mean DistillationModule\?$"),
        ("--model.student={num_layers: 0}", "student.num_layers must be at least 1"),
        ("--model.student={num_layers: 2, hidden_size: 9, num_heads: 2}", "not a multiple"),
        ("--model.student={num_layers: 2, hidden_size: 8, num_heads: 4}", "heads"),
        ("--model.layer_map=[0, 9]", r"layer_map\[1\] is 9"),
        ("--model.layer_map={attention: [0, 1], hidden: [9, 0]}", r"layer_map.hidden\[0\] is 9"),
        ("--model.student={num_layers: 2, hidden_size: 8, init: layers}", "hidden_size is 8 and the teacher's 16"),
        ("--model.student={num_layers: 2, vocabulary: half}", "vocabulary"),
        ("--model.teacher=nowhere", "nowhere"),
        ("--schedule.stages.logits.epochs=0", "stage 'logits': its length must be more than 0"),
        ("--schedule.stages.logits.weights={nonsense: 1.0}", "'nonsense' names no loss"),
        ("--schedule.stages.logits=3", "schedule.stages"),
        ("--benchmark.rounds=0", "rounds must be at least 1"),
        ("--config=absent.yaml", "absent.yaml"),
        ("--data.max_length=900", "128 positions"),
        ("--trainer.precision=17", "trainer.precision"),
    ],
)
def test_wrong_setting_ends_with_code_2_and_one_line(arguments, mistake, message, capsys, monkeypatch):
    monkeypatch.setattr("distill.models.loading.load_frozen", lambda *_: pytest.fail("weights were loaded"))
    code, line = fails([*arguments, mistake], capsys)
    assert code == 2
    assert re.search(message, line)


def test_stage_on_plain_text_cannot_teach_answers(capsys):
    weights = "--schedule.stages.general.weights={hidden: 1.0, logits: 1.0}"
    code, line = fails([f"--config={CONFIGS / 'chain.yaml'}", weights], capsys)
    assert code == 2
    assert "stage 'general': data 'text' has no labels of the task question_answering; weigh losses on layers" in line


def test_misspelt_setting_of_a_file_is_named_with_the_right_one(arguments, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("trainer: {max_epoch: 3}", encoding="utf-8")
    code, line = fails([*arguments, "--config=mine.yaml"], capsys)
    assert code == 2
    assert "'trainer.max_epoch'; did you mean trainer.max_epochs" in line


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fti"], "error: no command 'fti': choose among fit, validate, test, predict, export, answer, augment, cloze, "
                  "demo; did you mean fit?"),
        (["demo", "--prot=3"], "error: unrecognized arguments: --prot=3; did you mean --port?"),
    ],
)  # fmt: skip
def test_misspelt_command_or_option_of_a_tool_is_named_with_the_right_one(command, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(command)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == message


def broken(text: str):
    return lambda _: text


def shifted(document: dict) -> str:
    for paragraph in document["data"][0]["paragraphs"]:
        paragraph["context"] = "Además, " + paragraph["context"]
    return json.dumps(document)


def emptied(document: dict) -> str:
    document["data"][0]["paragraphs"][2]["context"] = ""
    return json.dumps(document)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken('{"data": ['), "not valid JSON|JSON"),
        (broken("pregunta,respuesta\n¿Qué?,nada\n"), "JSON"),
        (broken('{"data": []}'), "no question"),
        (shifted, "is this SQuAD form"),
        (emptied, "context"),
    ],
)
def test_wrong_data_ends_with_code_1_and_one_line_that_names_the_file(arguments, damage, message, capsys, tmp_path):
    file = tmp_path / "wrong.json"
    file.write_text(damage(squad_document()), encoding="utf-8")
    code, line = fails([*arguments, f"--data.train_files=[{file}]"], capsys)
    assert code == 1
    assert "wrong.json" in line
    assert re.search(message, line)


def test_missing_file_is_named(arguments, capsys):
    code, line = fails([*arguments, "--data.train_files=[absent.json]"], capsys)
    assert code == 1
    assert "absent.json" in line


def test_fit_needs_a_stage(arguments, capsys):
    removed = ["--schedule.stages.intermediate=null", "--schedule.stages.logits=null"]
    code, line = fails([*arguments, *removed], capsys)
    assert code == 2
    assert "at least one stage" in line


@pytest.mark.parametrize(
    "option", ["--data.tokenizer=x", "--data.init_args.tokenizer=x", "--data.seed=3", "--data.vocabulary=trimmed"]
)
def test_settings_that_come_from_elsewhere_are_refused_on_the_command_line(option, arguments, capsys):
    code, line = fails([*arguments, option], capsys)
    assert code == 2
    assert option.split("=")[0] in line
    assert "it is that of the" in line


def test_settings_that_come_from_elsewhere_are_refused_in_a_file(arguments, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("data: {init_args: {seed: 3}}", encoding="utf-8")
    code, line = fails([*arguments, "--config=mine.yaml"], capsys)
    assert code == 2
    assert "mine.yaml: data.init_args.seed: it is that of the run: set seed_everything" in line


def test_without_a_configuration_one_line_says_so(capsys):
    code, line = fails([], capsys)
    assert code == 2
    assert "model" in line
    assert "--config configs/distill.yaml" in line


def test_one_setting_of_one_stage_can_be_changed_from_the_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["fit", *arguments, "--schedule.stages.logits.temperature=4", "--print_config"])
    assert exit_info.value.code == 0
    stages = yaml.safe_load(capsys.readouterr().out)["schedule"]["stages"]
    assert stages["logits"]["temperature"] == 4.0
    assert stages["logits"]["weights"]["logits"] == 1.0
    assert set(stages) == {"intermediate", "logits"}


@pytest.mark.parametrize(
    ("config", "option", "found"),
    [
        ("distill.yaml", "--model.student.num_layers", lambda model: model["student"]["num_layers"]),
        ("distill.yaml", "--model.init_args.student.dropout", lambda model: model["student"]["dropout"]),
        ("multitask.yaml", "--model.tasks.ner.teacher", lambda model: model["tasks"]["ner"]["teacher"]),
    ],
)
def test_null_on_the_command_line_is_null_however_deep_it_lies(config, option, found, capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", str(CONFIGS / config), option, "null", "--print_config"])
    assert end.value.code == 0
    assert found(yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]) is None


def test_second_configuration_is_laid_over_the_first(arguments, capsys):
    overlay = CONFIGS / "controls" / "labels_only.yaml"
    with pytest.raises(SystemExit):
        main(["fit", *arguments, f"--config={overlay}", "--print_config"])
    stages = yaml.safe_load(capsys.readouterr().out)["schedule"]["stages"]
    assert [name for name, stage in stages.items() if stage] == ["labels"]


@pytest.mark.parametrize(
    "command",
    [
        ["demo", "--help"],
        ["answer", "--help"],
        ["fit", "--help"],
        ["fit", "--model.help", "distill.DistillationModule"],
    ],
)
def test_help_is_plain_text(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(command)
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert "usage: " in text
    assert not re.findall(r".*`.*|.*:class:.*", text)


def test_help_runs_in_a_process_of_its_own():
    script = Path(__file__).parents[1] / "train.py"
    done = subprocess.run([sys.executable, script, "fit", "--help"], capture_output=True, text=True, check=True)
    for option in ("--schedule", "--benchmark.rounds", "--model", "--data"):
        assert option in done.stdout


@pytest.mark.slow
def test_pretrain_and_distil_in_general_from_the_command_line(teacher_folder, text_file, tmp_path, monkeypatch, capsys):
    """The result of the first run is the second one's teacher; both are scored by perplexity, the lower the better."""
    monkeypatch.chdir(tmp_path)
    steps = ["--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1"]
    small = tiny(teacher_folder, text_file, tmp_path, "MaskedLanguageModule", "TextDataModule")
    main(["fit", f"--config={CONFIGS / 'pretrain.yaml'}", *small, *steps, "--schedule.stages.masking.steps=4"])
    run = tmp_path / "lightning_logs" / "pretrain" / "version_0"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["checkpoints"]["rule"].startswith("best validation perplexity")
    assert report["throughput"]["total"]["num_batches"] == 4
    assert not (run / "samples.json").exists()
    scores = [
        float(row["val/perplexity"])
        for row in csv.DictReader((run / "metrics.csv").open(encoding="utf-8"))
        if row["val/perplexity"]
    ]
    assert len(scores) >= 2
    assert report["student"]["perplexity"] == pytest.approx(min(scores), rel=1e-4)
    card = (run / "student" / "README.md").read_text(encoding="utf-8")
    assert f"| perplexity | {report['student']['perplexity']:.2f} |" in card
    assert "class_path: distill.MaskedLanguageModule" in card

    small = tiny(run / "student", text_file, tmp_path, "DistillationModule", "TextDataModule")
    arguments = [f"--config={CONFIGS / 'general.yaml'}", *small]
    main(["fit", *arguments, *steps, "--schedule.stages.general.steps=2"])
    run = tmp_path / "lightning_logs" / "general" / "version_0"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    retained = report["teacher"]["perplexity"] / report["student"]["perplexity"]
    assert report["retention"]["perplexity"] == pytest.approx(retained)
    printed = capsys.readouterr().out
    assert "perplexity" in printed
    assert "F1" not in printed

    main(["test", *arguments, f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"])
    assert "masked tokens" in capsys.readouterr().out
    assert not (tmp_path / "lightning_logs" / "general" / "version_1" / "predictions.json").exists()


def test_a_single_file_needs_no_brackets(arguments, tmp_path, capsys):
    questions = tmp_path / "open.json"
    questions.write_text(json.dumps(squad_document(1)), encoding="utf-8")
    files = [f"--data.{part}_files={questions}" for part in ("train", "validation", "test", "predict")]
    with pytest.raises(SystemExit):
        main(["fit", *arguments, *files, "--print_config"])
    data = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert SquadDataModule(**data).files == {split: [str(questions)] for split in SPLITS}
