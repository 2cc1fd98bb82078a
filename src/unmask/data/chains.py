"""Chains of items that each name the next one, followed all at once.

S items.
"""

import numpy as np


def reached(begin: np.ndarray, following: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Follow all chains at once: which of S items are on the way from `begin`.

    following: (S,) the next item of each, always a later one; a chain ends at `stop`: (S,). Returns
    the items, ascending. Each round doubles the steps that `jump` takes, so a chain of k items
    needs log2(k) rounds.
    """
    nowhere = len(following)
    jump = np.append(np.where(following < stop, following, nowhere), nowhere)
    seen = np.zeros(nowhere + 1, dtype=bool)
    seen[begin] = True
    while (ahead := jump[np.flatnonzero(seen)]).min(initial=nowhere) < nowhere:
        seen[ahead] = True
        jump = jump[jump]
    return np.flatnonzero(seen[:-1])
