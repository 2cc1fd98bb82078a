"""The two streams of a command: results on standard output, words for people on standard error.

In a pipe or a log neither carries control codes, and lines keep their length.
"""

import sys
from typing import TextIO

from rich.console import Console


def results() -> Console:
    """Open standard output for what was asked for."""
    return _console(sys.stdout)


def words() -> Console:
    """Open standard error for progress and everything else that is said to people."""
    return _console(sys.stderr)


class _Stream(Console):
    """A console that leaves it to the command line to notice that its reader went away."""

    def on_broken_pipe(self) -> None:
        """Let the error out, where rich would end the program."""
        raise BrokenPipeError


def _console(stream: TextIO) -> Console:
    """Write to a stream as wide as it is; one that is no terminal never breaks a line."""
    return _Stream(
        file=stream,
        width=None if stream.isatty() else 10_000,
        highlight=False,
        emoji=False,
        markup=False,
    )
