"""The machine's peak: products of square matrices, as fast as the libraries do them.

Other figures are given as shares of it. Contestants of `turns.py`.
"""

from typing import Any

import torch

from job import Job
from turns import Contestant, Turns

SIZE = 2048
"""Rows and columns of the matrices."""
PRODUCTS = {"float32": 10, "bfloat16": 40, "int8": 40}
"""Of a round."""
PEAKS = [
    Contestant(name=f"peak {kind}", job="peak:peak", options={"kind": kind}) for kind in PRODUCTS
]
"""To be measured beside others."""


def peak(kind: str) -> Job:
    """Make ready to multiply matrices of a type: `float32`, `bfloat16` or `int8`."""
    if kind == "int8":
        a, b = (torch.randint(-128, 127, (SIZE, SIZE), dtype=torch.int8) for _ in range(2))
    else:
        a, b = (torch.randn(SIZE, SIZE, dtype=getattr(torch, kind)) for _ in range(2))
    product = torch._int_mm if kind == "int8" else torch.mm

    def multiply() -> None:
        for _ in range(PRODUCTS[kind]):
            product(a, b)

    operations = 2.0 * SIZE**3 * PRODUCTS[kind]
    return Job(round=multiply, tokens=0, operations=operations)


def beside_peaks(found: Turns) -> dict[str, Any]:
    """Put together what the peaks were, and what the others reached of that in bfloat16."""
    names = {one.name for one in PEAKS}
    peaks = {name: found.figures[name].speed for name in names & set(found.figures)}
    return {
        "peaks": {name.removeprefix("peak "): speed for name, speed in sorted(peaks.items())},
        "contestants": {
            name: figures.told(peaks.get("peak bfloat16"))
            for name, figures in found.figures.items()
            if name not in names
        },
        "failed": found.failed,
    }
