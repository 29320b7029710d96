"""The page as a whole: from a run's folder to one file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from distill.files import write_text
from distill.reporting.charts.markup import Element, element, to_markup
from distill.reporting.page.curves import loss_figures, score_figures
from distill.reporting.page.errors import agreement_figure, breakdown_figures, examples, examples_title
from distill.reporting.page.facts import comparison, origin, tasks_comparison, tiles
from distill.reporting.page.html import grid, section
from distill.reporting.page.layers import similarity_figure
from distill.reporting.page.speed import format_table, latency_figures, pareto_figure
from distill.reporting.run import Run, read_run

#: The file's name inside the run's folder.
PAGE = "report.html"

#: Style sheets of the package.
CHART_STYLES, PAGE_STYLES = "charts/charts.css", "page/page.css"


def write_page(folder: Path) -> Path:
    """Write a run's page into its folder and return the file's path.

    Raises:
        UserError: If the folder is no run's, or a file in it is damaged.
    """
    path = folder / PAGE
    write_text(path, document(f"distill: {folder.resolve().name}", run_page(read_run(folder))))
    return path


def run_page(run: Run) -> Element:
    """Return the page of a run; what it lacks is left out, and the page says what that is."""
    if run.report.get("tasks"):
        return _tasks_page(run)
    parts = {
        "figures of the models": section(
            "Result", tiles(run), grid([comparison(run), pareto_figure(run), format_table(run)], "figures")
        ),
        "timings": section("Latency", grid(latency_figures(run), "figures")),
        "scores over time": section("Scores over time", grid(score_figures(run), "figures")),
        "similarity of layers": section("Layers", grid([similarity_figure(run)], "figures")),
        "loss over time": section("Training", grid(loss_figures(run), "figures")),
        "scores of groups": section("Errors", grid([*breakdown_figures(run), agreement_figure(run)], "figures")),
        "differing answers": section(examples_title(run), grid(examples(run), "cards")),
        "how it was made": section("How it was made", *origin(run)),
    }
    # Only a layer map that was found by similarity leaves one.
    missing = [name for name, part in parts.items() if part is None and name != "similarity of layers"]
    return element(
        "main",
        element("header", element("h1", run.name), element("p", _status(run), class_="note")),
        *parts.values(),
        element("footer", f"Not in this run: {', '.join(missing)}.") if missing else None,
    )


def _tasks_page(run: Run) -> Element:
    """Return the page of a run of several tasks: what they share, then the sections of each."""
    whole = run.whole
    tasks = [
        element(
            "section",
            element("h2", f"Task: {name}", class_="task"),
            section("Result", tiles(part), grid([comparison(part), pareto_figure(part)], "figures")),
            section("Latency", grid(latency_figures(part), "figures")),
            section("Scores over time", grid(score_figures(part), "figures")),
            section("Training", grid(loss_figures(part), "figures")),
            section("Errors", grid([*breakdown_figures(part), agreement_figure(part)], "figures")),
            section(examples_title(part), grid(examples(part), "cards")),
        )
        for name, part in run.tasks.items()
    ]
    return element(
        "main",
        element("header", element("h1", run.name), element("p", _status(run), class_="note")),
        section("Result", tasks_comparison(run)),
        section("All tasks over time", grid([*score_figures(whole), *loss_figures(whole)], "figures")),
        *tasks,
        section("How it was made", *origin(whole)),
    )


def document(title: str, body: Element) -> str:
    """Return a whole HTML document with the styles inside; it loads nothing and runs nothing."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        element("title", title),
        element("style", styles()),
    )
    markup = to_markup(element("html", head, element("body", body), lang="en"))
    # The one kind of element that HTML wants without an end tag.
    return f"<!DOCTYPE html>\n{markup.replace('></meta>', '/>')}\n"


def standalone(chart: Element) -> str:
    """Return a chart as an SVG file of its own, with the styles inside."""
    chart.insert(0, element("style", styles(CHART_STYLES)))
    return f"{to_markup(chart)}\n"


def styles(*names: str) -> str:
    """Return style sheets of the package; of charts and pages when none is named."""
    package = resources.files("distill.reporting")
    return "".join((package / name).read_text(encoding="utf-8") for name in names or (CHART_STYLES, PAGE_STYLES))


def _status(run: Run) -> str:
    environment = run.report.get("environment") or {}
    if not run.report:
        return f"Not finished: {run.num_steps:,.0f} steps so far."
    state = str(run.report.get("status", ""))
    if state in ("stopped", "failed"):
        return f"Not finished, {run.num_steps:,.0f} steps so far: {run.report.get('ended') or state}."
    parts = [state, f"{environment.get('num_steps', run.num_steps):,.0f} steps"]
    parts += [str(environment[name]) for name in ("device", "precision") if environment.get(name)]
    return " · ".join(part for part in parts if part)
