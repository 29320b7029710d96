"""The benchmark compares equal work and reports what it says; how fast anything was is not asserted."""

import json

import pytest

from .pretraining import PRECISIONS, Sizes, main, spread, summarise


@pytest.mark.slow
def test_both_loops_do_the_same_work_to_the_last_bit(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(str(tmp_path / "out.json"), Sizes(1, 16, 2, 16), batch_size=2, rounds=2, warmup=1, precisions=list(PRECISIONS))
    result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert result["largest_difference_of_losses"] == dict.fromkeys(PRECISIONS, 0.0)
    assert {len(values) for times in result["seconds"].values() for values in times.values()} == {2}
    assert "Lightning over bare" in capsys.readouterr().out


def test_ratios_are_taken_round_by_round():
    seconds = {
        "lightning bf16-mixed": [1.0, 10.0], "bare bf16-mixed": [0.5, 10.0],
        "lightning 32-true": [4.0, 20.0], "bare 32-true": [4.0, 20.0],
    }  # fmt: skip
    result = summarise(seconds, tokens_per_step=100)
    assert result["loop_cost"]["bf16-mixed"]["median"] == 1.5
    assert result["loop_cost"]["32-true"]["median"] == 1.0
    assert result["precision_gain"]["median"] == 3.0
    assert result["tokens_per_second"]["bare bf16-mixed"]["median"] == pytest.approx(105)


def test_a_precision_that_was_not_timed_is_left_out():
    result = summarise({"lightning 32-true": [4.0], "bare 32-true": [4.0]}, tokens_per_step=100)
    assert result["loop_cost"]["32-true"]["median"] == 1.0
    assert "precision_gain" not in result


def test_spread_is_the_median_with_the_quartiles():
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == {"lower_quartile": 2.0, "median": 3.0, "upper_quartile": 4.0}
