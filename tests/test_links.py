"""What the data is handed by the model cannot be given to it as well, except to its parts."""

from __future__ import annotations

import pytest
import yaml

from distill.links import refuse_linked
from distill.types import UserError

TASK = {"class_path": "distill.SequenceClassification"}


@pytest.mark.parametrize("option", ["--data.task=x", "--data.init_args.task=x", "--data.main.tokenizer=x"])
def test_linked_options_are_refused(option):
    with pytest.raises(UserError, match=r"set model\.init_args"):
        refuse_linked([option], [])


def test_a_part_names_its_own_task(tmp_path):
    refuse_linked(["--data.main.task=x", "--data.init_args.parts.ner.init_args.task=x"], [])
    file = tmp_path / "a.yaml"
    part = {"class_path": "distill.LabelledDataModule", "init_args": {"task": TASK}}
    file.write_text(yaml.safe_dump({"data": {"init_args": {"main": part}}}), encoding="utf-8")
    refuse_linked([], [file])
    file.write_text(yaml.safe_dump({"data": part}), encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.init_args\.task: it is that of the model"):
        refuse_linked([], [file])
