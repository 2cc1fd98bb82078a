"""Every attention kernel does what the reference says: forward, backward, and with dropout."""

import pytest
import torch
from torch import Tensor

from unmask.model.attention import Attention
from unmask.model.kernels import KERNELS, Kernel, Reference, Slotted
from unmask.model.scores import Term
from unmask.model.spec import Spec
from unmask.model.view import Causal, Ranks, View
from unmask.tokens import Layout

HEADS, WIDTH = 2, 4
LENGTHS = {
    "one token": [1],
    "equal": [6, 6, 6, 6],
    "sorted": [9, 9, 9, 9, 7, 7, 3, 1],
    "unsorted": [2, 5, 5, 5, 5, 8, 1, 1, 1, 1, 4],
    "all different": [3, 8, 1, 5],
}
DROPOUT = 0.3


def on_this_machine(kernel: Kernel, dtype: torch.dtype, dropout: float) -> bool:
    layout = Layout.of([2])
    q = torch.zeros(2, HEADS, WIDTH, dtype=dtype)
    return kernel.supports(q, View(layout, layout), dropout)


def kernels(dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> list[object]:
    """Give those that this processor runs; varlen has its own test, for a GPU."""
    names = [(kernel, type(kernel).__name__.lower()) for kernel in KERNELS]
    return [pytest.param(k, id=n) for k, n in names if on_this_machine(k, dtype, dropout)]


def inputs(tokens: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    drawn = [torch.randn(tokens, HEADS, WIDTH, generator=generator) for _ in range(4)]
    return [x.to(dtype) for x in drawn]


def seen(lengths: list[int], order: str) -> View:
    """Make a view of sequences on themselves."""
    layout = Layout.of(lengths)
    if order == "ranks":
        ranks = torch.randint(4, (len(layout.positions),), generator=torch.Generator())
        return View(layout, layout, Ranks(ranks, ranks))
    return View(layout, layout, Causal() if order == "causal" else None)


def run(
    kernel: Kernel, view: View, dtype: torch.dtype = torch.float32, added: int = 0
) -> list[Tensor]:
    """Give the output and the gradients of queries, keys, values and tables of terms."""
    q, k, v, slope = inputs(len(view.q.sequence_of), dtype)
    numbers = torch.arange(len(q)) % 5
    tables = [torch.sin(torch.arange(len(q) * HEADS * 9)).view(-1, HEADS, 9)] * added
    leaves = [x.to(dtype, copy=True).requires_grad_() for x in (q, k, v, *tables)]
    rules = (lambda a, b: a - b + 4, lambda a, b: (a != b).long())
    terms = [
        Term(leaf, numbers, numbers, rule) for leaf, rule in zip(leaves[3:], rules, strict=False)
    ]
    out = kernel(leaves[0], leaves[1], leaves[2], view, 0.0, terms)
    out.backward(slope)
    return [out.detach(), *(x.grad for x in leaves if x.grad is not None)]


def largest(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(
        float((a.double() - b.double()).abs().max()) for a, b in zip(ours, theirs, strict=True)
    )


def test_every_kernel_is_tested_here_or_needs_a_gpu() -> None:
    here = {type(k).__name__ for k in KERNELS if on_this_machine(k, torch.float32, 0.0)}
    every = {type(kernel).__name__ for kernel in KERNELS}
    assert every - here == {"VarLen", "Slotted"}, "the second is for keys that lie in slots"


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize(("order", "added"), [("all", 0), ("causal", 0), ("ranks", 0), ("all", 2)])
@pytest.mark.parametrize("kernel", kernels())
def test_equals_the_reference(kernel: Kernel, order: str, added: int, lengths: list[int]) -> None:
    view = seen(lengths, order)
    q, *_ = inputs(len(view.q.sequence_of))
    table = Term(torch.zeros(len(q), HEADS, 1), view.q.positions, view.k.positions, torch.maximum)
    if not kernel.supports(q, view, 0.0, [table] * added):
        assert type(kernel).__name__ == "Grouped", "which leaves ranks and terms to others"
        assert order == "ranks" or added
        return
    wanted = run(Reference(), view, added=added)
    assert largest(run(kernel, view, added=added), wanted) < 1e-5
    assert len(wanted) == 4 + added
    if max(lengths) > 1:
        different = seen(lengths, "causal" if order == "all" else "all")
        assert largest(run(kernel, different), wanted[:4]) > 1e-2


@pytest.mark.parametrize("order", ["causal", "ranks"])
@pytest.mark.parametrize("kernel", kernels())
def test_an_order_holds_for_fewer_queries_than_keys(kernel: Kernel, order: str) -> None:
    keys, few = Layout.of([5, 2, 4]), Layout.of([2, 2, 1])
    ends = torch.tensor([3, 4, 5, 6, 10])  # the queries are the last tokens of their sequences
    order_of = Ranks(keys.positions[ends], keys.positions) if order == "ranks" else Causal()
    view = View(few, keys, order_of)
    q, k, v, _ = inputs(len(keys.positions))
    if kernel.supports(q[ends], view, 0.0):
        whole = Reference()(q, k, v, View(keys, keys, Causal()), 0.0)
        found = kernel(q[ends], k, v, view, 0.0)
        assert torch.allclose(found, whole[ends], atol=1e-6)
        assert not torch.allclose(found, whole[ends - 1], atol=1e-2)


@pytest.mark.parametrize("kernel", kernels())
def test_reads_another_text(kernel: Kernel) -> None:
    """Cross-attention: queries and keys of other lengths, without an order."""
    view = View(Layout.of([2, 4, 4, 4, 1]), Layout.of([5, 3, 3, 3, 7]))
    q, slope = (x[:15] for x in inputs(21)[::3])
    k, v = inputs(21)[1:3]
    if not kernel.supports(q, view, 0.0):
        assert type(kernel).__name__ == "Grouped", "which leaves other texts to others"
        return

    def run_across(kernel: Kernel, view: View) -> list[Tensor]:
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        out = kernel(leaves[0], leaves[1], leaves[2], view, 0.0)
        out.backward(slope)
        return [out.detach(), *(x.grad for x in leaves if x.grad is not None)]

    wanted = run_across(Reference(), view)
    assert largest(run_across(kernel, view), wanted) < 1e-5
    mirrored = View(view.q, Layout.of([7, 3, 3, 3, 5]))
    assert largest(run_across(kernel, mirrored), wanted) > 1e-2


@pytest.mark.parametrize("order", ["all", "causal"])
@pytest.mark.parametrize("queries", [[1, 1, 1], [2, 2, 2], [3, 1, 2]], ids=str)
@pytest.mark.parametrize("kernel", [*kernels(), pytest.param(Slotted(), id="slotted")])
def test_keys_may_lie_in_slots(kernel: Kernel, queries: list[int], order: str) -> None:
    lengths, capacity = [5, 3, 4], 6
    slots, packed, few = Layout.slots(lengths, capacity), Layout.of(lengths), Layout.of(queries)
    own = Causal() if order == "causal" else None
    q = inputs(12)[0][: sum(queries)]
    k, v = inputs(12)[1:3]
    wanted = Reference()(q, k, v, View(few, packed, own), 0.0)
    rows = slots.first[packed.sequence_of] + packed.positions
    spread = [torch.full((18, HEADS, WIDTH), 9.0).index_copy(0, rows, x) for x in (k, v)]
    view = View(few, slots, own)
    if not kernel.supports(q, view, 0.0):
        name = type(kernel).__name__
        assert name == "Grouped" or (name == "Slotted" and queries == [3, 1, 2])
        return
    assert torch.allclose(kernel(q, spread[0], spread[1], view, 0.0), wanted, atol=1e-6)
    shorter = View(few, Layout.slots([4, 3, 4], capacity), own)
    assert not torch.allclose(kernel(q, spread[0], spread[1], shorter, 0.0), wanted, atol=1e-2)


@pytest.mark.parametrize("kernel", kernels())
def test_a_wrong_boundary_is_seen(kernel: Kernel) -> None:
    right, wrong = Layout.of([9, 9, 9, 7]), Layout.of([9, 9, 8, 8])
    assert largest(run(kernel, View(wrong, wrong)), run(Reference(), View(right, right))) > 1e-2


@pytest.mark.parametrize("kernel", kernels(torch.bfloat16))
def test_bfloat16_comes_near_the_reference(kernel: Kernel) -> None:
    layout = Layout.of(LENGTHS["sorted"])
    view = View(layout, layout)
    exact = run(Reference(), view)
    size = max(float(x.abs().max()) for x in exact)
    assert largest(run(kernel, view, torch.bfloat16), exact) < 0.02 * size


@pytest.mark.parametrize("order", ["all", "causal"])
@pytest.mark.parametrize("dropout", [0.0, DROPOUT])
@pytest.mark.parametrize("kernel", kernels(dropout=DROPOUT))
def test_backward_is_the_derivative_of_forward(kernel: Kernel, dropout: float, order: str) -> None:
    view = seen([3, 3, 3, 2, 1], order)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        torch.manual_seed(0)  # the same weights are dropped each time
        return kernel(q, k, v, view, dropout)

    q, k, v, _ = (x.requires_grad_() for x in inputs(12, torch.float64))
    assert torch.autograd.gradcheck(attend, (q, k, v))


@pytest.mark.parametrize("kernel", kernels(dropout=DROPOUT))
def test_dropout_acts_on_the_weights(kernel: Kernel) -> None:
    # Where value i is the unit vector i of its sequence, the output is the weights themselves.
    length, sequences = WIDTH, 500
    layout = Layout.of([length] * (sequences - 2) + [length - 1, length - 2])
    view = View(layout, layout)
    q, k, _, _ = inputs(len(layout.sequence_of))
    v = torch.eye(WIDTH)[layout.positions][:, None].expand(-1, HEADS, -1)
    torch.manual_seed(0)
    kept, dropped = Reference()(q, k, v, view, 0.0), kernel(q, k, v, view, DROPOUT)
    seen = kept > 0
    zero = (dropped == 0) & seen
    assert torch.allclose(dropped[~zero], kept[~zero] / (1 - DROPOUT), atol=1e-5)
    assert float(zero.sum() / seen.sum()) == pytest.approx(DROPOUT, abs=0.02)


@pytest.mark.parametrize("kernel", kernels(dropout=DROPOUT))
def test_dropout_is_off_in_evaluation(kernel: Kernel) -> None:
    spec = Spec(width=8, heads=2, inner=8, layers=1, pieces=5, positions=9, segments=2)
    torch.manual_seed(0)
    attention = Attention(spec)
    attention.kernels = (kernel,)
    layout = Layout.of([5, 5, 5, 3])
    view, x = View(layout, layout), torch.randn(18, 8)

    def attend() -> Tensor:
        out: Tensor = attention(x, attention.remember(x), view)
        return out

    plain = attend()
    attention.dropout.p = DROPOUT
    assert not torch.allclose(attend(), plain, atol=1e-3)
    attention.eval()
    assert torch.equal(attend(), plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen needs a GPU; there is none here")
@pytest.mark.parametrize("order", [None, Causal()])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_varlen_comes_near_the_reference(lengths: list[int], order: Causal | None) -> None:
    layout = Layout.of(lengths)
    there = layout.to(torch.device("cuda"))
    near, far = View(layout, layout, order), View(there, there, order)
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(sum(lengths), HEADS, 64, generator=generator) for _ in range(4)]
    exact = [x.clone().requires_grad_() for x in drawn[:3]]
    narrow = [x.to("cuda", torch.bfloat16).requires_grad_() for x in drawn[:3]]
    varlen = next(kernel for kernel in KERNELS if type(kernel).__name__ == "VarLen")
    assert varlen.supports(narrow[0], far, 0.0)
    assert not varlen.supports(narrow[0], far, DROPOUT)
    ranks = Ranks(there.positions, there.positions)
    assert not varlen.supports(narrow[0], View(there, there, ranks), 0.0)
    wanted = Reference()(exact[0], exact[1], exact[2], near, 0.0)
    out = varlen(narrow[0], narrow[1], narrow[2], far, 0.0)
    wanted.backward(drawn[3])
    out.backward(drawn[3].to("cuda", torch.bfloat16))
    pairs = [(out, wanted), *((n.grad, e.grad) for n, e in zip(narrow, exact, strict=True))]
    for ours, theirs in pairs:
        assert ours is not None
        assert theirs is not None
        assert float((ours.float().cpu() - theirs).abs().max()) < 0.02 * float(theirs.abs().max())
