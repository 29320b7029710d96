"""The page: every figure of the run is on it, whatever parts there are, and it is one well-formed file."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from distill.reporting.page.__main__ import main
from distill.reporting.page.document import write_page
from tests.reporting.runs import EXPORT, SAMPLES, SIMILARITY, metrics, report, write_run

AGREEMENT = "Agreement of student and teacher"
LATENCY = "Latency, batch 1"


def parse(folder):
    path = write_page(folder)
    text = path.read_text(encoding="utf-8")
    doctype, markup = text.split("\n", 1)
    assert doctype == "<!DOCTYPE html>"
    assert path.name == "report.html"
    return text, ET.fromstring(markup)


def titles(page):
    return ["".join(node.itertext()) for node in page.iter("figcaption")]


def words(page):
    return " ".join(" ".join(page.find("body").itertext()).split())


def test_a_whole_run_is_drawn(tmp_path):
    text, page = parse(write_run(tmp_path / "distill" / "version_0", export=EXPORT))
    assert titles(page) == [
        *("F1 against latency", "Exported formats", "Latency, batch 1", "Latency, batch 8"),
        *("EM and F1 on validation data", "F1 by kind of question"),
        *("Loss term: attention", "Loss term: hidden", "Loss term: logits", "Loss term: labels"),
        *("Total loss", "Learning rate", "F1 by question word", "Agreement of student and teacher"),
    ]
    shown = words(page)
    for value in ("78.50", "84.40", "93.0 %", "4.0×", "308,674", "teacher F1", "ONNX INT8", "loses 0.90 F1", "seed_"):
        assert value in shown
    assert "distill/version_0" in shown
    assert "Not in this run" not in shown
    for chart in page.iter("{http://www.w3.org/2000/svg}svg"):
        assert chart.get("aria-label")
        assert chart.get("viewBox")
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_loads_and_runs_nothing_and_escapes_everything(tmp_path):
    text, page = parse(write_run(tmp_path))
    assert not list(page.iter("script"))
    assert "<script>" not in text.replace("&lt;script&gt;", "")
    assert not {node.tag for node in page.iter()} & {"img", "link", "iframe", "object"}
    assert not [node for node in page.iter() if {"src", "href", "onload"} & set(node.attrib)]
    assert "¿<script>alert(1)</script>?" in words(page)
    policy = next(node for node in page.iter("meta") if node.get("http-equiv"))
    assert "default-src 'none'" in policy.get("content")


def test_examples_are_those_that_differ_with_the_reference_marked(tmp_path):
    _, page = parse(write_run(tmp_path))
    cards = list(page.iter("article"))
    assert [card.find("h3").text for card in cards] == ["¿Dónde nació Íñigo Peña?", "¿<script>alert(1)</script>?"]
    assert next(cards[0].iter("mark")).text == "Cádiz"
    assert "F1 12" in " ".join(cards[0].itertext())
    assert "no answer" in " ".join(cards[1].itertext())


def test_without_a_teacher_the_examples_are_the_errors(tmp_path):
    samples = [{name: text for name, text in row.items() if name != "teacher"} for row in SAMPLES]
    _, page = parse(write_run(tmp_path, report=report(with_teacher=False), samples=samples))
    assert "Where the student errs" in words(page)
    assert [card.find("h3").text for card in page.iter("article")] == [row["question"] for row in SAMPLES[::2]]


def test_similar_layers_are_shown_where_they_chose_the_layer_map(tmp_path):
    title = "Similarity of layers, linear CKA"
    _, page = parse(write_run(tmp_path / "with", similarity=SIMILARITY))
    assert title in titles(page)
    assert {"0.91", "1.00"} <= set(words(page).split())
    _, page = parse(write_run(tmp_path / "without"))
    assert title not in titles(page)
    assert "similarity" not in words(page)


def test_throughput_has_units(tmp_path):
    rows = [{"step": step, "throughput/model_flops_per_second": 4e10, "throughput/peak_share": 0.3} for step in (0, 9)]
    _, page = parse(write_run(tmp_path, metrics=rows))
    labels = {node.text for node in page.iter() if node.tag.endswith("text")}
    assert {"FLOP/s", "share of the measured matrix peak"} <= labels


@pytest.mark.parametrize(
    ("parts", "absent", "present"),
    [
        ({"report": report(with_teacher=False)}, ["F1 against latency", AGREEMENT], "F1 by question word"),
        ({"report": report(with_benchmark=False), "latency": None}, ["F1 against latency", LATENCY], "Total loss"),
        ({"report": None, "latency": None, "samples": None}, ["F1 by question word"], "EM and F1 on validation data"),
        ({"metrics": None}, ["Total loss", "EM and F1 on validation data"], "F1 against latency"),
    ],
    ids=["no teacher", "no benchmark", "not finished", "no metrics"],
)  # fmt: skip
def test_what_is_missing_is_left_out_and_said(tmp_path, parts, absent, present):
    _, page = parse(write_run(tmp_path, **parts))
    assert not set(absent) & set(titles(page))
    assert present in titles(page)
    is_said = {"metrics", "latency", "samples"} & {name for name, part in parts.items() if part is None}
    assert ("Not in this run:" in words(page)) is bool(is_said)


def test_a_masked_language_run_shows_its_own_scores(tmp_path):
    scores = {"perplexity": 9.5, "cross_entropy": 2.25, "accuracy": 61.0, "num_masked_tokens": 500.0}
    headline = [
        {"name": "perplexity", "label": "perplexity", "higher_is_better": False},
        {"name": "accuracy", "label": "accuracy", "higher_is_better": True},
    ]
    whole = report(with_teacher=False)
    whole |= {"headline": headline, "breakdowns": {}, "retention": {}, "stages": whole["stages"][:1]}
    whole["student"] |= {"scores": scores}
    whole["checkpoints"]["best"]["scores"] = scores
    rows = [{"step": step, "train/masking/labels": 9.0 - step / 20, "val/perplexity": 900.0 / (step + 1),
             "val/accuracy": step, "throughput/tokens_per_second": 2900.0} for step in range(0, 40, 10)]  # fmt: skip
    _, page = parse(write_run(tmp_path, report=whole, metrics=rows, samples=None))
    assert {"accuracy on validation data", "perplexity on validation data", "Loss term: labels"} <= set(titles(page))
    assert "Throughput: tokens per second" in titles(page)
    assert "perplexity, log scale" in words(page)
    assert "9.5" in words(page)
    assert "EM" not in words(page).split()


def test_one_length_is_drawn_over_batch_sizes(tmp_path):
    timings = {"length": 384, "p50_ms": 3.0, "p95_ms": 4.0, "windows_per_second": 1.0}
    rows = [{"model": "student", "batch_size": batch_size, **timings} for batch_size in (1, 8)]
    _, page = parse(write_run(tmp_path, latency={"rows": rows}))
    assert "Latency, 384 tokens" in titles(page)
    assert "windows in a call" in words(page)


def test_page_of_a_run_that_was_stopped_says_so(tmp_path):
    end = {"status": "stopped", "ended": "stopped by SIGTERM at step 4", "step": 4, "stage": "logits"}
    _, page = parse(write_run(tmp_path, report=end, latency=None))
    assert "steps so far: stopped by SIGTERM at step 4." in words(page)
    assert "Not in this run: figures of the models" in words(page)


def test_a_term_ends_with_its_stage(tmp_path):
    stale = [{**row, **({"train/intermediate/attention": 45} if row["step"] > 40 else {})} for row in metrics()]
    drawn = []
    for name, rows in (("a", metrics()), ("b", stale)):
        _, page = parse(write_run(tmp_path / name, metrics=rows))
        figures = {"".join(node.find("figcaption").itertext()): node for node in page.iter("figure")}
        drawn.append(ET.tostring(figures["Loss term: attention"]))
    assert drawn[0] == drawn[1]


def test_many_logged_values_stay_a_small_file(tmp_path):
    rows = [{"step": step, "train/logits/logits": 1.0 + step % 7, "train/loss": 1.0} for step in range(20_000)]
    text, _ = parse(write_run(tmp_path, metrics=[*metrics(), *rows]))
    assert len(text) < 200_000


def test_the_command_draws_every_folder_and_names_what_it_cannot(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    assert main([str(tmp_path / "nowhere"), str(folder)]) == 1
    printed = capsys.readouterr()
    assert "neither report.json nor metrics.csv" in printed.err
    assert f"wrote {folder / 'report.html'}" in printed.out
    assert main([str(folder)]) == 0
