"""Sweeps as they are written."""

from __future__ import annotations

import copy
import sys

import pytest
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from distill.sweeps.parameters import Parameter
from distill.sweeps.spec import Hyperband, parse_sweep, read_sweep
from distill.types import UserError

CONTENT = {
    "method": "bayes",
    "metric": {"name": "final/f1", "goal": "maximize"},
    "parameters": {"a.b": {"values": [1, "two", [3, 4]]}},
    "command": ["${env}", "${interpreter}", "${program}", "fit", "${args}"],
}


def test_everything_is_understood(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "method: random\nmetric: {name: val/perplexity}\nprogram: train.py\n"
        "early_terminate: {type: hyperband, min_iter: 2, eta: 3}\n"
        "parameters:\n"
        "  choice: {values: [uniform, last]}\n  fixed: {value: 7}\n  whole: {min: 1, max: 4}\n"
        "  real: {min: 0.5, max: 2}\n  even: {distribution: q_uniform, min: 0, max: 1, q: 0.25}\n"
        "  rate: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}\n",
        encoding="utf-8",
    )
    sweep = read_sweep(path)
    assert (sweep.name, sweep.method, sweep.metric, sweep.score) == ("mine", "random", "val/perplexity", "perplexity")
    assert not sweep.maximize
    assert sweep.parameters == (
        Parameter("choice", "values", ("uniform", "last")),
        Parameter("fixed", "values", (7,)),
        Parameter("whole", "int", (), 1, 4),
        Parameter("real", "float", (), 0.5, 2),
        Parameter("even", "float", (), 0, 1, 0.25),
        Parameter("rate", "float", (), 1e-4, 1e-2, is_log=True),
    )
    assert sweep.early_stopping.rungs[:3] == (3, 7, 19)  # W&B counts from 0
    assert sweep.command_line({})[1:] == [sys.executable, "train.py"]


def test_rungs_from_the_longest_run():
    early = {"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3}
    assert parse_sweep({**CONTENT, "early_terminate": early}, "x").early_stopping == Hyperband((4, 10), 3.0)


def test_the_command_line_is_that_of_wandbs_agent(monkeypatch):
    settings = {"a.b": [3, 4], "c": "two", "d": 0.25, "e": True}
    monkeypatch.setenv("WHERE", "here")
    sweep = parse_sweep({**CONTENT, "command": [*CONTENT["command"], "--to=${envvar:WHERE}"]}, "x")
    theirs = create_sweep_command_args({"args": {name: {"value": value} for name, value in settings.items()}})["args"]
    assert sweep.command_line(settings) == [
        *("/usr/bin/env", sys.executable, "train.py", "fit"),
        *theirs,
        "--to=here",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parametres": {}}, "parametres is no key of a sweep"),
        ({"method": "luck"}, "method must be bayes, random or grid, not 'luck'"),
        ({"metric": {}}, "metric needs a name"),
        ({"metric": {"name": "f1", "goal": "up"}}, "minimize or maximize, not 'up'"),
        ({"parameters": {}}, "at least one key"),
        ({"command": ["python", "train.py"]}, r"\$\{args\} is missing"),
        ({"command": ["${args_json}", "${args}"]}, r"\$\{args_json\} is not known"),
        ({"early_terminate": {"type": "envelope"}}, "must be hyperband"),
        ({"early_terminate": {"type": "hyperband", "eta": 1}}, "eta must be above 1"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter"),
        ({"parameters": {"a": 3}}, r"parameters\.a: give value, values, or min and max"),
        ({"parameters": {"a": {"values": []}}}, "at least one item"),
        ({"parameters": {"a": {"values": [1], "probabilities": [1]}}}, "probabilities"),
        ({"parameters": {"a": {"parameters": {"b": {"value": 1}}}}}, "one dotted key"),
        ({"parameters": {"a": {"min": 3, "max": 3}}}, "min below max"),
        ({"parameters": {"a": {"min": 0.0, "max": 1, "distribution": "normal"}}}, "'normal' is not known here"),
        ({"parameters": {"a": {"min": 0.5, "max": 1, "distribution": "int_uniform"}}}, "whole numbers"),
        ({"parameters": {"a": {"min": 0, "max": 1, "distribution": "q_uniform"}}}, "needs q above 0"),
        ({"parameters": {"a": {"min": 0, "max": 1, "distribution": "log_uniform_values"}}}, "min above 0"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        parse_sweep({**copy.deepcopy(CONTENT), **change}, "x")


def test_files_that_are_no_sweep_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read"):
        read_sweep(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.yaml: not valid YAML"):
        read_sweep(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- a", encoding="utf-8")
    with pytest.raises(UserError, match=r"list\.yaml: a sweep is a mapping"):
        read_sweep(tmp_path / "list.yaml")
