"""The report of a pre-training run: its curves, figures and samples."""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from unmask.contracts import Objective
from unmask.train import page
from unmask.train.metrics import rows
from unmask.train.page import INK

PAIRS = {"nsp": "next sentence (chance: 50 %)", "sop": "sentence order (chance: 50 %)"}


def write_report(
    folder: Path, figures: Mapping[str, Any], settings: str, objective: Objective
) -> Path:
    """Draw the curves of a run's `metrics.jsonl` and set them beside its figures and settings.

    figures: what the run came to, by name; settings: its `config.toml`; objective: what it was for.
    Returns the report's path.
    """
    tokens, pair = objective.tokens, objective.pair
    table = rows(folder / "metrics.jsonl")
    evaluations = [row for row in table if "unigram_loss" in row]
    parts = [
        page.figures(figures),
        f"<h2>{objective.title}</h2>",
        _losses(table, evaluations, tokens),
        "<h2>Accuracy, held out</h2>",
        _accuracies(evaluations, tokens, pair),
        "<h2>Learning rate and speed</h2>",
        page.rates(table),
        _probes(evaluations),
        page.settings(settings),
    ]
    return page.write(folder, "Pre-training run", parts)


def _losses(
    table: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]], tokens: str
) -> str:
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    steps, losses = page.smooth(table, f"{tokens}_loss")
    axes.plot(steps, losses, color=INK["train"], label="training (smoothed)")
    at = [row["step"] for row in evaluations]
    held = [row[f"heldout_{tokens}_loss"] for row in evaluations]
    axes.plot(at, held, color=INK["heldout"], marker="o", markersize=3, label="held out")
    if evaluations:
        axes.axhline(
            evaluations[0]["unigram_loss"],
            color=INK["unigram"],
            linestyle="--",
            label="unigram frequencies",
        )
    axes.set(xlabel="step", ylabel="loss (nats per predicted token)")
    axes.legend(frameon=False)
    return page.svg(figure)


def _accuracies(evaluations: Sequence[Mapping[str, Any]], tokens: str, pair: str | None) -> str:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    at = [row["step"] for row in evaluations]
    curves = [(f"heldout_{tokens}_accuracy", "predicted tokens", INK["heldout"])]
    if pair is not None:
        curves.append((f"{pair}_accuracy", PAIRS[pair], INK["nsp"]))
    for name, label, ink in curves:
        values = [row.get(name) for row in evaluations]
        if any(value is not None for value in values):
            shown = [100 * value if value is not None else math.nan for value in values]
            axes.plot(at, shown, color=ink, marker="o", markersize=3, label=label)
    axes.set(xlabel="step", ylabel="% right")
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return page.svg(figure)


def _probes(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """Show what the model put in place of each probe's mask, over the run."""
    told = [row for row in evaluations if row.get("probes")]
    if not told:
        return ""
    texts = list(told[-1]["probes"])
    parts = ["<h2>Probes</h2>"]
    for text in texts:
        lines = "".join(
            page.line([f"{row['step']:,}", ", ".join(row["probes"].get(text, []))]) for row in told
        )
        parts.append(
            f"<p><b>{html.escape(text)}</b></p><table><tr><th>step</th><th></th></tr>{lines}</table>"
        )
    return "".join(parts)
