"""The clock of the fine-tuning study: contestants take turns and so meet the same machine."""

import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import torch

from job import give_back
from unmask import hardware

T = TypeVar("T")

STEADY = 100
"""Steps of each contestant; where fewer are taken, they are spread evenly over as many."""
MOST = 6 << 30
"""Bytes that a contestant keeps between two steps; filled batches of all lengths tear its heap."""
TURN = 10
"""Steps that a contestant takes before it is the next one's turn; one before them does not count,
since what a contestant is done with goes back to the system for the others."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of training that a contestant is ready to take."""

    take: Callable[[int], object]
    """Takes step k, from a batch that is laid out to changed weights."""
    tokens: Sequence[int]
    """Real pieces of each step: filling does not count."""
    examples: Sequence[int]
    """Examples of each step; a window of a question's text is an example."""


def spread(items: Sequence[T], count: int) -> list[T]:
    """Pick `count` of the items: from the middle of as many equal parts."""
    count = min(count, len(items))
    return [items[len(items) * (2 * place + 1) // (2 * count)] for place in range(count)]


Make = Callable[[], Steps]
"""Makes everything ready; it can be pickled."""


class Contestant:
    """A contestant in a process of its own: with its own allocator, and nothing of the others'."""

    def __init__(self, make: Make, threads: int) -> None:
        """Start it, and wait until it is ready."""
        context = multiprocessing.get_context("spawn")
        self.ours, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.tokens, self.examples = self._told()

    def take(self, numbers: range) -> list[tuple[float, float]]:
        """Let it take these steps; gives the seconds of each, by the wall and by the processor."""
        self.ours.send(numbers)
        found: list[tuple[float, float]] = self._told()
        return found

    def end(self) -> None:
        """Let its process go."""
        self.ours.close()
        self.process.join()

    def _told(self) -> Any:
        try:
            return self.ours.recv()
        except EOFError:
            self.process.join()
            raise SystemExit(f"a contestant ended with {self.process.exitcode}") from None


def _serve(connection: Connection, make: Make, threads: int) -> None:
    """Take steps as they are asked for, until nobody asks any more."""
    torch.set_num_threads(threads)
    hardware.keep_memory()  # for all alike
    steps = make()
    connection.send((steps.tokens, steps.examples))
    with suppress(EOFError):
        while True:
            times, numbers = [], connection.recv()
            steps.take(numbers[0])
            for number in numbers:
                start, used = time.perf_counter(), time.process_time()
                steps.take(number)
                times.append((time.perf_counter() - start, time.process_time() - used))
                if resident() > MOST:
                    give_back()
            give_back()
            connection.send(times)


def resident() -> int:
    """Tell how many bytes this process holds; 0 where the system does not say."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * resource.getpagesize() if path.exists() else 0


def take_turns(makes: Mapping[str, Make], threads: int) -> dict[str, dict[str, Any]]:
    """Take the steps of all contestants, some of one and then some of the next."""
    contestants = {name: Contestant(make, threads) for name, make in makes.items()}
    count = min(len(one.tokens) for one in contestants.values())
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for begin in range(0, count, TURN):
        for name, one in contestants.items():
            times[name] += one.take(range(begin, min(begin + TURN, count)))
    found = {}
    for name, one in contestants.items():
        one.end()
        seconds, processor = (sum(column) for column in zip(*times[name], strict=True))
        found[name] = {
            "steps": count,
            "seconds": seconds,
            "processor_seconds": processor,
            "tokens_per_second": sum(one.tokens[:count]) / seconds,
            "examples_per_second": sum(one.examples[:count]) / seconds,
            "step_seconds": [wall for wall, _ in times[name]],
        }
    return found
