"""The clock of the fine-tuning study: contestants take turns and so meet the same machine."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

STEADY = 100
"""Steps of each contestant; where fewer are taken, they are spread evenly over as many."""
TURN = 5
"""Steps that a contestant takes before it is the next one's turn."""
WARM = 2
"""Steps that are taken first and do not count."""


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


def take_turns(contestants: Mapping[str, Steps]) -> dict[str, dict[str, Any]]:
    """Take the steps of all contestants, some of one and then some of the next."""
    count = min(len(steps.tokens) for steps in contestants.values())
    wall, processor = ({name: [] for name in contestants} for _ in range(2))
    for steps in contestants.values():
        for number in range(WARM):
            steps.take(number)
    for begin in range(0, count, TURN):
        for name, steps in contestants.items():
            for number in range(begin, min(begin + TURN, count)):
                start, used = time.perf_counter(), time.process_time()
                steps.take(number)
                wall[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - used)
    return {
        name: {
            "steps": count,
            "seconds": sum(wall[name]),
            "processor_seconds": sum(processor[name]),
            "tokens_per_second": sum(steps.tokens[:count]) / sum(wall[name]),
            "examples_per_second": sum(steps.examples[:count]) / sum(wall[name]),
            "step_seconds": wall[name],
        }
        for name, steps in contestants.items()
    }
