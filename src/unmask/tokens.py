"""Tokens laid end to end, and where each sequence among them begins and ends.

T tokens of a batch laid end to end, B sequences, L the longest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """The boundaries of B sequences laid end to end.

    Sequence b holds the tokens from `cu_seqlens[b]` up to, not including, `cu_seqlens[b + 1]`.
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
    """(T,) int64, the sequence of each token."""
    pad_index: Tensor
    """(B * L,) int64, the token behind each cell of the padded form."""
    unpad_index: Tensor
    """(T,) int64, the cell of each token in the padded form."""
    first: Tensor
    """(B,) int64, the first token of each sequence."""
    last: Tensor
    """(B,) int64, the last token of each sequence."""

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
        cell = np.arange(longest)
        inside = cell < sizes[:, None]  # (B, L)
        pad_index = np.where(inside, starts[:, None] + cell, starts[:, None])  # (B, L)
        return cls(
            lengths=tuple(sizes.tolist()),
            cu_seqlens=torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32)),
            max_seqlen=longest,
            real=sizes.size if real is None else real,
            positions=torch.from_numpy(positions),
            sequence_of=torch.from_numpy(sequence_of),
            pad_index=torch.from_numpy(pad_index.reshape(-1)),
            unpad_index=torch.from_numpy(sequence_of * longest + positions),
            first=torch.from_numpy(starts),
            last=torch.from_numpy(ends - 1),
        )

    def to(self, device: torch.device, non_blocking: bool = False) -> "Layout":
        """Copy the tensors to a device."""
        tensors: dict[str, Any] = {
            field.name: value.to(device, non_blocking=non_blocking)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)


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

    def to(self, device: torch.device, non_blocking: bool = False) -> "Tokens":
        """Copy everything to a device."""
        kinds = (self.segments, self.languages, self.positions)
        return Tokens(
            self.ids.to(device, non_blocking=non_blocking),
            self.layout.to(device, non_blocking),
            *(None if x is None else x.to(device, non_blocking=non_blocking) for x in kinds),
        )
