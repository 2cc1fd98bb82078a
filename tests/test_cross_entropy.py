"""The fused cross-entropy equals torch's: values, gradients and counts."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.model.cross_entropy import (
    ROWS,
    Part,
    cross_entropy,
    grouped_cross_entropy,
    linear_cross_entropy,
)

WIDTH, CLASSES = 8, 23


def layer(rows: int, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(rows)
    shapes = (rows, WIDTH), (CLASSES, WIDTH), (CLASSES,)
    leaves = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    labels = torch.randint(CLASSES, (rows,), generator=generator)
    labels[::5] = -100
    return [x.requires_grad_() for x in leaves], labels


def torchs(leaves: list[Tensor], labels: Tensor) -> Part:
    logits = F.linear(*leaves)
    total = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
    return Part(total, (logits.argmax(-1) == labels).sum())


@pytest.mark.parametrize("rows", [0, 1, 7, ROWS["cpu"], 2 * ROWS["cpu"] + 5])
def test_equals_torch(rows: int) -> None:
    leaves, labels = layer(rows)
    ours, theirs = linear_cross_entropy(*leaves, labels), torchs(leaves, labels)
    assert torch.allclose(ours.total, theirs.total, rtol=1e-6)
    assert ours.correct == theirs.correct
    grads = torch.autograd.grad(ours.total / 3, leaves)
    wanted = torch.autograd.grad(theirs.total / 3, leaves)
    for grad, want in zip(grads, wanted, strict=True):
        assert torch.allclose(grad, want, atol=1e-5)


def test_a_wrong_label_is_seen() -> None:
    leaves, labels = layer(7)
    wrong = labels.clone()
    wrong[1] = (labels[1] + 1) % CLASSES
    ours, theirs = linear_cross_entropy(*leaves, wrong), torchs(leaves, labels)
    assert not torch.allclose(ours.total, theirs.total, rtol=1e-3)
    grads = [torch.autograd.grad(part.total, leaves)[1] for part in (ours, theirs)]
    assert not torch.allclose(*grads, atol=1e-2)


@pytest.mark.parametrize("rows", [1, ROWS["cpu"] + 5])
def test_smoothing_is_torchs(rows: int) -> None:
    leaves, labels = layer(rows, torch.float64)
    labels[0] = 3
    ours = linear_cross_entropy(*leaves, labels, 0.1)
    logits = F.linear(*leaves)
    total = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum", label_smoothing=0.1)
    assert torch.allclose(ours.total, total)
    plain = linear_cross_entropy(*leaves, labels)
    assert ours.correct == plain.correct
    assert not torch.allclose(plain.total, total, rtol=1e-4)
    grads = torch.autograd.grad(ours.total, leaves, retain_graph=True)
    for grad, want in zip(grads, torch.autograd.grad(total, leaves), strict=True):
        assert torch.allclose(grad, want)
    with torch.no_grad():
        evaluated = linear_cross_entropy(*leaves, labels, 0.1)
    assert torch.allclose(evaluated.total.double(), total, rtol=1e-6)


def test_backward_is_the_derivative_of_forward() -> None:
    leaves, labels = layer(5, torch.float64)
    assert torch.autograd.gradcheck(lambda *x: linear_cross_entropy(*x, labels).total, leaves)


def test_evaluation_gives_the_same() -> None:
    leaves, labels = layer(ROWS["cpu"] + 1)
    training = linear_cross_entropy(*leaves, labels)
    with torch.no_grad():
        evaluation = linear_cross_entropy(*leaves, labels)
    assert torch.allclose(training.total, evaluation.total)
    assert training.correct == evaluation.correct


def test_bfloat16_products_come_near() -> None:
    leaves, labels = layer(2 * ROWS["cpu"])
    with torch.autocast("cpu", torch.bfloat16):
        part = linear_cross_entropy(*leaves, labels)
    exact = torchs(leaves, labels)
    assert part.total.dtype == torch.float32
    assert torch.allclose(part.total, exact.total, rtol=5e-3)
    grads = torch.autograd.grad(part.total, leaves)
    for grad, want in zip(grads, torch.autograd.grad(exact.total, leaves), strict=True):
        assert grad.dtype == torch.float32
        assert float((grad - want).abs().max()) < 0.02 * float(want.abs().max())


def test_a_hopeless_label_has_a_finite_loss() -> None:
    weight = torch.tensor([[1000.0], [0.0]], requires_grad=True)
    part = linear_cross_entropy(torch.ones(1, 1), weight, torch.zeros(2), torch.tensor([1]))
    assert part.total.item() == pytest.approx(1000)


def test_fillers_count_for_nothing() -> None:
    logits = torch.tensor([[0.0, 9.0], [9.0, 0.0]])
    part = cross_entropy(logits, torch.tensor([1, -1]))
    assert part.total.item() == pytest.approx(1.234e-4, rel=1e-2)
    assert part.correct == 1


SIZES = (3, 1, 5, 2)


def grouped() -> tuple[Tensor, Tensor]:
    scores = torch.randn(sum(SIZES), generator=torch.Generator().manual_seed(0))
    return scores.requires_grad_(), torch.tensor([2, 0, 4, 0])


def test_groups_compete_among_themselves() -> None:
    scores, targets = grouped()
    groups = list(zip(scores.split(SIZES), targets, strict=True))
    wanted = sum((F.cross_entropy(group, target) for group, target in groups), torch.zeros(()))
    ours = grouped_cross_entropy(scores, SIZES, targets)
    assert torch.allclose(ours.total, wanted, rtol=1e-6)
    assert ours.correct == sum(int(group.argmax() == target) for group, target in groups)
    (grad,) = torch.autograd.grad(ours.total, scores, retain_graph=True)
    assert torch.allclose(grad, torch.autograd.grad(wanted, scores)[0], atol=1e-6)
    # With other boundaries, and without the target of a group, it is another loss.
    moved = grouped_cross_entropy(scores, (4, 1, 5, 1), targets)
    assert (moved.total - wanted).abs() > 1e-2
    fewer = grouped_cross_entropy(scores, SIZES, torch.tensor([2, 0, -1, 0]))
    assert torch.allclose(wanted - fewer.total, F.cross_entropy(*groups[2]))


def test_groups_in_bfloat16_come_near() -> None:
    scores, targets = grouped()
    exact = grouped_cross_entropy(scores, SIZES, targets)
    part = grouped_cross_entropy(scores.bfloat16(), SIZES, targets)
    assert part.total.dtype == torch.float32
    assert torch.allclose(part.total, exact.total, rtol=1e-2)
