"""Runs a command, and watches what it and all its processes take: time and memory."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAUSE = 0.1
"""Seconds between two looks."""


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
        every = [_bytes(one) for one in _tree(process.pid)]
        looks.append((sum(both for both, _ in every), sum(own for _, own in every)))
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors}")
    memory, own = (max(column) for column in zip(*looks, strict=True))
    return Watched(seconds, memory, own, output)


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
