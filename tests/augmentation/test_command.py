"""``train.py augment`` and ``train.py cloze``, and a run that learns layers from what they write."""

import json
import unicodedata
from pathlib import Path

import pytest
import yaml

from distill.cli import main
from distill.models.loading import EMBEDDED, load_tokenizer
from distill.tasks.question_answering.reading import read_examples
from tests.test_configs import CONFIGS, tiny


@pytest.fixture
def augmented(backbone_folder, squad_file, tmp_path):
    target = tmp_path / "augmented.json"
    main(["augment", f"--model={backbone_folder}", f"--input={squad_file}", f"--output={target}", "--num_copies=3"])
    return target


def test_copies_are_valid_squad_data(augmented):
    examples, report = read_examples([augmented], strict=True)
    assert report.questions == 3 * 18
    assert report.impossible == 3 * 6
    assert {example.question_id.split("#")[1] for example in examples} == {"1", "2", "3"}


def test_the_seed_decides(augmented, backbone_folder, squad_file, capsys):
    first = augmented.read_bytes()
    options = [f"--model={backbone_folder}", f"--input=[{squad_file}]", f"--output={augmented}", "--num_copies=3"]
    main(["augment", *options, "--overwrite=true", "--batch_size=1"])
    assert "54 questions about 18 contexts" in capsys.readouterr().err
    assert augmented.read_bytes() == first
    main(["augment", *options, "--overwrite=true", "--seed=1"])
    assert augmented.read_bytes() != first


def test_decomposed_text_gives_the_same_copies(augmented, backbone_folder, squad_file, tmp_path):
    document = json.loads(squad_file.read_text(encoding="utf-8"))
    for paragraph in document["data"][0]["paragraphs"]:
        context = paragraph["context"]
        for answer in [answer for question in paragraph["qas"] for answer in question["answers"]]:
            answer["answer_start"] = len(unicodedata.normalize("NFD", context[: answer["answer_start"]]))
    decomposed = unicodedata.normalize("NFD", json.dumps(document, ensure_ascii=False))
    squad_file.write_text(decomposed, encoding="utf-8")
    target = tmp_path / "decomposed.json"
    main(["augment", f"--model={backbone_folder}", f"--input={squad_file}", f"--output={target}", "--num_copies=3"])
    assert target.read_bytes() == augmented.read_bytes()


def test_contexts_whose_answers_cut_a_letter_are_left_out_and_counted(backbone_folder, tmp_path, capsys):
    paragraphs = []
    for number, (context, answer) in enumerate([("Ayer llamo\u0301 Ana.", "llamo"), ("Ayer vino Ana.", "Ana")]):
        answers = [{"text": answer, "answer_start": context.index(answer)}]
        paragraphs.append({"context": context, "qas": [{"id": str(number), "question": "¿Qué?", "answers": answers}]})
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    options = [f"--model={backbone_folder}", f"--input={tmp_path / 'a.json'}", f"--output={tmp_path / 'b.json'}"]
    main(["augment", *options])
    told = capsys.readouterr().err
    assert "left out 1 contexts in which an answer ends or begins between a letter and its accent" in told
    assert "2 questions about 2 contexts" in told


def test_cloze_questions_have_the_teachers_answers(gaps):
    examples, report = read_examples([gaps], strict=True)
    assert report.questions == 7
    assert all("_____" in example.question and example.tags[0].startswith("cloze_") for example in examples)


def test_without_a_teacher_the_text_answers_with_what_was_left_out(tmp_path, capsys):
    text_file, target = tmp_path / "a.txt", tmp_path / "own.json"
    towns = [f"El señor {i} del libro viejo vino ayer a la villa de Soria con {i + 2} monjes." for i in range(30)]
    text_file.write_text("\n\n\n".join(towns), encoding="utf-8")
    options = ["--teacher=null", "--noise=0.3", "--min_chars=10", "--num_questions=50", "--per_paragraph=3"]
    main(["cloze", f"--input={text_file}", f"--output={target}", *options])
    assert f"{target}: 50 questions kept of 50; answered by what was left out" in capsys.readouterr().err
    examples, report = read_examples([target], strict=True)
    assert (report.questions, report.answers) == (50, 50)
    assert {"cloze_name", "cloze_phrase"} <= {tag for example in examples for tag in example.tags}
    assert not any("_____" in example.question for example in examples)
    first = target.read_bytes()
    main(["cloze", f"--input={text_file}", f"--output={target}", *options, "--overwrite=true"])
    assert target.read_bytes() == first


def test_files_of_questions_can_be_read_together(text_file, tmp_path):
    targets = [tmp_path / f"{seed}.json" for seed in range(2)]
    for seed, target in enumerate(targets):
        options = ["--teacher=null", "--min_chars=10", f"--seed={seed}"]
        main(["cloze", f"--input={text_file}", f"--output={target}", *options])
    examples, report = read_examples(targets, strict=True)
    assert report.questions == len({example.question_id for example in examples}) > 10


def test_gap_questions_without_a_teacher_ask_for_their_gap(text_file, tmp_path):
    target = tmp_path / "own.json"
    main(["cloze", f"--input={text_file}", f"--output={target}", "--teacher=null", "--min_chars=10"])
    for example in read_examples([target], strict=True)[0]:
        left, right = example.question.split("«")[1].removesuffix("»?").split("_____")
        assert f"{left.lstrip('… ')}{example.answers[0].text}{right.rstrip('… ')}" in " ".join(example.context.split())


def test_cloze_asks_about_all_files_and_says_what_it_left_out(teacher_folder, tmp_path, capsys):
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("a", "b"):
        rows = [{"texto": f"El señor {i} del libro {name} vino ayer a la villa de Soria."} for i in range(30)]
        lines = [json.dumps(row) for row in [*rows, rows[0], {"texto": "Corto."}]]
        (texts / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (texts / "c.txt").touch()
    target = tmp_path / "cloze.json"
    options = ["--min_chars=10", "--min_score=0", "--num_questions=10", "--per_paragraph=1", "--text_field=texto"]
    main(["cloze", f"--input={texts}", f"--output={target}", f"--teacher={teacher_folder}", *options])
    told = capsys.readouterr().err
    for line in (
        "dropped 3 documents that had come before",
        "60 paragraphs; left out: 1 too short, 0 too long, 0 that had come before",
        f"{target}: 10 questions kept of 10",
        *(f"{texts / name}: {number} questions" for name, number in (("a.jsonl", 5), ("b.jsonl", 5), ("c.txt", 0))),
    ):
        assert line in told
    articles = json.loads(target.read_text(encoding="utf-8"))["data"]
    assert [article["title"] for article in articles] == [str(texts / "a.jsonl"), str(texts / "b.jsonl")]


def test_cloze_shows_no_more_of_a_sentence_than_the_teacher_reads(tmp_path, caplog):
    words = " ".join(f"extravagante{i}" for i in range(20))
    (tmp_path / "a.txt").write_text(f"Allí {words} vino a la villa de Soria {words} ayer.", encoding="utf-8")
    target = tmp_path / "cloze.json"
    options = ["--min_chars=10", "--min_score=0", "--language=null"]
    main(["cloze", f"--input={tmp_path / 'a.txt'}", f"--output={target}", *options])  # asks the embedded teacher
    (example,), _ = read_examples([target])
    tokens = load_tokenizer(EMBEDDED).encode(example.question, add_special_tokens=False)
    assert 40 < len(tokens) <= 64
    assert not [record for record in caplog.records if "cut" in record.getMessage()]


def test_cloze_names_the_option_for_json_lines(teacher_folder, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"texto": "uno"}', encoding="utf-8")
    options = [f"--input={tmp_path / 'a.jsonl'}", f"--output={tmp_path / 'b.json'}", f"--teacher={teacher_folder}"]
    with pytest.raises(SystemExit):
        main(["cloze", *options])
    assert "no field 'text' among 'texto'; set text_field" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["augment", "--probability=2"], "--probability must be above 0"),
        (["augment", "--model={teacher}"], "masked_language head"),
        (["augment", "--output={teacher}"], "there is something already"),
        (["augment", "--seed=-1"], "--seed must be at least 0, not -1"),
        (["augment", "--output={input}", "--overwrite=true"], "is also the input: name another file"),
        (["cloze", "--output={input}", "--overwrite=true"], "is also the input: name another file"),
        (["augment", "--device=cuda:99"], "device 'cuda:99': this machine has"),
        (["cloze", "--device=cuda:99"], "device 'cuda:99': this machine has"),
        (["cloze", "--min_score=2"], "--min_score must be a probability"),
        (["cloze", "--per_paragraph=0"], "must be at least 1"),
        (["cloze", "--noise=0.6"], "--noise must be a share of the words, 0 to 0.5, not 0.6"),
        (["cloze", "--min_chars=1000", "--max_chars=2000"], "error: {input}: no paragraph of --min_chars to"),
    ],
)
def test_mistakes_end_with_one_line(
    options, message, teacher_folder, backbone_folder, squad_file, text_file, tmp_path, capsys
):
    command, *rest = options
    source = squad_file if command == "augment" else text_file
    model = f"--model={backbone_folder}" if command == "augment" else f"--teacher={teacher_folder}"
    target = tmp_path / "out.json"
    changed = [option.format(teacher=teacher_folder, input=source) for option in rest]
    with pytest.raises(SystemExit) as exit_info:
        main([command, model, f"--input={source}", f"--output={target}", *changed])
    assert exit_info.value.code == 1
    assert message.format(input=source) in capsys.readouterr().err.splitlines()[-1]
    assert not target.exists()


@pytest.fixture
def gaps(teacher_folder, text_file, tmp_path):
    """Seven questions of ``train.py cloze``."""
    target = tmp_path / "gaps.json"
    options = ["--min_chars=10", "--min_score=0", "--num_questions=7", "--progress_bar=false"]
    main(["cloze", f"--input={text_file}", f"--output={target}", f"--teacher={teacher_folder}", *options])
    return target


@pytest.mark.slow
def test_the_documented_run_learns_layers_from_what_was_made_and_logits_from_the_original(
    augmented, gaps, teacher_folder, squad_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    augmented.rename("copies.json")
    for name in ("train.json", "dev.json"):
        Path(name).write_bytes(squad_file.read_bytes())
    assert gaps == tmp_path / "gaps.json"
    documented = (CONFIGS / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    overlay = yaml.safe_load(documented)
    lengths = {"max_length": 64, "doc_stride": 8, "max_question_length": 24, "cache_dir": str(tmp_path / "cache")}
    overlay["data"]["init_args"]["others"]["made"]["init_args"].update(lengths)
    overlay["schedule"]["stages"]["intermediate"]["steps"] = 4
    Path("made.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    options = tiny(teacher_folder, "train.json", tmp_path, "DistillationModule", place="data.main")
    main(["fit", f"--config={CONFIGS / 'distill.yaml'}", "--config=made.yaml", *options])
    report = json.loads((tmp_path / "lightning_logs/distill/version_0/report.json").read_text(encoding="utf-8"))
    assert report["data"]["others"]["made"]["train"]["questions"] == 54 + 7 + 18
    assert report["data"]["train"]["questions"] == 18
    assert report["data"]["validation"]["questions"] == 18
