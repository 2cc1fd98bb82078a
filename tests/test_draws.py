"""Random numbers by address: the published generator, alike spread whatever the address."""

import numpy as np
import pytest

from unmask.data.draws import address, below, choice, uniform


def test_the_steps_below_zero_are_splitmix64() -> None:
    # The first outputs of the reference implementation (Vigna, splitmix64.c) from state 0.
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert below(np.uint64(0), np.arange(3)).tolist() == published


def test_every_step_of_an_address_counts() -> None:
    paths = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (-2,), (1 << 40,)]
    assert len({int(address(*path)) for path in paths}) == len(paths)
    assert address(3, 1) == below(address(3), 1)[0]


def test_numbers_of_neighbours_are_spread_alike_and_do_not_hang_together() -> None:
    keys = below(address(7), np.arange(20_000))
    first, second = uniform(keys, 0), uniform(keys, 1)
    for values in (first, second):
        assert values.min() >= 0
        assert values.max() < 1
        assert np.histogram(values, 10, (0, 1))[0] == pytest.approx(np.full(10, 2000), rel=0.08)
    for ours, theirs in [(first, second), (first[1:], first[:-1])]:
        assert abs(np.corrcoef(ours, theirs)[0, 1]) < 0.02


def test_choices_reach_all_and_nothing_else() -> None:
    keys = below(address(7), np.arange(7000))
    counts = np.bincount(choice(keys, 0, 7))
    assert counts == pytest.approx(np.full(7, 1000), rel=0.15)
    assert choice(keys[:3], 0, np.array([1, 1, 1])).tolist() == [0, 0, 0]
