"""The page of a report: one HTML file of tables and drawings; it needs no network."""

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

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1d2733 } h1 { font-size: 1.7rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse } tr + tr { border-top: 1px solid #e3e8ee }
td, th { text-align: left; padding: .25rem 1.2rem .25rem 0; vertical-align: top }
pre { background: #f5f7fa; padding: 1rem; overflow-x: auto; font-size: 13px }
svg { width: 100%; height: auto } .figures td:first-child { color: #5b6b7c }
"""
INK = {
    "train": "#9fb3c8",
    "heldout": "#0b6e99",
    "unigram": "#c2571a",
    "nsp": "#2e7d4f",
}
"""Colours of the curves, by what they show."""


def write(folder: Path, title: str, parts: Sequence[str], style: str = "") -> Path:
    """Write `report.html`, whole or not at all, and give its path.

    title: what the page is about, as text; parts: its HTML; style: further rules for it.
    """
    about = f"torch {torch.__version__}, Python {platform.python_version()}, {platform.platform()}"
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>unmask: {html.escape(title)}</title><style>{STYLE}{style}</style>"
        f"<body><h1>{html.escape(title)}</h1>{''.join(parts)}<p>{html.escape(about)}</body></html>"
    )
    path = folder / "report.html"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def figures(values: Mapping[str, Any]) -> str:
    """Show values by their names; those that are None are left out."""
    lines = (
        line([name.replace("_", " "), readable(value)])
        for name, value in values.items()
        if value is not None
    )
    return f'<table class="figures">{"".join(lines)}</table>'


def line(cells: Sequence[str], kind: str = "td") -> str:
    """Make a row of a table of texts; `th` makes it a header."""
    return f"<tr>{''.join(f'<{kind}>{html.escape(cell)}</{kind}>' for cell in cells)}</tr>"


def settings(text: str) -> str:
    """Show a run's `config.toml`."""
    return f"<h2>Settings</h2><pre>{html.escape(text)}</pre>"


def readable(value: Any) -> str:
    """Write a value for people."""
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def rates(table: Sequence[Mapping[str, Any]]) -> str:
    """Draw the learning rate and the speed over the steps of a `metrics.jsonl`."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in table]
    left.plot(steps, [row["rate"] for row in table], color=INK["heldout"])
    left.set(xlabel="step", ylabel="learning rate")
    # Speed over stretches of the run: single steps are too noisy to look at.
    stretch = math.ceil(len(table) / 50)
    pairs = list(pairwise(table[::stretch]))
    speeds = [
        (b["tokens"] - a["tokens"]) / max(b["seconds"] - a["seconds"], 1e-9) for a, b in pairs
    ]
    right.plot([b["step"] for _, b in pairs], speeds, color=INK["nsp"])
    right.set(xlabel="step", ylabel="tokens per second")
    right.set_ylim(bottom=0)
    return svg(figure)


def smooth(
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


def svg(figure: Figure) -> str:
    """Make a drawing a part of a page."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
