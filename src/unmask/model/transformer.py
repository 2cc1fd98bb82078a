"""The Transformer: BERT's encoder, and decoders.

The encoder is that of Devlin et al. 2019, https://arxiv.org/abs/1810.04805; a decoder that reads
what an encoder has read that of Vaswani et al. 2017, https://arxiv.org/abs/1706.03762. T tokens, K
of a source, W width.
"""

from typing import cast

from torch import Tensor, nn

from unmask.model.block import Across, Block, PreNormBlock
from unmask.model.cache import Cache, Memory
from unmask.model.embeddings import Embeddings
from unmask.model.spec import Spec
from unmask.model.view import Causal, View
from unmask.tokens import Tokens


class Transformer(nn.Module):
    """Embeddings, then a block for each layer; `source` is the encoder of an encoder-decoder."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.width = spec.width
        self.source: Transformer | None = None
        if spec.source is not None:
            self.source = Transformer(spec.source)
            wide = spec.source.width == spec.width
            self.bridge = nn.Identity() if wide else nn.Linear(spec.source.width, spec.width)
        read = self.source.embeddings.piece if self.source and spec.shared else None
        self.embeddings: Embeddings = Embeddings(spec, read)
        block = PreNormBlock if spec.norm_first else Block
        self.blocks = nn.ModuleList(block(spec) for _ in range(spec.blocks))
        self.schedule = tuple(range(spec.layers)) if spec.schedule is None else spec.schedule
        self.norm = nn.LayerNorm(spec.width, spec.eps) if spec.final_norm else nn.Identity()
        self.order = Causal() if spec.causal else None

    def forward(self, tokens: Tokens, cache: Cache | None = None) -> Tensor:
        """Read T tokens, and the source that belongs to them: -> their hidden states (T, W).

        cache: what was read before, of which the tokens are the continuation.
        """
        layout = tokens.layout
        if cache is None:
            memory = None if self.source is None else self._read(tokens)
            segments = None if tokens.segments is None else (tokens.segments, tokens.segments)
            view = View(layout, layout, self.order, segments)
        else:
            assert self.order is not None, "only who sees nothing ahead can go on step by step"
            memory, view = cache.memory, cache.extend(layout)
        across = None if memory is None else memory.view(layout)
        x: Tensor = self.embeddings(tokens, view)
        for layer, number in enumerate(self.schedule):
            block = cast(Block, self.blocks[number])
            kv = None if cache is None else cache.append(layer, block.remember(x))
            read = Across(memory.kvs[number], across) if memory and across else None
            x = block(x, view, kv, read)
        out: Tensor = self.norm(x)
        return out

    def remember(self, source: Tokens) -> Memory:
        """Read a source of K tokens, for all blocks and all steps that look into it."""
        assert self.source is not None, "a decoder with cross-attention has an encoder"
        hidden = self.bridge(self.source(source))  # (K, W)
        kvs = tuple(cast(Block, block).cross.remember(hidden) for block in self.blocks)
        return Memory(kvs, source.layout)

    def _read(self, tokens: Tokens) -> Memory:
        assert tokens.source is not None, "an encoder-decoder reads a source"
        return self.remember(tokens.source)

    def path(self) -> list[Block]:
        """List the block of each layer."""
        return [cast(Block, self.blocks[number]) for number in self.schedule]
