"""Runs a command, and watches what it and all its processes take: time and memory.

Commands take turns as the contestants of `turns.py` do, who are processes that stay.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.1
"""Seconds between two looks."""
PATIENCE = 3600.0
"""Seconds that a command may take."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a command took."""

    seconds: float
    memory: int
    """Highest sum of bytes of all its processes at one time; shared pages are counted once."""
    own: int
    """The same without pages of files, which the system may drop at any time."""
    output: str
    """What it wrote to standard output."""


def watch(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Watched:
    """Run a command to its end. Raises SystemExit with its errors where it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        list(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    looks = [(0, 0)]
    while True:
        with suppress(subprocess.TimeoutExpired):
            output, errors = process.communicate(timeout=PAUSE)
            break
        if time.perf_counter() - begin > PATIENCE:
            process.kill()
            raise SystemExit(f"{' '.join(command)} took more than {PATIENCE:,.0f} s")
        every = [_bytes(one) for one in _tree(process.pid)]
        looks.append((sum(both for both, _ in every), sum(own for _, own in every)))
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors}")
    memory, own = (max(column) for column in zip(*looks, strict=True))
    return Watched(seconds, memory, own, output)


def take_turns(
    contestants: Mapping[str, Callable[[], T]],
    rounds: int,
    compare: Callable[[Mapping[str, T]], Mapping[str, str]],
    file: Callable[[Mapping[str, list[T]], Mapping[str, str]], object],
) -> dict[str, str]:
    """Let contestants run one after the other, several times; gives the errors of who failed.

    The first round does not count: compare is given what it gave, and tells who is left out.
    file: is given what there is after each other round, and the errors.
    """
    found: dict[str, list[T]] = {name: [] for name in contestants}
    failed: dict[str, str] = {}
    for number in range(rounds + 1):
        for name in [name for name in contestants if name not in failed]:
            try:
                found[name].append(contestants[name]())
            except SystemExit as error:
                failed[name] = str(error)[-500:]
                print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
        there = {name: every for name, every in found.items() if name not in failed}
        if number == 0:
            failed |= compare({name: every.pop() for name, every in there.items()})
        else:
            file(there, failed)
    return failed


def _tree(root: int) -> list[int]:
    """Name a process and all that come from it."""
    found = [root]
    for process in found:
        with suppress(OSError):
            for path in Path(f"/proc/{process}/task").glob("*/children"):
                found += map(int, path.read_text().split())
    return found


def _bytes(process: int) -> tuple[int, int]:
    """Give the memory of a process, its share of what others have too; and without files."""
    with suppress(OSError):
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        sizes = dict(line.split(":") for line in text.splitlines()[1:])
        both, own = (int(sizes[name].split()[0]) * 1024 for name in ("Pss", "Pss_Anon"))
        return both, own
    return 0, 0
