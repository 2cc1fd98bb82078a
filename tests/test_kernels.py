"""How kernels are chosen, and what the CPU's kernel makes groups of."""

import logging
from itertools import pairwise
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from unmask.model import grouped, kernels
from unmask.model.grouped import ENOUGH, Grouped, Ragged, Run, groups
from unmask.model.kernels import KERNELS, Padded, Reference, VarLen, _announce, choose
from unmask.model.view import Causal, View
from unmask.tokens import Layout


def view(lengths: list[int]) -> View:
    layout = Layout.of(lengths)
    return View(layout, layout)


def test_the_first_that_supports_the_call_is_chosen_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _announce.cache_clear()
    q = torch.zeros(5, 2, 4)
    with caplog.at_level(logging.INFO, "unmask"):
        kinds = {type(choose(KERNELS, q, view([3, 2]), dropout)) for dropout in (0.0, 0.1)}
    assert kinds == {Grouped}
    assert caplog.messages == ["attention by the grouped kernel (cpu, torch.float32)"]


def test_one_can_be_forced() -> None:
    reference = Reference()
    assert choose((reference,), torch.zeros(5, 2, 4), view([3, 2]), 0.0) is reference


def test_queries_may_stand_in_other_places_than_keys() -> None:
    across = View(Layout.of([2, 4, 1]), Layout.of([5, 1, 3]))
    q, k, v = torch.randn(7, 2, 4), torch.randn(9, 2, 4), torch.randn(9, 2, 4)
    kernel = choose(KERNELS, q, across, 0.0)
    assert isinstance(kernel, Padded)
    wanted = Reference()(q, k, v, across, 0.0)
    assert torch.allclose(kernel(q, k, v, across, 0.0), wanted, atol=1e-6)
    mirrored = View(across.q, Layout.of([3, 1, 5]))
    assert not torch.allclose(kernel(q, k, v, mirrored, 0.0), wanted, atol=1e-2)


def test_equal_neighbours_make_a_run_and_the_rest_is_padded() -> None:
    first, second, ragged = groups((8,) * ENOUGH + (5,) + (2,) * ENOUGH + (1,), heads=2)
    assert first == Run(0, ENOUGH, 8)
    assert second == Run(8 * ENOUGH + 5, ENOUGH, 2)
    assert isinstance(ragged, Ragged)
    assert ragged.empty.tolist() == [[False] * 5, [False] + [True] * 4]


def test_a_group_of_several_fits_into_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    groups.cache_clear()
    monkeypatch.setattr(grouped, "CELLS", 2 * 4 * 8**2)  # four matrices of length 8, of two heads
    runs = [Run(start, count, 8) for start, count in ((0, 4), (32, 4), (64, 1))]
    assert groups((8,) * 9, heads=2) == tuple(runs)
    ragged = groups((8, 7, 8, 7, 7), heads=2)  # 5 would not fit
    assert [len(group.empty) for group in ragged if isinstance(group, Ragged)] == [4]
    assert [group for group in ragged if isinstance(group, Run)] == [Run(30, 1, 7)]
    assert groups((20, 20), heads=2) == (Run(0, 1, 20), Run(20, 1, 20))  # one alone may be larger
    groups.cache_clear()


@pytest.mark.parametrize("most", [1, 30, 10_000])
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_every_token_goes_to_one_cell_and_back(most: int, lengths: list[int]) -> None:
    tokens = torch.arange(1.0, sum(lengths) + 1)[:, None, None].expand(-1, 2, 1).contiguous()
    out = torch.zeros_like(tokens)
    cells = 0
    with mock.patch.object(grouped, "CELLS", most):
        for group in groups.__wrapped__(tuple(lengths), 2):
            matrices = group.stack(tokens)
            cells += int((matrices > 0).sum())
            group.spread(matrices, out)
    assert torch.equal(out, tokens)
    assert cells == tokens.numel()


def varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int],
) -> Tensor:
    """Do what torch 2.11's kernel for GPUs does, sequence by sequence."""
    found = []
    for (q0, q1), (k0, k1) in zip(
        pairwise(cu_seq_q.tolist()), pairwise(cu_seq_k.tolist()), strict=True
    ):
        assert q1 - q0 <= max_q
        assert k1 - k0 <= max_k
        rows = (x.transpose(0, 1) for x in (query[q0:q1], key[k0:k1], value[k0:k1]))
        ahead = {(-1, -1): k1 - k0, (-1, 0): 0}[window_size]
        seen = torch.ones(q1 - q0, k1 - k0).tril(k1 - k0 - (q1 - q0) + ahead).bool()
        found.append(F.scaled_dot_product_attention(*rows, seen).transpose(0, 1))
    return torch.cat(found)


@pytest.mark.parametrize("order", [None, Causal()])
def test_the_kernel_for_gpus_is_called_as_torch_wants_it(
    monkeypatch: pytest.MonkeyPatch, order: Causal | None
) -> None:
    monkeypatch.setattr(kernels, "_varlen", lambda: varlen_attn)
    far = View(Layout.of([1, 2, 3]), Layout.of([4, 2, 6]), order)
    q, k, v = torch.randn(6, 2, 4), torch.randn(12, 2, 4), torch.randn(12, 2, 4)
    wanted = Reference()(q, k, v, far, 0.0)
    assert torch.allclose(VarLen()(q, k, v, far, 0.0), wanted, atol=1e-6)


def test_the_kernel_for_gpus_reads_slots_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def later(query: Tensor, seqused_k: Tensor | None = None) -> Tensor:
        return query

    for kernel, can in ((varlen_attn, False), (later, True)):
        monkeypatch.setattr(kernels, "_varlen", lambda kernel=kernel: kernel)
        kernels._reads_slots.cache_clear()
        assert kernels._reads_slots() == can
    kernels._reads_slots.cache_clear()
