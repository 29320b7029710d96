"""From plain text to a distilled student, by the README's commands."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.test_readme import ROOT

RUNS = ("pretrain", "teacher", "distill")


def whole_way() -> list[str]:
    """Return the commands of the README's section on plain text, up to the first student."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Plain text", 1)[1]
    block = re.search(r"```\n(.*?)```", section, flags=re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def test_the_way_leads_from_a_tokenizer_to_a_student():
    words = [shlex.split(line) for line in whole_way()]
    assert [line[1] for line in words] == ["-m", "train.py", "train.py", "train.py"]
    assert [line[4] for line in words[1:]] == [f"configs/{run}.yaml" for run in RUNS]


@pytest.mark.slow
def test_the_whole_way_from_plain_text_to_a_student(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    for line in whole_way():
        subprocess.run([sys.executable, *shlex.split(line)[1:]], cwd=clone, check=True, timeout=1500)
    pretrained, teacher, distilled = (
        json.loads((clone / "lightning_logs" / run / "version_0" / "report.json").read_text(encoding="utf-8"))
        for run in RUNS
    )
    # A uniform guess among 3,000 pieces has a perplexity of 3,000.
    assert pretrained["student"]["scores"]["perplexity"] < 1000
    assert distilled["teacher"]["f1"] == pytest.approx(teacher["student"]["f1"])
    assert [stage["name"] for stage in distilled["stages"]] == ["intermediate", "logits"]
    assert teacher["student"]["f1"] > 30
    assert distilled["retention"]["f1"] > 0.8
    assert distilled["speedup"]["p50"] > 1
