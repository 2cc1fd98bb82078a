"""Random numbers by address: each is a function of where it is used, not of what was drawn before.

n addresses at once.
"""

import numpy as np

_STRIDE = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
_WORD = (1 << 64) - 1


def address(*path: int) -> np.uint64:
    """Begin an address: seed, epoch and the like. Only the lowest 64 bits of each count."""
    key = np.zeros(1, dtype=np.uint64)
    for step in path:
        key = below(key, np.array([step & _WORD], dtype=np.uint64))
    return np.uint64(key[0])


def below(key: np.ndarray | np.uint64, step: np.ndarray | int) -> np.ndarray:
    """Go one step further: (n,) or scalar keys, (n,) or scalar steps of at least 0 -> (n,) uint64.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014), which passes the usual tests even on
    addresses that differ in one bit.
    """
    x = np.atleast_1d(np.asarray(step)).astype(np.uint64)
    x = np.atleast_1d(key) + (x + np.uint64(1)) * np.uint64(_STRIDE)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def uniform(key: np.ndarray, draw: int) -> np.ndarray:
    """Draw one number of [0, 1) below each address: (n,) uint64 -> (n,) float64."""
    return np.asarray((below(key, draw) >> np.uint64(11)) * 2.0**-53)


def choice(key: np.ndarray, draw: int, count: np.ndarray | int) -> np.ndarray:
    """Draw one whole number of 0, ..., count - 1 below each address: (n,) uint64 -> (n,) int64."""
    return (uniform(key, draw) * count).astype(np.int64)
