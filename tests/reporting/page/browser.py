"""A page as a real browser lays it out, without a driver: a second page holds it in frames and measures them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: Finds, in the frame of each width: text outside its chart, labels on one another, a page wider than its frame, and
#: short words of a table that are broken over two lines.
_MEASURE = """
const problems = [];
for (const frame of document.querySelectorAll("iframe")) {
  const page = frame.contentDocument, width = frame.clientWidth;
  const say = text => problems.push(width + " px: " + text);
  const check_width = what => {
    const found = page.documentElement.scrollWidth;
    if (found > width) say(what + " is " + found + " px wide");
  };
  check_width("page");
  page.querySelectorAll("details").forEach(part => part.open = true);
  check_width("unfolded page");
  if (width > 1000) for (const part of page.querySelectorAll(".scroll"))
    if (part.scrollWidth > part.clientWidth + 1) say("cut off: " + part.textContent.slice(0, 60));
  for (const cell of page.querySelectorAll("th")) {
    const text = cell.firstChild;
    if (text) for (const word of text.textContent.matchAll(/(?<!\\S)[^\\s-]{1,7}(?!\\S)/g)) {
      const range = page.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (range.getClientRects().length > 1) say("broken: " + word[0]);
    }
  }
  const charts = page.querySelectorAll("svg");
  if (!charts.length) say("no chart");
  for (const chart of charts) {
    const outer = chart.getBoundingClientRect();
    const name = chart.getAttribute("aria-label");
    if (outer.width < 200 || outer.right > width + 1) say(name + ": chart from " + outer.left + " to " + outer.right);
    const texts = [...chart.querySelectorAll("text")];
    const boxes = texts.map(text => text.getBoundingClientRect());
    texts.forEach((text, i) => {
      const box = boxes[i];
      const is_inside_x = box.left > outer.left - 1 && box.right < outer.right + 1;
      if (!is_inside_x || box.top < outer.top - 1 || box.bottom > outer.bottom + 1)
        say(name + ": clipped: " + text.textContent);
      boxes.slice(i + 1).forEach((other, j) => {
        const overlap_x = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const overlap_y = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (overlap_x > 1 && overlap_y > 4) say(name + ": " + text.textContent + " on " + texts[i + 1 + j].textContent);
      });
    });
  }
}
const result = document.createElement("pre");
result.id = "problems";
result.textContent = JSON.stringify(problems);
document.body.append(result);
"""


@dataclass(frozen=True)
class Layout:
    """What the browser found wrong: in the layout, and on its console."""

    problems: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


def lay_out(page: str, folder: Path, widths: tuple[int, ...] = (1280, 420), dark: bool = False) -> Layout:
    """Lay a page out in frames of the given widths and return what is wrong with it."""
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
        for width in widths
    )
    script = f'<script>window.addEventListener("load", () => {{ {_MEASURE} }});</script>'
    harness = folder / "harness.html"
    harness.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{frames}{script}", encoding="utf-8")
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
        f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        harness.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found = re.search(r'<pre id="problems">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Layout(json.loads(html.unescape(found[1])), console)
