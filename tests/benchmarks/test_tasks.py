"""The comparison gives both sides equal work; what it finds is not asserted."""

import copy
import json
import zlib

import pytest

from distill.tasks.question_answering.task import QuestionAnswering
from tests.conftest import squad_document

from .tasks import TASKS, main, part_pairs, run_arguments


def test_pairs_with_a_first_sentence_in_common_stay_together():
    lines = [f"frase {i % 40}\totra {i}\t{i % 2}" for i in range(200)]
    parts = part_pairs(lines)
    assert sorted(parts["train"] + parts["test"]) == sorted(lines)
    first = {name: {line.split("\t")[0] for line in part} for name, part in parts.items()}
    assert not first["train"] & first["test"]
    assert first["test"] == {f"frase {i}" for i in range(40) if zlib.crc32(f"frase {i}".encode()) % 4 == 0}
    assert len(first["test"]) > 4


def test_every_task_gets_as_many_steps_alone_as_among_the_others():
    runs = run_arguments({"student": "start", "random": "other"}, 50, {"student": [1, 2], "random": [1]})
    assert len(runs) == 3 * (len(TASKS) + 1)
    for name, arguments in runs.items():
        steps = 50 * len(TASKS) if name.startswith("all_") else 50
        assert f"--schedule.stages.labels.steps={steps}" in arguments
        assert f"--trainer.val_check_interval={steps}" in arguments  # once, at the end
        assert any(argument.endswith("=other") for argument in arguments) == ("random" in name)


@pytest.mark.slow
def test_comparison_of_tiny_models_ends_with_its_table(teacher_config, tokenizer, tmp_path, capsys):
    config = copy.deepcopy(teacher_config)
    config.max_position_embeddings = 514
    start = tmp_path / "start"
    QuestionAnswering().build_model(config).save_pretrained(start)
    tokenizer.save_pretrained(start)
    files = {
        "qa/train_mix_es.json": json.dumps(squad_document(12)),
        "qa/xquad_es.json": json.dumps(squad_document(3, "v")),
        "ner/esp.train": "Ana B-PER\nvino O\n\n" * 60,
        "ner/esp.testb": "Ana B-PER\nvino O\n\n" * 4,
        "pairs/pawsx_es_dev.tsv": "".join(f"frase {i}\totra {i}\t{i % 2}\n" for i in range(60)),
    }
    for name, content in files.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(content, encoding="utf-8")
    output = tmp_path / "out"
    main(str(tmp_path / "data"), str(output), str(start), steps=2, seeds=[1])
    result = json.loads((output / "comparison.json").read_text(encoding="utf-8"))
    assert set(result["starts"]) == {"student", "random"}
    assert result["majority"]["ner"] == 0.0
    assert result["parameters"]["one encoder"] < result["parameters"]["three models"] / 2
    assert "majority" in capsys.readouterr().out
