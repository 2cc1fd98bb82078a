"""The run's report: one HTML file with curves, figures and samples; it needs no network."""

import html
import io
import math
import platform
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from unmask.train.metrics import rows

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1d2733 } h1 { font-size: 1.7rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse } tr + tr { border-top: 1px solid #e3e8ee }
td, th { text-align: left; padding: .25rem 1.2rem .25rem 0; vertical-align: top }
pre { background: #f5f7fa; padding: 1rem; overflow-x: auto; font-size: 13px }
svg { width: 100%; height: auto } .figures td:first-child { color: #5b6b7c }
"""
INK = {"train": "#9fb3c8", "heldout": "#0b6e99", "unigram": "#c2571a", "nsp": "#2e7d4f"}


def write_report(folder: Path, figures: Mapping[str, Any], settings: str) -> Path:
    """Draw the curves of a run's `metrics.jsonl` and set them beside its figures and settings.

    figures: what the run came to, by name; settings: its `config.toml`. Returns the report's path.
    """
    table = rows(folder / "metrics.jsonl")
    evaluations = [row for row in table if "heldout_mlm_loss" in row]
    parts = [
        "<h1>Pre-training run</h1>",
        _figures(figures),
        "<h2>Masked language modelling</h2>",
        _losses(table, evaluations),
        "<h2>Accuracy, held out</h2>",
        _accuracies(evaluations),
        "<h2>Learning rate and speed</h2>",
        _rates(table),
        _probes(evaluations),
        f"<h2>Settings</h2><pre>{html.escape(settings)}</pre>",
        f"<p>torch {torch.__version__}, Python {platform.python_version()}, {platform.platform()}",
    ]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        "<title>unmask: pre-training run</title>"
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    path = folder / "report.html"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _figures(figures: Mapping[str, Any]) -> str:
    lines = [
        (name.replace("_", " "), _readable(value))
        for name, value in figures.items()
        if value is not None
    ]
    return f'<table class="figures">{"".join(map(_line, lines))}</table>'


def _line(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _losses(table: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]]) -> str:
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    steps, losses = _smooth(table, "mlm_loss")
    axes.plot(steps, losses, color=INK["train"], label="training (smoothed)")
    at = [row["step"] for row in evaluations]
    held = [row["heldout_mlm_loss"] for row in evaluations]
    axes.plot(at, held, color=INK["heldout"], marker="o", markersize=3, label="held out")
    if evaluations:
        axes.axhline(
            evaluations[0]["unigram_loss"],
            color=INK["unigram"],
            linestyle="--",
            label="unigram frequencies",
        )
    axes.set(xlabel="step", ylabel="loss (nats per masked token)")
    axes.legend(frameon=False)
    return _svg(figure)


def _accuracies(evaluations: Sequence[Mapping[str, Any]]) -> str:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    at = [row["step"] for row in evaluations]
    for name, label, ink in (
        ("heldout_mlm_accuracy", "masked tokens", INK["heldout"]),
        ("nsp_accuracy", "next sentence (chance: 50 %)", INK["nsp"]),
    ):
        values = [row.get(name) for row in evaluations]
        if any(value is not None for value in values):
            shown = [100 * value if value is not None else math.nan for value in values]
            axes.plot(at, shown, color=ink, marker="o", markersize=3, label=label)
    axes.set(xlabel="step", ylabel="% right")
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return _svg(figure)


def _rates(table: Sequence[Mapping[str, Any]]) -> str:
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in table]
    left.plot(steps, [row["rate"] for row in table], color=INK["heldout"])
    left.set(xlabel="step", ylabel="learning rate")
    # Speed over stretches of the run: single steps are too noisy to look at.
    stretch = max(1, len(table) // 100)
    marks = table[::stretch]
    pairs = list(pairwise(marks))
    speeds = [
        (b["tokens"] - a["tokens"]) / max(b["seconds"] - a["seconds"], 1e-9) for a, b in pairs
    ]
    right.plot([b["step"] for _, b in pairs], speeds, color=INK["nsp"])
    right.set(xlabel="step", ylabel="tokens per second")
    right.set_ylim(bottom=0)
    return _svg(figure)


def _probes(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """Show what the model put in place of each probe's mask, over the run."""
    told = [row for row in evaluations if row.get("probes")]
    if not told:
        return ""
    texts = list(told[-1]["probes"])
    parts = ["<h2>Probes</h2>"]
    for text in texts:
        lines = "".join(
            _line([f"{row['step']:,}", ", ".join(row["probes"].get(text, []))]) for row in told
        )
        parts.append(
            f"<p><b>{html.escape(text)}</b></p><table><tr><th>step</th><th></th></tr>{lines}</table>"
        )
    return "".join(parts)


def _smooth(
    table: Sequence[Mapping[str, Any]], name: str, points: int = 400
) -> tuple[list[int], list[float]]:
    """Average a column over stretches of rows, leaving out what is not finite."""
    stretch = max(1, len(table) // points)
    steps, means = [], []
    for start in range(0, len(table), stretch):
        part = [row for row in table[start : start + stretch] if math.isfinite(row[name])]
        if part:
            steps.append(part[-1]["step"])
            means.append(sum(row[name] for row in part) / len(part))
    return steps, means


def _svg(figure: Figure) -> str:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
