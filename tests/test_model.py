"""The encoder, its initialisation, its dropout and its size."""

import copy

import pytest
import torch
from torch import Tensor

import tiny
from unmask.families.bert import FAMILY
from unmask.model.network import INITIAL_STD, Network, components
from unmask.model.spec import Spec
from unmask.tokens import Layout, Tokens

BASE = Spec(width=768, heads=12, inner=3072, layers=12, pieces=30_522, positions=512, segments=2)
LARGE = Spec(width=1024, heads=16, inner=4096, layers=24, pieces=30_522, positions=512, segments=2)
LENGTHS = [7, 7, 7, 12, 1, 30]


def network(head: str = "pretraining") -> Network:
    return tiny.pretrained(tiny.tokenizer(), head).network


def batch() -> Tokens:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(50, (sum(LENGTHS),), generator=generator)
    return Tokens(ids, Layout.of(LENGTHS), (ids > 25).long())


def count(spec: Spec, head: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in FAMILY.network(spec, head).parameters())


@pytest.mark.parametrize(
    ("spec", "head", "parameters"),
    [
        (BASE, "pooler", 109_482_240),
        (BASE, "pretraining", 110_106_428),
        (LARGE, "pooler", 335_141_888),
        (LARGE, "pretraining", 336_226_108),
    ],
)
def test_has_the_parameters_of_the_paper(spec: Spec, head: str, parameters: int) -> None:
    assert count(spec, head) == parameters


def test_components_add_up_and_count_the_tied_embedding_once() -> None:
    with torch.device("meta"):
        parts = components(FAMILY.network(BASE, "pretraining"))
    assert sum(parameters for _, parameters in parts) == count(BASE, "pretraining")
    named = dict(parts)
    assert named["encoder.embeddings.piece"] == 30_522 * 768
    assert named["encoder.embeddings.segment"] == 2 * 768
    assert named["encoder.blocks.11.feed_forward.up"] == 768 * 3072 + 3072
    assert named["head.masked"] == 30_522


@torch.no_grad()
def test_a_packed_sequence_gives_what_it_gives_alone() -> None:
    encoder, tokens = network().encoder.eval(), batch()
    assert tokens.segments is not None
    packed = encoder(tokens).split(LENGTHS)
    sequences = zip(tokens.ids.split(LENGTHS), tokens.segments.split(LENGTHS), strict=True)
    for together, (ids, segments) in zip(packed, sequences, strict=True):
        alone = encoder(Tokens(ids, Layout.of([len(ids)]), segments))
        assert torch.allclose(together, alone, atol=1e-5)
    moved = encoder(Tokens(tokens.ids, Layout.of(LENGTHS[::-1]), tokens.segments))
    assert not torch.allclose(torch.cat(packed), moved, atol=1e-2)


def test_absent_segments_are_the_first() -> None:
    encoder, tokens = network().encoder.eval(), batch()
    plain = Tokens(tokens.ids, tokens.layout)
    zeros = Tokens(tokens.ids, tokens.layout, torch.zeros_like(tokens.ids))
    assert torch.allclose(encoder(plain), encoder(zeros), atol=1e-6)
    assert not torch.allclose(encoder(plain), encoder(tokens), atol=1e-2)


def test_a_sequence_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(AssertionError, match="33 tokens; there are 32"):
        network().encoder(Tokens(torch.zeros(33, dtype=torch.int64), Layout.of([33])))


def test_initial_weights_are_truncated_normal_and_follow_the_seed() -> None:
    first, again, other = network(), network(), network()
    for made, seed in ((first, 1), (again, 1), (other, 2)):
        made.initialise(torch.Generator().manual_seed(seed))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        if name.endswith("bias"):
            assert not tensor.any(), name
        elif name.endswith("norm.weight"):
            assert (tensor == 1).all(), name
        else:
            assert not torch.equal(tensor, other.state_dict()[name])
    table = first.encoder.embeddings.piece.weight
    assert table.abs().max() <= 2 * INITIAL_STD
    # Cutting at two deviations leaves 0.88 of one.
    assert table.std().item() == pytest.approx(0.88 * INITIAL_STD, rel=0.05)


def states(made: Network, seed: int) -> Tensor:
    torch.manual_seed(seed)
    out: Tensor = made(batch())
    return out


def test_dropout_works_in_training_only() -> None:
    made = network().train()
    plain = states(made, 0)
    made.set_dropout(0.5)
    assert torch.equal(states(made, 0), states(made, 0))
    assert not torch.allclose(states(made, 0), states(made, 1), atol=1e-2)
    made.eval()
    assert torch.equal(states(made, 0), plain)


@pytest.mark.parametrize("place", ["embeddings", "blocks.1", "blocks.0.attention"])
def test_dropout_is_in_every_place_of_the_paper(place: str) -> None:
    made = network().train()
    plain = states(made, 0)
    made.encoder.get_submodule(place).get_submodule("dropout").p = 0.5
    assert not torch.allclose(states(made, 0), plain, atol=1e-2)


def test_a_copy_is_tied_to_its_own_embedding() -> None:
    made = network("masked-lm")
    twin = copy.deepcopy(made)
    with torch.no_grad():
        twin.encoder.embeddings.piece.weight.zero_()
    masked, hidden = made.head.masked, torch.randn(3, 16)
    assert masked is not None
    assert twin.head.masked is not None
    assert torch.equal(twin.head.masked(hidden), masked.bias.expand(3, -1))
    assert not torch.equal(masked(hidden), masked.bias.expand(3, -1))
    assert "head.masked.weight" not in made.state_dict()


def test_the_tied_embedding_learns_from_both_its_uses() -> None:
    made = network("masked-lm")
    masked = made.head.masked
    assert masked is not None
    hidden = made(batch())
    masked.loss(hidden[:4], batch().ids[:4]).total.backward()
    grad = made.encoder.embeddings.piece.weight.grad
    assert grad is not None
    unread = torch.ones(len(grad), dtype=torch.bool).index_fill(0, batch().ids, False)
    assert grad[unread].any(1).all(), "the decoder's gradient reaches rows that no token reads"
    detached = torch.autograd.grad(
        masked.loss(hidden.detach()[:4], batch().ids[:4]).total,
        made.encoder.embeddings.piece.weight,
    )[0]
    assert not torch.allclose(grad[~unread], detached[~unread], atol=1e-3)
