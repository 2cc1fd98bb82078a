"""Permutation language modelling: what is predicted, who sees whom, and the memory."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import stores
from parity import STRUCTURES, TOLERANCE, copied, own, peer, strengthen
from unmask.data.masking import Masking
from unmask.data.packing import Packed
from unmask.families.xlnet import FAMILY
from unmask.model.streams import guess
from unmask.objectives.permutation import LOWEST, PermutationObjective
from unmask.text.template import XLNET
from unmask.tokens import Layout, Tokens

SPEC = STRUCTURES["xlnet"]["plain"]
VOCABULARY = stores.vocabulary(40, template=XLNET)
SIXTH = Masking(probability=1 / 6, longest=5)


def packed(texts: list[int], vocabulary: int = 40, seed: int = 0) -> Packed:
    """Lay out single texts of so many tokens: `A <sep> <cls>`."""
    rng = np.random.default_rng(seed)
    rows = [[*rng.integers(stores.FIRST, vocabulary, size), 3, 2] for size in texts]
    bounds = np.cumsum([0, *map(len, rows)])
    return Packed(np.concatenate(rows), bounds, None, None)


def objective(**fields: object) -> PermutationObjective:
    return PermutationObjective(vocabulary=VOCABULARY, **{"masking": SIXTH, **fields})


def test_a_sixth_is_predicted_in_any_order_and_the_rest_is_seen_by_all() -> None:
    text = packed([60] * 500)
    batch = objective().corrupt(text, np.random.default_rng(0))
    ranks, rows = batch.ranks.numpy(), batch.rows.numpy()
    assert batch.counts["plm"] / (60 * 500) == pytest.approx(1 / 6, abs=0.005)
    assert (batch.labels.numpy() == text.ids[rows]).all()
    special = text.ids < stores.FIRST
    assert not special[rows].any()
    # Special tokens keep a rank of their own among those that are predicted.
    shuffled = special.copy()
    shuffled[rows] = True
    assert (ranks[~shuffled] == LOWEST).all()
    for first, last in pairwise(text.cu_seqlens):
        inside = ranks[first:last][shuffled[first:last]]
        assert sorted(inside) == list(range(LOWEST + 1, LOWEST + 1 + inside.size))
    # Any order is as likely as another: the earlier of two neighbours comes first in half.
    order = np.diff(ranks[rows])[np.diff(rows) == 1]
    assert (order > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert batch.queries.lengths == tuple(np.diff(np.searchsorted(rows, text.cu_seqlens)))


@pytest.mark.parametrize("memory", [0, 6])
def test_sequences_without_a_token_to_predict_are_read_all_the_same(memory: int) -> None:
    text = packed([0, 1, 2, 30])
    batch = objective(memory=memory).corrupt(text, np.random.default_rng(0))
    assert min(batch.queries.lengths) >= 1
    assert batch.counts["plm"] == (batch.labels >= 0).sum()
    assert (batch.labels < 0).sum() >= 1
    network = own(FAMILY, "permutation-lm", SPEC).network
    part = objective().loss(network.encoder, network.head, batch)["plm"]
    assert torch.isfinite(part.total)
    assert part.total > 0


def test_the_memory_is_read_by_itself_and_nothing_of_it_is_predicted() -> None:
    text = packed([30, 12, 4])
    batch = objective(memory=10).corrupt(text, np.random.default_rng(0))
    assert batch.memory is not None
    sizes = [int(part.sum()) for part in batch.memory.split(np.diff(text.cu_seqlens).tolist())]
    assert sizes == [10, 7, 3]  # never more than half
    assert not batch.memory[batch.rows].any()
    assert (batch.ranks[batch.memory] == LOWEST - 1).all()
    assert (batch.ranks[~batch.memory] >= LOWEST).all()


@torch.no_grad()
def test_the_memory_is_that_of_transformers() -> None:
    """The peer reads the memory first, and then the segment with what it kept of that."""
    model = peer(FAMILY, "permutation-lm", SPEC)
    strengthen(model)
    made = own(FAMILY, "permutation-lm", SPEC)
    copied(made, model)
    ids = torch.from_numpy(packed([22]).ids)
    memory = torch.arange(24) < 9
    ranks = torch.tensor([-1] * 9 + [0, 0, 2, 0, 1, 0, 3, 0, 0, 4, 0, 0, 0, 5, 6])
    rows = torch.tensor([11, 13, 15, 18])
    tokens, queries = Tokens(ids, Layout.of([24])), Layout.of([4])
    head = made.network.head.following
    assert head is not None
    found = head(guess(made.network.encoder, tokens, ranks, rows, queries, memory))
    kept = model.transformer(ids[None, :9], use_mems=True).mems
    own_ranks = ranks[9:]
    seen = (own_ranks < own_ranks[:, None]) | ((own_ranks == 0) & (own_ranks[:, None] == 0))
    target = torch.zeros(1, 4, 15)
    target[0, torch.arange(4), rows - 9] = 1
    wanted = model(
        ids[None, 9:], mems=kept, perm_mask=(~seen).float()[None], target_mapping=target
    ).logits[0]
    assert torch.allclose(found, wanted, atol=TOLERANCE)
    alone = guess(made.network.encoder, tokens, ranks.clamp(min=0), rows, queries)
    assert not torch.allclose(head(alone), wanted, atol=1e-2)


def test_gradients_stop_at_the_states_of_the_memory() -> None:
    network = own(FAMILY, "permutation-lm", SPEC).network
    batch = objective(memory=10).corrupt(packed([30]), np.random.default_rng(0))
    assert batch.memory is not None
    inside = set(batch.tokens.ids[batch.memory].tolist())
    outside = set(batch.tokens.ids[~batch.memory].tolist())
    only = sorted(inside - outside)
    reached = {}
    for name, case in (("with", batch), ("without", replace(batch, memory=None))):
        network.zero_grad()
        hidden = guess(
            network.encoder, case.tokens, case.ranks, case.rows, case.queries, case.memory
        )
        hidden.square().sum().backward()
        grad = network.encoder.embeddings.piece.weight.grad
        assert grad is not None
        reached[name] = bool(grad[only].any())
    assert reached == {"with": False, "without": True}
