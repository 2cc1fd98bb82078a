"""Work side by side on the cores of a CPU.

Where work falls into parts, a part on each core is done sooner than one part after the other, each
on all cores: these wait for each other at the end of every product.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

P = TypeVar("P")
R = TypeVar("R")

AHEAD = 2
"""Parts of each lane that are begun before an earlier result is taken: it never waits for that, and
few results are held."""


def lanes(parts: int, device: torch.device, most: int | None = None) -> int:
    """Tell how many of so many parts are to be done at once: on a CPU one on each core."""
    if device.type != "cpu":
        return 1
    return max(1, min(parts, torch.get_num_threads(), most or parts))


def side_by_side(count: int, do: Callable[[P], R], parts: Sequence[P]) -> Iterator[R]:
    """Do something with each part, `count` parts at once; gives the results in order.

    Each runs in a thread with its share of the cores; modes that torch keeps for each thread, as
    that of inference and autocast, have to be set by `do` itself.
    """
    if count == 1:
        yield from map(do, parts)
        return
    cores = torch.get_num_threads()
    pool, waiting = _pool(cores), deque[Future[R]]()
    try:
        for part in parts:
            waiting.append(pool.submit(_alone, cores // count, do, part))
            if len(waiting) > AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        torch.set_num_threads(cores)  # what a thread sets for itself is what new ones begin with


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Keep threads for the whole run: to begin one takes time."""
    return ThreadPoolExecutor(threads, thread_name_prefix="lane")


def _alone(threads: int, do: Callable[[P], R], part: P) -> R:
    """Do something with a part, on so many cores."""
    torch.get_num_threads()  # a new thread takes all, and only then can be told otherwise
    torch.set_num_threads(threads)
    return do(part)
