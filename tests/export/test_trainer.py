"""The command ``export`` as a user meets it."""

import builtins
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import yaml
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaForQuestionAnswering,
)

from distill.cli import main
from distill.export.runtime import OnnxModel
from distill.files import write_json
from distill.models.saving import save_heads
from distill.models.sharing import share_encoder
from tests.conftest import squad_document
from tests.test_cli import DISTILL
from tests.test_configs import CONFIGS, tiny

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def arguments(teacher_folder, squad_file, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [DISTILL, *tiny(teacher_folder, squad_file, tmp_path, "DistillationModule")]


@pytest.fixture
def export(arguments, teacher_folder) -> list[str]:
    """An export of a student that is as good as its teacher: the teacher itself."""
    return ["export", *arguments, f"--student={teacher_folder}", "--output=out"]


def fails(arguments: list[str], capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    return exit_info.value.code, lines[-1]


def samples(folder: Path) -> list[str]:
    """Return the Python that a model card shows."""
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def run_sample(code: str) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "sample", "exec"), {})
    return printed.getvalue().strip()


@pytest.mark.slow
def test_fit_then_export_gives_a_checked_folder(arguments, tmp_path, monkeypatch, capsys):
    epochs = ["--schedule.stages.intermediate.epochs=1", "--schedule.stages.logits.epochs=1"]
    main(["fit", *arguments, *epochs])
    run = tmp_path / "lightning_logs" / "distill" / "version_0"
    monkeypatch.setattr("distill.modules.distillation.load_frozen", lambda *_: pytest.fail("a teacher was loaded"))
    # The run's own configuration and checkpoint are all it takes.
    checkpoint = run / "checkpoints" / "best.ckpt"
    main(["export", f"--config={run / 'config.yaml'}", f"--ckpt_path={checkpoint}", "--output=o"])
    folder = tmp_path / "o"
    assert {path.name for path in (tmp_path / "lightning_logs" / "distill").iterdir()} == {"version_0"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".o")]

    student, info = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    best = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(best[f"student.{name}"], tensor) for name, tensor in student.state_dict().items())
    inputs = AutoTokenizer.from_pretrained(folder)("¿Dónde nació Ana?", "Ana Rúa nació en Jaén.", return_tensors="pt")
    with torch.no_grad():
        expected = student(**inputs)
    found = OnnxModel.load(folder)(**inputs)
    torch.testing.assert_close(found.start_logits, expected.start_logits, atol=1e-4, rtol=0)
    assert OnnxModel.load(folder, dtype="int8")(**inputs).end_logits.shape == expected.end_logits.shape

    result = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert list(result["formats"]) == ["torch", "onnx", "int8"]
    for form in result["formats"].values():
        assert form["scores"]["num_questions"] == 18
        assert form["latency"][0]["p50_ms"] > 0
    assert result["formats"]["torch"]["max_difference"] == {"padded": 0.0, "unpadded": 0.0}
    assert max(result["formats"]["onnx"]["max_difference"].values()) < 1e-4
    assert result["formats"]["onnx"]["changed_answers"] == {}
    assert (result["reference"], result["data"]["max_length"]) == ({"batch_size": 1, "length": 32}, 64)
    reported = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert set(result["formats"]["torch"]["scores"]) == set(reported["student"]["scores"])
    assert "verdict" in capsys.readouterr().out

    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "- Weights: best.ckpt" in card
    assert str(tmp_path) not in card
    monkeypatch.chdir(folder)
    context = "Lucía Ferrer nació en Cádiz en 1900 y murió en Jaén."
    torch_sample, onnx_sample = samples(folder)
    assert run_sample(torch_sample) in context
    assert run_sample(onnx_sample) in context
    float_sample = onnx_sample.replace("model_int8.onnx", "model.onnx")
    assert run_sample(float_sample) == run_sample(torch_sample)


def test_bf16_and_no_onnx_from_a_student_folder(export, monkeypatch):
    monkeypatch.setattr("distill.export.trainer.import_onnx", lambda: pytest.fail("ONNX is not asked for"))
    main([*export, "--formats=[bf16]", "--license=cc-by-4.0"])
    assert AutoModelForQuestionAnswering.from_pretrained("out/bf16").dtype == torch.bfloat16
    assert not Path("out/onnx").exists()
    assert list(json.loads(Path("out/export.json").read_text(encoding="utf-8"))["formats"]) == ["torch", "bf16"]
    assert "license: cc-by-4.0" in Path("out/README.md").read_text(encoding="utf-8")


def test_student_of_one_of_several_tasks_is_exported_with_what_its_run_reports_of_it(export, teacher_folder, tmp_path):
    run = tmp_path / "run"
    (run / "student").mkdir(parents=True)
    names = {"qa": AutoModelForQuestionAnswering, "pairs": AutoModelForSequenceClassification}
    models = {name: auto.from_pretrained(teacher_folder) for name, auto in names.items()}
    share_encoder(models["pairs"], models["qa"])
    save_heads(models, AutoTokenizer.from_pretrained(teacher_folder), run / "student")
    main([*export[:-2], f"--student={teacher_folder}", "--output=plain", "--formats=[]"])
    plain = json.loads(Path("plain/export.json").read_text(encoding="utf-8"))
    scores = {**plain["formats"]["torch"]["scores"], "f1": 12.34}
    section = {"data": plain["data"], "teacher": {"scores": scores}, "speedup": {"p50": 7.5}}
    shared = {"status": "finished", "environment": {"num_steps": 30}, "stages": [], "teacher": {"mean": 50.0}}
    write_json(run / "report.json", {**shared, "tasks": {"qa": section, "pairs": section}})
    tasks = {"qa": {"teacher": "large"}, "pairs": {"teacher": "other"}}
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"tasks": tasks}}}), encoding="utf-8")

    main([*export, f"--student={run / 'student' / 'qa'}", "--formats=[]"])
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "distilled from `large`" in card
    assert "| 12.34 |" in card
    assert "was 7.50x faster" in card
    assert "- Other tasks that trained the same encoder: pairs" in card


@pytest.mark.parametrize(
    ("output", "report", "is_drawn"), [("export", {}, True), ("o", {}, False), ("export", [], False)]
)
def test_export_in_a_runs_folder_is_shown_on_its_page(export, output, report, is_drawn):
    write_json(Path("run") / "report.json", report)
    main([*export[:-1], f"--output=run/{output}", "--formats=[]"])
    assert (Path("run") / output / "export.json").is_file()
    page = Path("run") / "report.html"
    assert page.is_file() == is_drawn
    assert not is_drawn or "Exported formats" in page.read_text(encoding="utf-8")


def test_fine_tuned_model_is_exported_as_it_lies(teacher_folder, squad_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = tiny(teacher_folder, squad_file, tmp_path, "QuestionAnsweringModule")[2:]
    model = [f"--config={CONFIGS / 'teacher.yaml'}", f"--model.model={teacher_folder}", "--model.architecture=null"]
    main(
        ["export", *model, "--model.init=random", "--model.tokenizer=null", *arguments, "--output=out", "--formats=[]"]
    )
    exported = AutoModelForQuestionAnswering.from_pretrained("out").state_dict()
    original = AutoModelForQuestionAnswering.from_pretrained(teacher_folder).state_dict()
    assert all(torch.equal(exported[name], tensor) for name, tensor in original.items())
    assert "its teacher, if any, is unknown" in Path("out/README.md").read_text(encoding="utf-8")


def test_checkpoint_whose_balance_is_of_an_earlier_version_is_exported(
    teacher_folder, squad_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    weights = AutoModelForQuestionAnswering.from_pretrained(teacher_folder).state_dict()
    balance = {"stage": "logits", "names": ["logits"], "first_step": 0, "seen": torch.ones(2, 1)}
    content = {f"student.{name}": tensor + 1 for name, tensor in weights.items()}
    head = {"pytorch-lightning_version": "2.6.6", "global_step": 1}
    torch.save({"state_dict": content, "loss_balance": balance, **head}, "old.ckpt")
    settings = tiny(teacher_folder, squad_file, tmp_path, "QuestionAnsweringModule")[2:]
    model = [f"--config={CONFIGS / 'teacher.yaml'}", f"--model.model={teacher_folder}", "--model.architecture=null"]
    model += ["--model.init=random", "--model.tokenizer=null", "--ckpt_path=old.ckpt"]
    main(["export", *model, *settings, "--output=out", "--formats=[]"])
    exported = AutoModelForQuestionAnswering.from_pretrained("out").state_dict()
    assert all(torch.equal(exported[name], tensor + 1) for name, tensor in weights.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--student=null"], "weights are random; name a run's with --ckpt_path or --student"),
        (["--student=null", "--ckpt_path=absent.ckpt"], "absent.ckpt: there is no such file"),
        (["--student=null", "--ckpt_path=best"], "best: there is no such file"),
        (["--student=nowhere"], "nowhere: no folder"),
        (["--formats=[onnx, int4]"], "int4"),
        (["--benchmark.lengths=[200]"], "benchmark.lengths: 200 is more than the student's 128 positions"),
        (["--push_to_hub=ana/alumno"], "set HF_TOKEN or run: hf auth login"),
        (["--data.validation_files=[absent.json]"], "absent.json"),
    ],
)
def test_mistakes_end_with_one_line_and_no_folder(export, changes, message, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    code, line = fails([*export, *changes], capsys)
    assert code in (1, 2)
    assert message in line
    assert not Path("out").exists()


def test_checkpoint_of_another_model_is_refused(export, capsys, teacher_config):
    other = RobertaForQuestionAnswering(teacher_config).state_dict()
    weights = {f"student.{name}": tensor for name, tensor in other.items()}
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.6.6", "global_step": 1}, "other.ckpt")
    code, line = fails([*export, "--student=null", "--ckpt_path=other.ckpt"], capsys)
    assert code == 1
    assert "other.ckpt: it holds no weights of the configured student" in line


@pytest.mark.parametrize("content", [b"no checkpoint", b""])
def test_file_that_is_no_checkpoint_is_refused(export, capsys, content):
    Path("wrong.ckpt").write_bytes(content)
    code, line = fails([*export, "--student=null", "--ckpt_path=wrong.ckpt"], capsys)
    assert code == 2
    assert "wrong.ckpt: the checkpoint is damaged" in line


def test_other_tasks_have_no_export(export, capsys):
    # A masked-language student is a step on the way, not a model to ask.
    code, line = fails([*export, "--model.task=distill.MaskedLanguage"], capsys)
    assert code == 2
    assert "SquadDataModule holds questions, which a model of 'masked_language' cannot learn from" in line


def test_two_sources_are_refused(export, capsys):
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.6", "global_step": 1}, "some.ckpt")
    code, line = fails([*export, "--ckpt_path=some.ckpt"], capsys)
    assert (code, "either --ckpt_path or --student, not both" in line) == (1, True)


def test_missing_extra_is_named_before_anything_loads(export, capsys, monkeypatch):
    real = builtins.__import__

    def without_onnx(name, *args, **kwargs):
        if name == "onnx":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    monkeypatch.setattr("distill.export.trainer.load_model", lambda *_: pytest.fail("weights were loaded"))
    code, line = fails(export, capsys)
    assert code == 1
    assert "pip install 'distill[export]'" in line


@pytest.mark.slow
def test_only_an_export_is_replaced_and_only_when_asked(export, capsys):
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("years of work")
    for arguments in (export, [*export, "--overwrite=true"]):
        code, line = fails(arguments, capsys)
        assert (code, "it exists and is no earlier export" in line) == (1, True)
    assert Path("out/thesis.tex").read_text() == "years of work"

    Path("out/thesis.tex").unlink()
    main([*export, "--formats=[]"])
    Path("out/marker").touch()
    code, line = fails([*export, "--formats=[]"], capsys)
    assert (code, "add --overwrite true" in line) == (1, True)
    assert Path("out/marker").exists()
    main([*export, "--formats=[]", "--overwrite=true"])
    assert Path("out/export.json").exists()
    assert not Path("out/marker").exists()


def test_failure_midway_leaves_nothing_behind(export, monkeypatch, tmp_path):
    def fail(*_):
        raise ZeroDivisionError

    before = set(tmp_path.iterdir())
    monkeypatch.setattr("distill.export.trainer.build_card", fail)
    with pytest.raises(ZeroDivisionError):
        main([*export, "--formats=[]"])
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "cache"}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["--ckpt_path=checkpoints/last.ckpt", "--student=student"])
def test_student_with_fewer_pieces_than_its_teacher_keeps_them(arguments, tmp_path, source):
    few = tmp_path / "few.json"
    few.write_text(json.dumps(squad_document(1)), encoding="utf-8")
    sizes = "num_layers: 2, hidden_size: 8, num_heads: 2, intermediate_size: 16"
    trimmed = [f"--data.train_files=[{few}]", f"--model.student={{{sizes}, vocabulary: trimmed}}"]
    main(["fit", *arguments, *trimmed, "--trainer.max_steps=1"])
    run = tmp_path / "lightning_logs" / "distill" / "version_0"
    option, _, place = source.partition("=")
    main(["export", f"--config={run / 'config.yaml'}", f"{option}={run / place}", "--output=out", "--formats=[]"])
    student = AutoModelForQuestionAnswering.from_pretrained("out")
    assert len(AutoTokenizer.from_pretrained("out")) == student.config.vocab_size < 300
    saved = AutoModelForQuestionAnswering.from_pretrained(run / "student").state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in student.state_dict().items())
    exported = json.loads(Path("out/export.json").read_text(encoding="utf-8"))["formats"]["torch"]
    reported = json.loads((run / "report.json").read_text(encoding="utf-8"))["student"]
    assert exported["scores"]["num_questions"] == reported["scores"]["num_questions"]


def test_push_uploads_the_finished_folder(export, monkeypatch):
    pushed = []

    def push(folder, repository, private):
        pushed.append((sorted(path.name for path in folder.iterdir()), repository, private))
        return "somewhere"

    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setattr("distill.export.trainer.push_folder", push)
    main([*export, "--formats=[]", "--push_to_hub=ana/alumno"])
    files = ["README.md", "config.json", "export.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert pushed == [(files, "ana/alumno", True)]
    assert 'name = "ana/alumno"' in Path("out/README.md").read_text(encoding="utf-8")
