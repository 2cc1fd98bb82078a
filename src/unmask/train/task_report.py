"""The report of a fine-tuning run: curves, confusions and mistakes; and that of several seeds."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unmask import config
from unmask.train import confusion_table, page
from unmask.train.metrics import rows
from unmask.train.page import INK
from unmask.train.tuning import TuningSettings

BEHIND = "eval_"
"""What the name of an evaluation's figure begins with in `metrics.jsonl`."""
COLUMNS = 4
"""Drawings beside each other, at most."""
STYLE = """
.numbers { margin: 1rem 0 } .numbers td { font-variant-numeric: tabular-nums }
.best { font-weight: 600; background: #f0f6fa } .mistakes { font-size: 14px }
.mistakes td { max-width: 14rem; overflow-wrap: anywhere }
.mistakes td:first-child { min-width: 20rem; max-width: 26rem }
.text { max-height: 7.5rem; overflow-y: auto }
"""


def write_report(
    folder: Path, outcome: Mapping[str, Any], settings: TuningSettings, main: str, epoch: int
) -> Path:
    """Draw the curves of a run and set them beside its figures, mistakes and settings.

    outcome: what the run came to; main: the figure by which its best model was chosen; epoch:
    steps of one. The folder has the run's `metrics.jsonl` and `evaluation.json`. Returns the
    report's path.
    """
    table = rows(folder / "metrics.jsonl")
    evaluations = [row for row in table if BEHIND + main in row]
    details = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    parts = [
        f"<p>{html.escape(f'From {settings.model}, on {settings.train}.')}</p>",
        page.figures({**outcome["metrics"], **outcome, "metrics": None, "report": None}),
        "<h2>Loss</h2>",
        _loss(table, [row["step"] for row in evaluations if row["step"] % epoch == 0]),
        f"<h2>On {html.escape(settings.eval)}</h2>",
        _figures(evaluations, main, outcome["best_step"]),
        _evaluations(evaluations, main, outcome["best_step"], epoch),
        "<h2>Learning rate and speed</h2>",
        page.rates(table),
        confusion_table.confusion(details["confusion"]),
        _mistakes(details["mistakes"], settings.eval),
        page.settings(config.dump(settings)),
    ]
    return page.write(
        folder, f"Fine-tuning for {settings.task}", parts, STYLE + confusion_table.STYLE
    )


def write_summary(folder: Path, figures: Mapping[str, Any], outcomes: Sequence[Any]) -> Path:
    """Set the figures of several seeds beside each other.

    figures: the means under their names, the deviations under names with `_std`; outcomes: what
    each seed came to, in a folder below. Returns the report's path.
    """
    names = list(outcomes[0].metrics)
    head = ["seed", *(_name(name) for name in names), "best step", "report"]
    lines = [
        _cells(
            [
                str(outcome.seed),
                *(page.readable(outcome.metrics[name]) for name in names),
                f"{outcome.best_step:,}",
            ],
            _link(Path(outcome.report).parent.name),
        )
        for outcome in outcomes
    ]
    for label, ending in (("mean", ""), ("standard deviation", "_std")):
        values = [page.readable(float(figures[name + ending])) for name in names]
        lines.append(_cells([label, *values, ""], "", best=True))
    totals = {name: figures[name] for name in ("steps", "tokens", "seconds", "model")}
    parts = [
        f'<table class="numbers">{page.line(head, "th")}{"".join(lines)}</table>',
        _seeds(outcomes, names),
        "<h2>All together</h2>",
        page.figures(totals),
    ]
    return page.write(folder, f"Fine-tuning for {figures['task']}, several seeds", parts, STYLE)


def _loss(table: Sequence[Mapping[str, Any]], epochs: Sequence[int]) -> str:
    """Draw the loss; epochs: their last steps."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(*page.smooth(table, "loss"), color=INK["train"], linewidth=0.7, label="step")
    axes.plot(*page.smooth(table, "loss", points=20), color=INK["heldout"], label="smoothed")
    for step in epochs:
        axes.axvline(step, color=INK["train"], linestyle=":", linewidth=1)
    axes.set(xlabel="step (dotted: the end of an epoch)", ylabel="training loss")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return page.svg(figure)


def _figures(evaluations: Sequence[Mapping[str, Any]], main: str, best: int) -> str:
    """Draw each figure over the evaluations, the one that the best model is chosen by first."""
    if len(evaluations) < 2:  # a single point says no more than its number
        return ""
    names = _names(evaluations, main)
    steps = [row["step"] for row in evaluations]
    figure = Figure(layout="constrained")
    for axes, name in zip(_grid(figure, len(names)), names, strict=True):
        values = [row[BEHIND + name] for row in evaluations]
        axes.plot(steps, values, color=INK["heldout"], marker="o", markersize=3)
        axes.plot(best, values[steps.index(best)], color=INK["unigram"], marker="D", markersize=7)
        axes.set_title(_name(name) + (" (decides)" if name == main else ""), fontsize=10)
        axes.set(xlabel="step")
        axes.margins(0.1, 0.2)
    return page.svg(figure)


def _evaluations(evaluations: Sequence[Mapping[str, Any]], main: str, best: int, epoch: int) -> str:
    """List the figures of each evaluation, the best one marked."""
    names = _names(evaluations, main)
    lines = [page.line(["epoch", "step", *map(_name, names), ""], "th")]
    for row in evaluations:
        chosen = row["step"] == best
        cells = [
            f"{row['step'] / epoch:.3g}",
            f"{row['step']:,}",
            *(page.readable(row[BEHIND + name]) for name in names),
        ]
        lines.append(_cells(cells, "best: this model was kept" if chosen else "", chosen))
    return f'<table class="numbers">{"".join(lines)}</table>'


def _mistakes(mistakes: Sequence[Mapping[str, Any]], file: str) -> str:
    """List mistakes; file: where their texts come from."""
    if not mistakes:
        return ""
    sure = "error" if "error" in mistakes[0] else "confidence"
    lines = []
    for told in mistakes:
        label, answer = _difference(told["label"], told["answer"], told["text"])
        place = told["place"].replace(file, PurePath(file).name, 1)
        cells = [label, answer, f"{told[sure]:.3f}", place]
        text = f'<td><div class="text">{html.escape(told["text"])}</div></td>'
        lines.append(f"<tr>{text}{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    head = page.line(["text", "right", "predicted", sure, "place"], "th")
    title = "The largest errors" if sure == "error" else "The most confident mistakes"
    return f'<h2>{title}</h2><table class="mistakes">{head}{"".join(lines)}</table>'


def _difference(label: Any, answer: Any, text: str) -> tuple[str, str]:
    """Write what was right and what was predicted; of the labels of words, where they differ."""
    words = text.split()
    several = isinstance(label, list) and isinstance(answer, list)
    if several and len(words) == len(label) == len(answer):
        wrong = [i for i in range(len(words)) if label[i] != answer[i]]
        right, predicted = (
            ", ".join(f"{words[i]} {names[i]}" for i in wrong) for names in (label, answer)
        )
        return right, predicted
    return _said(label), _said(answer)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return " / ".join(dict.fromkeys(map(str, value))) or "nothing"
    return f"{value:.4g}" if isinstance(value, float) else str(value) or "nothing"


def _seeds(outcomes: Sequence[Any], names: Sequence[str]) -> str:
    """Draw each seed's figures as points, with mean and deviation."""
    figure = Figure(layout="constrained")
    for axes, name in zip(_grid(figure, len(names)), names, strict=True):
        values = [outcome.metrics[name] for outcome in outcomes]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        axes.axhspan(mean - spread, mean + spread, color=INK["train"], alpha=0.25, linewidth=0)
        axes.axhline(mean, color=INK["unigram"], linewidth=1)
        axes.plot(range(len(values)), values, "o", color=INK["heldout"])
        axes.set_xticks(range(len(values)), [str(outcome.seed) for outcome in outcomes])
        axes.set_title(_name(name), fontsize=10)
        axes.set(xlabel="seed")
        reach = max(1e-3, 1.5 * max(abs(value - mean) for value in values))
        axes.set_ylim(mean - reach, mean + reach)
        axes.margins(x=0.2)
    return page.svg(figure)


def _grid(figure: Figure, count: int) -> list[Axes]:
    """Divide a figure into so many drawings."""
    columns = min(count, COLUMNS)
    lines = math.ceil(count / columns)
    figure.set_size_inches(9, 2.3 * lines)
    drawings = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes in drawings[count:]:
        axes.set_visible(False)
    return drawings[:count]


def _names(evaluations: Sequence[Mapping[str, Any]], main: str) -> list[str]:
    """Name the figures of the evaluations, the main one first."""
    found = [name.removeprefix(BEHIND) for name in evaluations[0] if name.startswith(BEHIND)]
    return [main, *(name for name in found if name != main)]


def _cells(cells: Sequence[str], last: str, best: bool = False) -> str:
    """Make a row of numbers; its last cell is HTML."""
    inside = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr{' class=best' if best else ''}>{inside}<td>{last}</td></tr>"


def _link(folder: str) -> str:
    """Point to the report in a folder below."""
    return f'<a href="{html.escape(folder)}/report.html">{html.escape(folder)}</a>'


def _name(figure: str) -> str:
    return figure.replace("_", " ")
