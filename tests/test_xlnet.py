"""XLNet: what its config.json may say, what distances add to scores, and its two streams."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from parity import STRUCTURES, TOLERANCE, batch, copied, difference, ours, own, peer, strengthen
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained, write
from unmask.families.xlnet import FAMILY
from unmask.model.kernels import Padded, Reference
from unmask.model.streams import guess
from unmask.tokens import Layout, Tokens

SPEC = STRUCTURES["xlnet"]["plain"]
CONFIG = FAMILY.config(SPEC)


@pytest.mark.parametrize(
    "setting",
    [
        {"attn_type": "uni"},
        {"bi_data": True},
        {"clamp_len": 400},
        {"same_length": True},
        {"untie_r": False},
        {"d_head": 7},
        {"summary_type": "mean"},
        {"summary_activation": "relu"},
        {"summary_proj_to_labels": True},
        {"tie_word_embeddings": False},
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(UserError, match=name):
        FAMILY.spec({**CONFIG, **setting})


def test_the_published_config_is_read() -> None:
    published = {"untie_r": True, "mem_len": None, "reuse_len": None, "bi_data": False}
    assert FAMILY.spec({**CONFIG, **published}) == SPEC


def test_tensors_are_kept_head_by_head_in_checkpoints(tmp_path: Path) -> None:
    made = own(FAMILY, "permutation-lm", SPEC)
    write(made, tmp_path)
    theirs, state = load_file(tmp_path / "model.safetensors"), made.network.state_dict()
    query = theirs["transformer.layer.1.rel_attn.q"]
    assert query.shape == (16, 2, 8)
    ours = state["encoder.blocks.1.attention.query.weight"]
    assert torch.equal(query[:, 1], ours[8:].T)
    assert theirs["transformer.mask_emb"].shape == (1, 1, 16)


@torch.no_grad()
def test_any_length_is_read_and_only_distances_count() -> None:
    made = own(FAMILY, "none", SPEC)
    ids = torch.randint(6, 40, (70,), generator=torch.Generator().manual_seed(0))
    long = made.network(Tokens(ids, Layout.of([70])))
    assert long.shape == (70, 16)
    assert not torch.allclose(long, made.network(Tokens(ids.flip(0), Layout.of([70]))).flip(0))


def test_segments_count_only_as_equal_or_not() -> None:
    made, tokens = own(FAMILY, "none", SPEC), batch(SPEC)
    assert tokens.segments is not None
    plain = ours(made, tokens)["hidden"]
    renamed = ours(made, replace(tokens, segments=7 - tokens.segments))["hidden"]
    assert torch.allclose(plain, renamed, atol=TOLERANCE)
    same = ours(made, replace(tokens, segments=torch.ones_like(tokens.ids)))["hidden"]
    assert torch.allclose(same, ours(made, replace(tokens, segments=None))["hidden"], atol=1e-5)
    assert not torch.allclose(plain, same, atol=1e-2)


LENGTHS = [5, 12, 7, 2]
TARGETS = [[1, 3], [0, 2, 5, 6, 11], [6], [0]]
"""Places of the tokens to be guessed."""


def permuted() -> tuple[Tokens, Tensor, Tensor]:
    """Give a batch, the ranks of its tokens, 0 but for targets, and the rows of those."""
    generator = torch.Generator().manual_seed(3)
    layout = Layout.of(LENGTHS)
    ids = torch.randint(6, SPEC.pieces, (sum(LENGTHS),), generator=generator)
    segments = torch.randint(2, ids.shape, generator=generator)
    ranks = torch.zeros_like(ids)
    for start, places in zip(layout.first, TARGETS, strict=True):
        ranks[start + torch.tensor(places)] = 1 + torch.randperm(len(places), generator=generator)
    return Tokens(ids, layout, segments), ranks, ranks.nonzero().flatten()


@torch.no_grad()
def guessed(made: Pretrained, ranks: Tensor | None = None) -> Tensor:
    """Score the tokens to be guessed: (M, V)."""
    tokens, own_ranks, rows = permuted()
    queries = Layout.of([len(places) for places in TARGETS])
    ranks = own_ranks if ranks is None else ranks
    hidden = guess(made.network.encoder, tokens, ranks, rows, queries)
    assert made.network.head.following is not None
    scores: Tensor = made.network.head.following(hidden)
    return scores


@torch.no_grad()
def guessed_by_theirs(model: transformers.XLNetLMHeadModel) -> Tensor:
    """Score them by a mask of what each token sees, and a map of what is guessed."""
    tokens, ranks, _ = permuted()
    assert tokens.segments is not None
    size, longest, most = len(LENGTHS), max(LENGTHS), max(map(len, TARGETS))
    ids, segments, attention = torch.zeros(3, size, longest, dtype=torch.int64)
    hidden, target = torch.zeros(size, longest, longest), torch.zeros(size, most, longest)
    for n, (start, length) in enumerate(zip(tokens.layout.first, LENGTHS, strict=True)):
        span, own = slice(start, start + length), ranks[start : start + length]
        ids[n, :length], segments[n, :length] = tokens.ids[span], tokens.segments[span]
        attention[n, :length] = 1
        seen = (own < own[:, None]) | ((own == 0) & (own[:, None] == 0))
        hidden[n, :length, :length] = (~seen).float()
        target[n, torch.arange(len(TARGETS[n])), TARGETS[n]] = 1
    scores = model(
        input_ids=ids,
        token_type_ids=segments,
        attention_mask=attention.float(),
        perm_mask=hidden,
        target_mapping=target,
    ).logits
    return torch.cat([scores[n, : len(places)] for n, places in enumerate(TARGETS)])


@pytest.mark.parametrize("kernel", [Padded(), Reference()])
def test_guesses_are_those_of_transformers(kernel: Padded | Reference) -> None:
    model = peer(FAMILY, "permutation-lm", SPEC)
    strengthen(model)
    made = own(FAMILY, "permutation-lm", SPEC)
    copied(made, model)
    for block in made.network.encoder.path():
        block.attention.kernels = (kernel,)
    wanted = guessed_by_theirs(model)
    assert difference(made, model) < TOLERANCE
    assert torch.allclose(guessed(made), wanted, atol=TOLERANCE)
    _, ranks, _ = permuted()
    assert not torch.allclose(guessed(made, ranks.where(ranks == 0, 6 - ranks)), wanted, atol=1e-2)
    with torch.no_grad():
        unseen = made.network.encoder.embeddings.unseen
        assert unseen is not None
        unseen += 0.1
    assert not torch.allclose(guessed(made), wanted, atol=1e-2)


def test_a_guess_does_not_depend_on_its_token_nor_on_later_ones() -> None:
    made = own(FAMILY, "permutation-lm", SPEC)
    tokens, ranks, rows = permuted()
    queries = Layout.of([len(places) for places in TARGETS])
    before = guess(made.network.encoder, tokens, ranks, rows, queries)
    middle = next(row for row in rows.tolist() if ranks[row] == 3)  # of the longest sequence
    ids = tokens.ids.clone()
    ids[middle] = (ids[middle] + 1) % SPEC.pieces
    after = guess(made.network.encoder, replace(tokens, ids=ids), ranks, rows, queries)
    same = (before - after).abs().amax(1) < TOLERANCE
    sequence = tokens.layout.sequence_of
    later = (ranks[rows] > 3) & (sequence[rows] == sequence[middle])
    assert torch.equal(~same, later)
    assert later.sum() == 2


def test_learning_to_guess_reaches_every_tensor() -> None:
    network = own(FAMILY, "permutation-lm", SPEC).network.train()
    network.set_dropout(0.1)
    tokens, ranks, rows = permuted()
    queries = Layout.of([len(places) for places in TARGETS])
    torch.manual_seed(0)
    hidden = guess(network.encoder, tokens, ranks, rows, queries)
    assert network.head.following is not None
    network.head.following.loss(hidden, tokens.ids[rows]).total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
