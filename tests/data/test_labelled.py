"""The data module of tasks with labels, and a run of each such task from the command line."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from transformers import AutoModelForTokenClassification

from distill.cli import main
from distill.data.labelled import LabelledDataModule
from distill.losses.logits import LabelLoss, LogitLoss
from distill.tasks.classification import SequenceClassification
from distill.tasks.labelled import IGNORED, LabelledTask
from distill.tasks.tagging import TokenClassification
from distill.types import Batch, Recording, UserError

NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCE = "Lucía B-PER\nFerrer I-PER\nnació O\nen O\n{town} B-LOC\n. O\n\n"
ROWS = [
    f"Lucía nació en {a}.\t{a} vio nacer a Lucía.\t1\nLucía nació en {a}.\tMurió en {b}.\t0\n"
    for a, b in (("Cádiz", "Jaén"), ("Ávila", "Lérida"), ("Jaén", "Cádiz"), ("Lérida", "Ávila")) * 3
]
FILES = {
    "tagging": ("a.conll", "".join(SENTENCE.format(town=town) for town in ("Cádiz", "Ávila", "Jaén") * 8)),
    "classification": ("a.tsv", "sentence1\tsentence2\tlabel\n" + "".join(ROWS)),
}
TASKS: dict[str, LabelledTask] = {"tagging": TokenClassification(NER), "classification": SequenceClassification()}
YAML = {
    "tagging": {"class_path": "distill.TokenClassification", "init_args": {"labels": NER}},
    "classification": {"class_path": "distill.SequenceClassification"},
}
KINDS = list(TASKS)


@pytest.fixture
def make_data(tmp_path, teacher_folder):
    def make(kind: str, **settings) -> LabelledDataModule:
        name, content = FILES[kind]
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
        files = {"train_files": [str(file)], "validation_files": [str(file)]}
        data = LabelledDataModule(
            TASKS[kind], **{
                "tokenizer": str(teacher_folder), "max_length": 48, "batch_size": 5, "eval_batch_size": 7,
                "cache_dir": str(tmp_path / "cache"), **files, **settings,
            },
        )  # fmt: skip
        data.check()
        data.setup("fit")
        return data

    return make


def logits_for(task: LabelledTask, batch: Batch, seed: int = 0) -> torch.Tensor:
    """Return scores that depend on the tokens alone, of the shape that the task's head gives."""
    table = torch.randn(400, len(task.labels), generator=torch.Generator().manual_seed(seed))
    per_token = table[batch.inputs["input_ids"]]
    if "class_ids" not in batch.labels:
        return per_token
    return (per_token * batch.attention_mask[..., None]).sum(1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_has_every_window_once_and_evaluation_batches_have_their_windows(make_data, kind):
    data = make_data(kind)
    batches = list(data.train_dataloader())
    assert sorted(torch.cat([batch.window_ids for batch in batches]).tolist()) == list(range(24))
    assert all(not batch.windows for batch in batches)
    assert all(len(batch.windows) == len(batch.window_ids) for batch in data.val_dataloader())
    assert data.summary()["train"]["examples"] == 24


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [LogitLoss(), LabelLoss()], ids=["logits", "labels"])
def test_losses_do_not_depend_on_padding_or_batches(make_data, kind, loss):
    data, task = make_data(kind), TASKS[kind]
    loss._task = task
    windows = data.train_dataloader().dataset

    def mean(ids: list[int], extra: int = 0):
        batch = windows[ids]
        padded = Batch(
            {name: torch.nn.functional.pad(values, (0, extra)) for name, values in batch.inputs.items()},
            {
                name: torch.nn.functional.pad(values, (0, extra), value=IGNORED) if values.ndim > 1 else values
                for name, values in batch.labels.items()
            },
            batch.window_ids,
        )
        student, teacher = (Recording(logits_for(task, padded, seed)) for seed in (0, 1))
        return loss(student, teacher, padded, temperature=2.0)

    whole, wide = mean(list(range(12))), mean(list(range(12)), extra=9)
    parts = [mean(list(range(5))), mean(list(range(5, 12)))]
    assert whole.value.item() > 0
    assert wide.value.item() == pytest.approx(whole.value.item(), rel=1e-5)
    assert sum(part.total.item() for part in parts) == pytest.approx(whole.total.item(), rel=1e-5)
    assert sum(int(part.count) for part in parts) == int(whole.count)


def test_tagging_losses_by_hand(make_data):
    """KL times T² over the labelled words alone, and cross entropy over the same."""
    task, loss = TASKS["tagging"], LogitLoss()
    loss._task = task
    batch = Batch(
        {"input_ids": torch.zeros(1, 4), "attention_mask": torch.tensor([[1, 1, 1, 0]])},
        {"label_ids": torch.tensor([[IGNORED, 2, 0, IGNORED]])},
        torch.zeros(1),
    )
    student, teacher = torch.randn(1, 4, 5), torch.randn(1, 4, 5)
    p, q = ((logits[0, 1:3] / 2).softmax(-1) for logits in (teacher, student))
    expected = 4 * (p * (p / q).log()).sum() / 2
    assert loss(Recording(student), Recording(teacher), batch, 2.0).value.item() == pytest.approx(expected.item(), 1e-5)
    labels = LabelLoss()
    labels._task = task
    logs = student[0].log_softmax(-1)
    value = labels(Recording(student), None, batch).value.item()
    assert value == pytest.approx(-(logs[1, 2] + logs[2, 0]).item() / 2, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_depend_on_batches_and_right_logits_score_100(make_data, kind):
    task = TASKS[kind]
    results, perfect = [], None
    for size in (1, 4, 64):
        data = make_data(kind, eval_batch_size=size)
        loader = data.val_dataloader()
        evaluation, ideal = (task.evaluation(loader.dataset.examples) for _ in range(2))
        for batch in loader:
            evaluation.update(logits_for(task, batch), batch)
            (labels,) = batch.labels.values()
            ideal.update(torch.nn.functional.one_hot(labels.clamp_min(0), len(task.labels)).float(), batch)
        results.append(evaluation.compute())
        perfect = ideal.compute()
    assert results[0] == results[1] == results[2]
    assert perfect.scores[task.main_score.name] == 100
    assert {score.name for score in task.headline} <= perfect.scores.keys()
    for name in next(iter(results[0].outcomes.values())):
        values = [row[name] for row in results[0].outcomes.values()]
        assert sum(values) / len(values) == pytest.approx(results[0].scores[name])


@pytest.mark.parametrize("kind", KINDS)
def test_examples_without_a_window_are_noticed(make_data, kind):
    examples = make_data(kind).val_dataloader().dataset.examples
    with pytest.raises(UserError, match=r"\(2[34] did not"):
        TASKS[kind].evaluation(examples).compute()
    assert TASKS[kind].evaluation(examples, partial=True).compute().predictions == {}


def test_mistakes_in_the_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"need a task of the model"):
        LabelledDataModule().check()
    task = TASKS["tagging"]
    with pytest.raises(UserError, match="name both"):
        LabelledDataModule(task, train_files=["a"])
    with pytest.raises(UserError, match="at least 8"):
        LabelledDataModule(task, max_length=4)
    with pytest.raises(UserError, match=r"data\.hub_splits: no part 'validate'; name train, validation, test"):
        LabelledDataModule(task, dataset="conll2002", hub_splits={"validate": "dev"})
    with pytest.raises(UserError, match="predict: nothing to predict"):
        LabelledDataModule(task).setup("predict")
    with pytest.raises(UserError, match="no data for test"):
        LabelledDataModule(task, dataset=None).setup("test")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_configuration_trains_a_teacher_and_distils_it(make_data, teacher_folder, kind, tmp_path, monkeypatch):
    """A single model from labels, then a student of it: report, samples and a folder that loads by itself."""
    make_data(kind)
    monkeypatch.chdir(tmp_path)
    file = str(tmp_path / FILES[kind][0])
    sizes = {
        "model_type": "roberta", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 130,
    }  # fmt: skip
    config = {
        "model": {
            "class_path": "distill.SingleModule",
            "init_args": {"tokenizer": str(teacher_folder), "architecture": sizes, "task": YAML[kind]},
        },
        "data": {
            "class_path": "distill.LabelledDataModule",
            "init_args": {
                "train_files": [file], "validation_files": [file], "max_length": 48, "batch_size": 8,
                "cache_dir": str(tmp_path / "cache"),
            },
        },
        "trainer": {
            "accelerator": "cpu", "enable_progress_bar": False,
            "logger": [{"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "logs"}}],
        },
        "schedule": {"stages": {"labels": {"steps": 40, "weights": {"labels": 1.0}, "learning_rate": 1e-2}}},
        "benchmark": {"lengths": [32], "rounds": 2, "warmup": 0},
        "throughput": {"peak_size": 16},
    }  # fmt: skip
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    main(["fit", "--config=teacher.yaml"])
    first = tmp_path / "logs" / "lightning_logs" / "version_0"
    teacher_report = json.loads((first / "report.json").read_text(encoding="utf-8"))
    main_score = TASKS[kind].main_score.name
    assert teacher_report["student"][main_score] > 60

    config["model"] = {
        "class_path": "distill.DistillationModule",
        "init_args": {
            "teacher": str(first / "student"),
            "task": YAML[kind],
            "student": {"num_layers": 1, "hidden_size": 8, "num_heads": 2},
            "layer_map": "last",
        },
    }
    config["schedule"]["stages"] = {
        "layers": {"steps": 4, "weights": {"attention": 1.0, "hidden": 1.0}, "learning_rate": 1e-3},
        "logits": {"steps": 8, "weights": {"logits": 1.0, "labels": 0.5}, "temperature": 2.0, "learning_rate": 1e-2},
    }
    (tmp_path / "student.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    main(["fit", "--config=student.yaml"])
    second = tmp_path / "logs" / "lightning_logs" / "version_1"
    report = json.loads((second / "report.json").read_text(encoding="utf-8"))
    assert report["teacher"][main_score] == pytest.approx(teacher_report["student"][main_score])
    assert report["retention"][main_score] is not None
    assert json.loads((second / "samples.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((second / "student" / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["truncation"] is None
    model = TASKS[kind].auto_class.from_pretrained(second / "student")
    assert [model.config.id2label[i] for i in range(model.config.num_labels)] == list(TASKS[kind].labels)
    checkpoint = str(second / "checkpoints" / "best.ckpt")
    main(["validate", "--config=student.yaml", f"--ckpt_path={checkpoint}"])
    main(["predict", "--config=student.yaml", f"--ckpt_path={checkpoint}", f"--data.predict_files=[{file}]"])
    predictions = sorted((tmp_path / "logs").rglob("predictions.json"))
    assert len(json.loads(predictions[-1].read_text(encoding="utf-8"))) == 24


def test_a_head_with_other_labels_is_refused(make_data, teacher_config, tmp_path):
    make = AutoModelForTokenClassification
    config = type(teacher_config)(**teacher_config.to_dict())
    config.id2label = dict(enumerate(reversed(NER)))
    make.from_config(config).save_pretrained(tmp_path / "tagger")
    with pytest.raises(UserError, match=r"its labels are \['I-LOC'"):
        TASKS["tagging"].load_model(str(tmp_path / "tagger"))
    with pytest.raises(UserError, match="at least two and differ"):
        TokenClassification(["O"])
    with pytest.raises(UserError, match="BIO or IOB1"):
        TokenClassification(["O", "B-PER", "S-PER"])
