"""Parts of some work are done at once, each on its share of the cores."""

import threading
from collections.abc import Iterator

import pytest
import torch

from unmask.lanes import AHEAD, lanes, side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def cores() -> Iterator[int]:
    """Let torch have three cores, whatever there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_there_is_a_lane_for_each_core_but_none_without_a_part(cores: int) -> None:
    assert [lanes(parts, CPU) for parts in (0, 1, 2, 3, 9)] == [1, 1, 2, 3, 3]
    assert lanes(9, CPU, most=2) == 2
    assert lanes(9, torch.device("meta")) == 1


def test_parts_run_at_once_and_results_are_in_order(cores: int) -> None:
    together = threading.Barrier(cores)  # breaks where not all three run at once

    def do(part: int) -> tuple[int, str]:
        together.wait(10)
        return part * part, threading.current_thread().name

    found = list(side_by_side(cores, do, range(6)))
    assert [square for square, _ in found] == [0, 1, 4, 9, 16, 25]
    assert threading.current_thread().name not in {name for _, name in found}


def test_one_lane_is_the_caller_with_all_cores(cores: int) -> None:
    def do(part: int) -> tuple[int, threading.Thread]:
        return torch.get_num_threads(), threading.current_thread()

    assert set(side_by_side(1, do, range(2))) == {(cores, threading.current_thread())}


def test_each_has_its_share_of_the_cores_and_others_keep_theirs(cores: int) -> None:
    def count(part: int) -> int:
        torch.ones(100_000).sum()  # what makes a new thread ask how many cores there are
        return torch.get_num_threads()

    assert list(side_by_side(3, count, range(9))) == [1] * 9
    assert torch.get_num_threads() == cores
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(count(0)))
    thread.start()
    thread.join()
    assert counts == [cores]


def test_little_is_done_ahead_and_errors_end_it(cores: int) -> None:
    begun: list[int] = []

    def do(part: int) -> int:
        begun.append(part)
        if part == 30:
            raise ValueError("thirty")
        return part

    found = side_by_side(2, do, range(100))
    assert next(found) == 0
    assert len(begun) <= 2 * AHEAD + 2
    with pytest.raises(ValueError, match="thirty"):
        list(found)
    assert max(begun) <= 30 + 2 * AHEAD + 2
