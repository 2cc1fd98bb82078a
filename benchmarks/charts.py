"""Charts of the benchmarks: bars beside each other, and curves of growth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

OURS, THEIRS = "#0b6e99", "#9fb3c8"
INKS = (OURS, "#c2571a", "#7b8794", "#5b8c5a", "#8e5ea2")
Bar = tuple[float, float, float]
"""The median, and both ends of the spread."""


def bars(groups: Mapping[str, Mapping[str, Bar]], label: str, path: Path) -> None:
    """Draw a chart for each group, a bar for each contestant, ours in its own ink."""
    height = sum(0.24 * len(group) + 0.9 for group in groups.values())
    figure = Figure(figsize=(8, height), layout="constrained")
    sizes = [len(group) for group in groups.values()]
    every = figure.subplots(len(groups), 1, squeeze=False, height_ratios=sizes)
    for axes, (title, group) in zip(every[:, 0], groups.items(), strict=True):
        names = sorted(group, key=lambda name: group[name][0])
        middles = [group[name][0] for name in names]
        below = [group[name][0] - min(group[name]) for name in names]
        above = [max(group[name]) - group[name][0] for name in names]
        inks = [OURS if name.startswith("unmask") else THEIRS for name in names]
        axes.barh(names, middles, xerr=[below, above], color=inks, ecolor="#334e68")
        axes.set_title(title, loc="left", fontsize=10)
        _plain(axes)
    every[-1, 0].set_xlabel(label)
    _save(figure, path)


def ratios(rows: Sequence[tuple[str, float, float]], path: Path) -> None:
    """Draw how many times as fast ours is, by names, with a mark at what it should be."""
    figure = Figure(figsize=(9, 0.24 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots()
    names, values, aims = zip(*reversed(rows), strict=True)
    places = range(len(rows))
    axes.barh(places, values, color=OURS)
    axes.vlines(aims, [p - 0.45 for p in places], [p + 0.45 for p in places], color=INKS[1], lw=3)
    axes.axvline(1, color="#334e68", linewidth=0.8)
    axes.set_yticks(places, names)
    axes.set(xlabel="times as fast as the peer; a mark shows the target", xscale="log")
    axes.margins(y=0.02)
    _count(axes.xaxis)
    _plain(axes)
    _save(figure, path)


def curves(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    label: str,
    path: Path,
    scale: str = "log",
) -> None:
    """Draw curves over one quantity, a panel for each thing that is measured.

    panels: of each thing with its unit, named curves of (quantity, measured); scale: of both axes.
    """
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    every = figure.subplots(1, len(panels), squeeze=False)
    for axes, (title, lines) in zip(every[0], panels.items(), strict=True):
        for ink, (name, points) in zip(INKS, lines.items(), strict=False):
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=ink, label=name)
        axes.set(title=title, xlabel=label, xscale=scale, yscale=scale)
        for axis in (axes.xaxis, axes.yaxis) if scale == "log" else ():
            _count(axis)
        axes.grid(alpha=0.25)
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
        _plain(axes)
    _save(figure, path)


def _count(axis: Axis) -> None:
    """Let a logarithmic axis count 1, 2, 5, 10, as many as there is room for."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
