"""How far a preparation is, for people: one bar over all workers."""

from collections.abc import Mapping
from typing import Any

from rich import progress as bars

from unmask import console
from unmask.data.plan import Plan


class Progress:
    """A bar on standard error, where that is a terminal.

    How much text a compressed file holds is known when it is read; till then it is estimated.
    `done` has the bytes of text of each task that is done already.
    """

    def __init__(self, plan: Plan, done: Mapping[int, int]) -> None:
        self._expected = [plan.expected(task) for task in range(len(plan.tasks))]
        for task, size in done.items():
            self._expected[task] = size
        words = console.words()
        self._bars = bars.Progress(
            "preparing",
            bars.BarColumn(),
            bars.DownloadColumn(),
            bars.TransferSpeedColumn(),
            bars.TimeRemainingColumn(),
            console=words,
            disable=not words.is_terminal,
            transient=True,
        )
        self._bar = self._bars.add_task("", total=sum(self._expected), completed=sum(done.values()))

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def add(self, news: Mapping[str, Any]) -> None:
        """Take the news of a task: `bytes` more are done, or the `task` is, of `total` bytes."""
        if "task" in news:
            self._expected[news["task"]] = news["total"]
            self._bars.update(self._bar, total=sum(self._expected))
        else:
            self._bars.advance(self._bar, news["bytes"])
