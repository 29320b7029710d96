"""The page in a real browser: nothing clipped, nothing on top of anything, a quiet console."""

from __future__ import annotations

import pytest

from distill.reporting.page.document import write_page
from tests.reporting.runs import EXPORT, SIMILARITY, report, side, write_run

from .browser import CHROMIUM, lay_out

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


def stressed() -> dict:
    """Return a report with long names, many stages and extreme figures."""
    whole = report()
    names = ["warm-up of the embeddings only", "a", "intermediate_attention_hidden", "logits", "polish"]
    lengths = [10, 12_000, 300_000, 400_000, 20]
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    stage = whole["stages"][0]
    whole["stages"] = [
        {**stage, "name": name, "start_step": start, "num_steps": length}
        for name, start, length in zip(names, starts, lengths, strict=True)
    ]
    whole["student"], whole["teacher"] = side(99.96, 51_200_000, 0.0123), side(99.99, 354_000_000, 61234.5)
    group = whole["breakdowns"]["question word"][0]
    whole["breakdowns"]["question word"] += [{**group, "group": "ein außerordentlich langer Name einer Gruppe " * 2}]
    return whole


@pytest.mark.parametrize("whole", [report(), stressed()], ids=["usual", "extreme"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_lays_out_without_a_flaw(tmp_path, whole, dark):
    deep = {**SIMILARITY, "layers": [3, 23], "matrix": [[0.5] * 24] * 2}
    similarity = SIMILARITY if whole == report() else deep
    page = write_page(write_run(tmp_path / "run", report=whole, export=EXPORT, similarity=similarity)).read_text(
        encoding="utf-8"
    )
    layout = lay_out(page, tmp_path, dark=dark)
    assert layout.problems == []
    assert layout.console == []


def test_flaws_are_found(tmp_path):
    page = write_page(write_run(tmp_path / "run")).read_text(encoding="utf-8")
    clipped = '<text x="370" y="30">far too long for where it stands</text>'
    broken = page.replace("<text ", f"{clipped}<text ", 1)
    broken = broken.replace("<main>", '<main><img src="x.png"/><div style="width: 600px">.</div>')
    layout = lay_out(broken, tmp_path)
    assert any("clipped" in problem for problem in layout.problems)
    assert any("420 px: page is" in problem for problem in layout.problems)
    assert layout.console
