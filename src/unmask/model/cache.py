"""What a decoder keeps of what it has read, so that each step reads one new token only.

T tokens of a step, n sequences, S slots of C rows, K source tokens, H heads, D width of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unmask.model.attention import KV
from unmask.model.view import Causal, View
from unmask.tokens import Layout


@dataclass(frozen=True, slots=True)
class Memory:
    """Sources as the blocks of a decoder read them by cross-attention: projected once."""

    kvs: tuple[KV, ...]
    """(K, H, D) each, of every block."""
    layout: Layout
    """Where each source is among the K rows."""

    def __len__(self) -> int:
        return len(self.layout.lengths)

    def view(self, queries: Layout) -> View:
        """Let each source be read by its share of the sequences: one, or all beams of a text.

        Cross-attention has no order, so the tokens of several beams are queries like any others.
        """
        share = len(queries.lengths) // len(self)
        if share > 1:
            each = np.reshape(queries.lengths, (-1, share)).sum(1)
            queries = Layout.of(each).to(queries.first.device)
        return View(queries, self.layout)

    def slotted(self) -> "Memory":
        """Give each source a slot, as steps read them fastest."""
        index, layout = self.layout.pad_index, self.layout
        kvs = tuple(KV(kv.k.index_select(0, index), kv.v.index_select(0, index)) for kv in self.kvs)
        return Memory(kvs, _slots(layout.lengths, layout.max_seqlen, index.device))

    def select(self, sources: Sequence[int]) -> "Memory":
        """Keep some of the sources, which have slots."""
        layout, capacity = self.layout, self.layout.capacity
        assert capacity is not None, "sources that are selected have slots"
        rows = torch.tensor(sources, device=layout.first.device)

        def kept(x: Tensor) -> Tensor:
            """Take the slots of the sources that stay."""
            return x.view(-1, capacity, *x.shape[1:]).index_select(0, rows).flatten(0, 1)

        kvs = tuple(KV(kept(kv.k), kept(kv.v)) for kv in self.kvs)
        lengths = [layout.lengths[source] for source in sources]
        return Memory(kvs, _slots(lengths, capacity, rows.device))


class Cache:
    """Keys and values of each layer, in slots that are allocated once; and the sources' memory."""

    def __init__(self, slots: int, capacity: int, memory: Memory | None = None) -> None:
        self.memory = None if memory is None else memory.slotted()
        self.lengths: list[int] = []  # tokens in each slot that is in use
        self._size = slots, capacity
        self._layers: list[KV] = []
        self._rows = torch.empty(0)  # where the tokens of this step go

    def extend(self, layout: Layout) -> View:
        """Begin a step: what its tokens see, themselves included.

        layout: so many more tokens of each sequence, of all that are in use. In the first step
        they see nothing but each other.
        """
        device, capacity = layout.first.device, self._size[1]
        before = self.lengths or [0] * len(layout.lengths)
        self.lengths = [old + new for old, new in zip(before, layout.lengths, strict=True)]
        starts = torch.arange(len(before), device=device) * capacity
        starts += torch.tensor(before, device=device)
        self._rows = starts[layout.sequence_of] + layout.positions  # (T,)
        if not any(before):
            return View(layout, layout, Causal())
        order = Causal() if layout.max_seqlen > 1 else None  # the newest token sees all
        return View(layout, _slots(self.lengths, capacity, device), order)

    def append(self, layer: int, kv: KV) -> KV:
        """Keep what a layer made of the step's tokens, (T, H, D): all that they may see of it."""
        if layer == len(self._layers):
            shape = self._size[0] * self._size[1], *kv.k.shape[1:]
            self._layers.append(KV(kv.k.new_zeros(shape), kv.v.new_zeros(shape)))
        for kept, new in zip(self._layers[layer], kv, strict=True):
            kept.index_copy_(0, self._rows, new)
        used = len(self.lengths) * self._size[1]
        first = sum(self.lengths) == len(kv.k)
        return kv if first else KV(*(kept[:used] for kept in self._layers[layer]))

    def reorder(self, rows: Sequence[int], sources: Sequence[int]) -> None:
        """Let sequence i be the one that was `rows[i]`, and keep these of the sources.

        What is not among them is forgotten.
        """
        moved = [new for new, old in enumerate(rows) if new != old]
        if moved:
            came, longest = [rows[new] for new in moved], max(self.lengths)
            for kv in self._layers:
                for kept in kv:
                    slots = kept.view(*self._size, *kept.shape[1:])[:, :longest]  # (S, L, H, D)
                    slots[moved] = slots[came]
        self.lengths = [self.lengths[row] for row in rows]
        if self.memory is not None and list(sources) != list(range(len(self.memory))):
            self.memory = self.memory.select(sources)


def _slots(lengths: Sequence[int], capacity: int, device: torch.device) -> Layout:
    return Layout.slots(lengths, capacity).to(device)
