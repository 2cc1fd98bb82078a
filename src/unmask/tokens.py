"""Tokens laid end to end, and where each sequence among them begins and ends.

T tokens of a batch laid end to end, B sequences, L the longest of them, C rows of a slot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Layout:
    """The boundaries of B sequences laid end to end.

    Sequence b holds the tokens from `cu_seqlens[b]` up to, not including, `cu_seqlens[b + 1]`.
    What a cache keeps lies in slots instead, which have room behind the end of a sequence.
    """

    lengths: tuple[int, ...]
    """Tokens of each sequence, on the host."""
    cu_seqlens: Tensor
    """(B + 1,) int32, starting at 0, never decreasing, ending at T."""
    max_seqlen: int
    """L, an upper bound that kernels may allocate for."""
    real: int
    """How many sequences count; those behind them only fill the batch."""
    positions: Tensor
    """(T,) int64, the place of each token in its sequence."""
    sequence_of: Tensor
    """(T,) int64, the sequence of each token; -1: the row of a slot that has none."""
    pad_index: Tensor
    """(B * L,) int64, the token behind each cell of the padded form."""
    unpad_index: Tensor
    """(T,) int64, the cell of each token in the padded form."""
    first: Tensor
    """(B,) int64, the first token of each sequence."""
    last: Tensor
    """(B,) int64, the last token of each sequence."""
    capacity: int | None = None
    """C, where each sequence has a slot of so many rows; None: they lie end to end."""

    @classmethod
    def of(cls, lengths: Sequence[int] | np.ndarray, real: int | None = None) -> "Layout":
        """Lay out sequences of these lengths, each at least 1. All is computed here, once."""
        sizes = np.asarray(lengths, dtype=np.int64)
        assert sizes.size, "a layout has at least one sequence"
        assert sizes.min() > 0, "no sequence is empty"
        ends = sizes.cumsum()
        starts = ends - sizes
        longest = int(sizes.max())
        sequence_of = np.repeat(np.arange(sizes.size), sizes)  # (T,)
        positions = np.arange(ends[-1]) - starts[sequence_of]  # (T,)
        return cls(
            lengths=tuple(sizes.tolist()),
            cu_seqlens=torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32)),
            max_seqlen=longest,
            real=sizes.size if real is None else real,
            positions=torch.from_numpy(positions),
            sequence_of=torch.from_numpy(sequence_of),
            pad_index=torch.from_numpy(_cells(starts, sizes)),
            unpad_index=torch.from_numpy(sequence_of * longest + positions),
            first=torch.from_numpy(starts),
            last=torch.from_numpy(ends - 1),
        )

    @classmethod
    def slots(cls, lengths: Sequence[int], capacity: int) -> "Layout":
        """Lay each sequence out at the beginning of a slot of so many rows."""
        sizes = np.asarray(lengths, dtype=np.int64)
        assert 0 < sizes.min() <= sizes.max() <= capacity, "each sequence fits into its slot"
        starts = np.arange(sizes.size) * capacity
        longest = int(sizes.max())
        row = np.arange(capacity)
        sequences = np.arange(sizes.size)[:, None]
        sequence_of = np.where(row < sizes[:, None], sequences, -1)  # (B, C)
        cell = sequences * longest + np.minimum(row, longest - 1)  # (B, C)
        return cls(
            lengths=tuple(sizes.tolist()),
            cu_seqlens=torch.arange(sizes.size + 1, dtype=torch.int32) * capacity,
            max_seqlen=longest,
            real=sizes.size,
            positions=torch.from_numpy(np.tile(row, sizes.size)),
            sequence_of=torch.from_numpy(sequence_of.reshape(-1)),
            pad_index=torch.from_numpy(_cells(starts, sizes)),
            unpad_index=torch.from_numpy(cell.reshape(-1)),
            first=torch.from_numpy(starts),
            last=torch.from_numpy(starts + sizes - 1),
            capacity=capacity,
        )

    @property
    def sizes(self) -> Tensor:
        """(B,) int64, the tokens of each sequence, where the other tensors are."""
        return self.last - self.first + 1

    @property
    def real_tokens(self) -> int:
        """Tokens of the sequences that count."""
        return sum(self.lengths[: self.real])

    def filled(self, tokens: int) -> "Layout":
        """Add sequences that count for nothing, none longer than the others, up to T tokens."""
        full, rest = divmod(tokens - sum(self.lengths), self.max_seqlen)
        fillers = [self.max_seqlen] * full + [rest] * (rest > 0)
        return Layout.of([*self.lengths, *fillers], self.real)

    def to(self, device: torch.device) -> "Layout":
        """Copy the tensors to a device."""
        tensors: dict[str, Any] = {
            field.name: moved(value, device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)


def moved(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; from the host to a GPU without waiting until it is there."""
    if device.type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def _cells(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Find the token behind each cell of the padded form: (B,), (B,) -> (B * L,).

    Behind the end of a sequence it is the first one again.
    """
    cell = np.arange(sizes.max())
    inside = cell < sizes[:, None]  # (B, L)
    found: np.ndarray = np.where(inside, starts[:, None] + cell, starts[:, None])  # (B, L)
    return found.reshape(-1)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of B sequences laid end to end."""

    ids: Tensor
    """(T,) int64."""
    layout: Layout
    segments: Tensor | None = None
    """(T,) int64, 0 for text A and 1 for text B; None: all 0."""
    languages: Tensor | None = None
    """(T,) int64, the number of each token's language; None: it is not told."""
    positions: Tensor | None = None
    """(T,) int64, the row of positions that each token takes; None: its place in its sequence."""
    source: "Tokens | None" = field(default=None, kw_only=True)
    """B other sequences, which an encoder-decoder reads to write these; None: there are none."""

    def to(self, device: torch.device) -> "Tokens":
        """Copy everything to a device."""
        kinds = (self.segments, self.languages, self.positions)
        return Tokens(
            moved(self.ids, device),
            self.layout.to(device),
            *(None if x is None else moved(x, device) for x in kinds),
            source=None if self.source is None else self.source.to(device),
        )

    def filled(self, tokens: int) -> "Tokens":
        """Complete them with sequences that count for nothing to exactly so many tokens."""
        missing = tokens - len(self.ids)
        kinds = (self.segments, self.languages, self.positions)
        return Tokens(
            functional.pad(self.ids, (0, missing)),
            self.layout.filled(tokens),
            *(None if x is None else functional.pad(x, (0, missing)) for x in kinds),
        )
