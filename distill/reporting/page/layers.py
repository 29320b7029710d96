"""How alike the layers of student and teacher were when the layer map was drawn up."""

from __future__ import annotations

from collections.abc import Sequence

from distill.reporting.charts.heatmap import heatmap
from distill.reporting.charts.markup import Element
from distill.reporting.page.html import figure
from distill.reporting.run import Run


def similarity_figure(run: Run) -> Element | None:
    """Return the similarity of every two layers; nothing where the run did not measure it."""
    if not run.similarity:
        return None
    matrix, layers = run.similarity["matrix"], run.similarity["layers"]
    title = f"Similarity of layers, {run.similarity['measure']}"
    note = "Before training, from 0 to 1. Framed: the teacher layer that teaches each student layer."
    return figure(title, similarity_chart(title, matrix, layers), note)


def similarity_chart(title: str, matrix: Sequence[Sequence[float]], layers: Sequence[int]) -> Element:
    """Draw the similarity of every two layers, (L_s, L_t), the layer map framed."""
    return heatmap(title, "student layer", "teacher layer", matrix, set(enumerate(layers)))
