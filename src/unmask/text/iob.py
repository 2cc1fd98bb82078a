"""Labels of words that say where entities begin and end: IOB1, IOB2, BIOES and BILOU."""

import re
from collections.abc import Sequence
from itertools import pairwise

OUTSIDE = "O"
"""The label of a word that belongs to nothing."""
CHUNK = re.compile(r"([BIMELSU])-(.+)")
"""A label that says where in its entity a word stands, and of which type that is."""


def iob2(labels: Sequence[str]) -> tuple[str, ...]:
    """Bring the labels of a sentence to IOB2: B- on an entity's first word, I- on further ones.

    The same rule reads IOB1, IOB2, BIOES and BILOU: an entity begins at a B, S or U, behind an E,
    L, S or U, and where the type changes. Plain labels stay as they are.
    """
    parts = [CHUNK.fullmatch(name) for name in labels]
    if not all(part or name == OUTSIDE for part, name in zip(parts, labels, strict=True)):
        return tuple(labels)
    found = []
    for before, part in pairwise([None, *parts]):
        inside = (
            part is not None
            and before is not None
            and part[2] == before[2]
            and part[1] not in "BSU"
            and before[1] not in "ELSU"
        )
        found.append(OUTSIDE if part is None else f"{'I' if inside else 'B'}-{part[2]}")
    return tuple(found)


def grouped(labels: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Join neighbouring words of one type: the type, and which words they are.

    A B- begins a new group. Words that belong to nothing are left out; a plain label is a type.
    """
    groups: list[tuple[str, list[int]]] = []
    for word, name in enumerate(labels):
        part = CHUNK.fullmatch(name)
        type_ = part[2] if part else name
        if groups and groups[-1][0] == type_ and not name.startswith("B-"):
            groups[-1][1].append(word)
        else:
            groups.append((type_, [word]))
    return [group for group in groups if group[0] != OUTSIDE]
