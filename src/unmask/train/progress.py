"""What a person sees of a run while it goes: a bar, and a line at every evaluation."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from unmask.train.checkpoint import State
from unmask.train.loop import Report


class Watcher:
    """Tells a run's progress on standard error; in a pipe, the evaluations alone."""

    def __init__(self, work: str, quiet: bool = False) -> None:
        """Watch some work, named for people."""
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.steps = 0
        self.begin, self.tokens, self.clock = 0, 0, time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(work, words="")

    @contextmanager
    def watch(self, state: State, steps: int) -> Iterator[None]:
        """Show the bar while a run goes on from a state to its last step."""
        self.steps = steps
        self.begin, self.tokens, self.clock = state.step, state.tokens, time.monotonic()
        self.bar.update(self.task, total=self.steps, completed=state.step)
        with self.bar:
            yield

    def step(self, report: Report) -> None:
        """Move the bar on."""
        row = report.row
        self.bar.update(
            self.task,
            completed=report.step,
            words=f"{report.step:,}/{self.steps:,} loss {row['loss']:.3f} {self._pace(row)}",
        )

    def evaluation(self, report: Report, figures: str) -> None:
        """Print a line on an evaluation, with what it found."""
        self.console.print(
            f"step {report.step:,}/{self.steps:,}  loss {report.row['loss']:.3f}  {figures}"
            f"  {self._pace(report.row)}"
        )

    def say(self, text: str) -> None:
        """Print words for people."""
        self.console.print(text, markup=False)

    def _pace(self, row: Mapping[str, Any]) -> str:
        seconds = max(time.monotonic() - self.clock, 1e-9)
        left = seconds / max(row["step"] - self.begin, 1) * (self.steps - row["step"])
        return f"{(row['tokens'] - self.tokens) / seconds:,.0f} tokens/s  {clock(left)} left"


def clock(seconds: float) -> str:
    """Write seconds as 0:07, 3:40 or 2:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
