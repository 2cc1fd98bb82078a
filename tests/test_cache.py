"""What a decoder keeps: step by step it reads what it would read at once."""

import pytest
import torch
from torch import Tensor

from parity import TOLERANCE, alone, batch, strengthen
from unmask.model.cache import Cache
from unmask.model.kernels import KERNELS, Reference
from unmask.model.transformer import Transformer
from unmask.tokens import Layout, Tokens
from writers import SPECS, models

STEPS = [[2, 5, 1, 3, 1, 4], [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [3, 1, 2, 1, 1, 2]]
"""Tokens of each sequence that are read at once: a prompt, single ones, then several again."""
NAMES = pytest.mark.parametrize("name", SPECS)


def network(name: str) -> tuple[Transformer, Tokens]:
    encoder = models(name)[0].network.encoder
    return encoder, batch(SPECS[name], [sum(own) for own in zip(*STEPS, strict=True)])


def stretch(tokens: Tokens, step: int) -> Tokens:
    """Take the tokens of a step, of which segments are the first."""
    parts, layout = STEPS[step], tokens.layout
    before = [sum(own) for own in zip(*STEPS[:step], strict=True)] or [0] * len(parts)
    starts = [first + old for first, old in zip(layout.first.tolist(), before, strict=True)]
    rows = [row for s, n in zip(starts, parts, strict=True) for row in range(s, s + n)]
    return Tokens(tokens.ids[rows], Layout.of(parts))


def plain(tokens: Tokens) -> Tokens:
    """Forget the segments of the target."""
    return Tokens(tokens.ids, tokens.layout, source=tokens.source)


def remembered(encoder: Transformer, tokens: Tokens) -> Cache:
    memory = None if tokens.source is None else encoder.remember(tokens.source)
    return Cache(len(tokens.layout.lengths), tokens.layout.max_seqlen, memory)


@NAMES
@pytest.mark.parametrize("reference", [False, True], ids=["kernels", "reference"])
@torch.no_grad()
def test_steps_come_to_what_all_at_once_does(name: str, reference: bool) -> None:
    encoder, tokens = network(name)
    whole = encoder(plain(tokens)).split(tokens.layout.lengths)
    attentions = [one for one in encoder.modules() if hasattr(one, "kernels")]
    for attention in attentions:
        attention.kernels = (Reference(),) if reference else KERNELS
    cache = remembered(encoder, tokens)
    steps = [
        encoder(own, cache).split(own.layout.lengths)
        for own in (stretch(tokens, step) for step in range(len(STEPS)))
    ]
    for attention in attentions:
        attention.kernels = KERNELS
    for parts, wanted in zip(zip(*steps, strict=True), whole, strict=True):
        assert torch.allclose(torch.cat(parts), wanted, atol=TOLERANCE)
    assert cache.lengths == list(tokens.layout.lengths)


@NAMES
@torch.no_grad()
def test_what_is_reordered_goes_on_from_another_beginning(name: str) -> None:
    encoder, tokens = network(name)
    tokens = plain(tokens)
    cache, first = remembered(encoder, tokens), stretch(tokens, 0)
    encoder(first, cache)
    rows = [4, 4, 0, 5]
    cache.reorder(rows, rows)
    new = Tokens(torch.tensor([11, 12, 13, 14]), Layout.of([1] * 4))
    found = encoder(new, cache)
    for row, (origin, token) in enumerate(zip(rows, new.ids.tolist(), strict=True)):
        begun = alone(Tokens(first.ids, first.layout, source=tokens.source), origin)
        ids = torch.cat([begun.ids, torch.tensor([token])])
        wanted = encoder(Tokens(ids, Layout.of([len(ids)]), source=begun.source))[-1]
        assert torch.allclose(found[row], wanted, atol=TOLERANCE)
    assert not torch.allclose(found[0], found[1], atol=1e-2)


@torch.no_grad()
def test_beams_of_a_text_read_its_source_together() -> None:
    encoder, tokens = network("encoder-decoder")
    assert tokens.source is not None
    memory = encoder.remember(tokens.source)
    count = len(memory)
    cache = Cache(2 * count, 4, memory)
    begin = Tokens(torch.full((count,), 2), Layout.of([1] * count))
    encoder(begin, cache)
    cache.reorder([row for row in range(count) for _ in range(2)], range(count))
    new = Tokens(torch.arange(10, 10 + 2 * count), Layout.of([1] * 2 * count))
    found: Tensor = encoder(new, cache)
    for row, token in enumerate(new.ids.tolist()):
        source = alone(tokens, row // 2).source
        wanted = encoder(Tokens(torch.tensor([2, token]), Layout.of([2]), source=source))[-1]
        assert torch.allclose(found[row], wanted, atol=TOLERANCE)


def test_nothing_is_allocated_after_the_first_step() -> None:
    encoder, tokens = network("gpt2")
    cache = remembered(encoder, tokens)
    with torch.no_grad():
        places = []
        for step in range(len(STEPS)):
            encoder(stretch(tokens, step), cache)
            cache.reorder(range(len(STEPS[0])), ())
            places.append([kept.data_ptr() for kv in cache._layers for kept in kv])
    assert places == places[:1] * len(STEPS)
    assert len(places[0]) == 2 * SPECS["gpt2"].layers


def test_what_sees_ahead_cannot_go_on() -> None:
    encoder = Transformer(SPECS["encoder-decoder"].source or SPECS["gpt2"])
    strengthen(encoder)
    with pytest.raises(AssertionError, match="sees nothing ahead"):
        encoder(Tokens(torch.tensor([1]), Layout.of([1])), Cache(1, 2))
