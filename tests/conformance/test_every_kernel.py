"""Every attention kernel does what the reference says: forward, backward, and with dropout."""

import pytest
import torch
from torch import Tensor

from unmask.model.attention import Attention
from unmask.model.kernels import KERNELS, Kernel, Reference
from unmask.model.spec import Spec
from unmask.model.view import View
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


def run(kernel: Kernel, view: View, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Give the output and the gradients of queries, keys and values."""
    *sources, slope = inputs(len(view.q.sequence_of), dtype)
    leaves = [x.requires_grad_() for x in sources]
    out = kernel(leaves[0], leaves[1], leaves[2], view, 0.0)
    out.backward(slope)
    return [out.detach(), *(x.grad for x in leaves if x.grad is not None)]


def largest(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(
        float((a.double() - b.double()).abs().max()) for a, b in zip(ours, theirs, strict=True)
    )


def test_every_kernel_is_tested_here_or_needs_a_gpu() -> None:
    here = {type(k).__name__ for k in KERNELS if on_this_machine(k, torch.float32, 0.0)}
    assert {type(kernel).__name__ for kernel in KERNELS} - here == {"VarLen"}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("kernel", kernels())
def test_equals_the_reference(kernel: Kernel, lengths: list[int]) -> None:
    layout = Layout.of(lengths)
    view = View(layout, layout)
    assert largest(run(kernel, view), run(Reference(), view)) < 1e-5


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


@pytest.mark.parametrize("dropout", [0.0, DROPOUT])
@pytest.mark.parametrize("kernel", kernels(dropout=DROPOUT))
def test_backward_is_the_derivative_of_forward(kernel: Kernel, dropout: float) -> None:
    layout = Layout.of([3, 3, 3, 2, 1])
    view = View(layout, layout)

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
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_varlen_comes_near_the_reference(lengths: list[int]) -> None:
    layout = Layout.of(lengths)
    there = layout.to(torch.device("cuda"))
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(sum(lengths), HEADS, 64, generator=generator) for _ in range(4)]
    exact = [x.clone().requires_grad_() for x in drawn[:3]]
    narrow = [x.to("cuda", torch.bfloat16).requires_grad_() for x in drawn[:3]]
    varlen = next(kernel for kernel in KERNELS if type(kernel).__name__ == "VarLen")
    assert varlen.supports(narrow[0], View(there, there), 0.0)
    assert not varlen.supports(narrow[0], View(there, there), DROPOUT)
    wanted = Reference()(exact[0], exact[1], exact[2], View(layout, layout), 0.0)
    out = varlen(narrow[0], narrow[1], narrow[2], View(there, there), 0.0)
    wanted.backward(drawn[3])
    out.backward(drawn[3].to("cuda", torch.bfloat16))
    pairs = [(out, wanted), *((n.grad, e.grad) for n, e in zip(narrow, exact, strict=True))]
    for ours, theirs in pairs:
        assert ours is not None
        assert theirs is not None
        assert float((ours.float().cpu() - theirs).abs().max()) < 0.02 * float(theirs.abs().max())
