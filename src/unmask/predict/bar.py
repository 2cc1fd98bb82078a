"""What a person sees of a pass over rows on standard error: a bar, and a line at its end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from unmask import console


@contextmanager
def bar(work: str, printing: bool = False) -> Iterator[Callable[[float | None, int], None]]:
    """Show some work as it goes on: give it the share that is done, if known, and the rows.

    In a log there is no bar, nor where it would stand among rows that are being printed.
    """
    words = console.words()
    shown = words.is_terminal and not (printing and sys.stdout.isatty())
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
        console=words,
        disable=not shown,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(work, total=None, rows=0)

        def tell(done: float | None, rows: int) -> None:
            """Show which share is done, where that is known, and how many rows."""
            if done is not None:
                progress.update(task, total=1.0, completed=done)
            progress.update(task, rows=rows)

        yield tell


def told(rows: int, cut: int, length: int, path: Path | None, skipped: int = 0) -> str:
    """Say what became of the rows."""
    said = f"{rows:,} row{'' if rows == 1 else 's'}"
    said += f", {skipped:,} skipped" if skipped else ""
    said += f", {cut:,} longer than {length:,} tokens and cut" if cut else ""
    return said + (f" -> {path}" if path else "")
