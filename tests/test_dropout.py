"""Dropout drops at its rate, leaves the mean, follows the seed, and is off in evaluation."""

import pytest
import torch
from torch import nn

from unmask.model.dropout import Dropout, keep


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_drops_at_its_rate_and_enlarges_the_rest(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    drawn = keep(torch.zeros(501, 401, dtype=dtype), rate)
    assert drawn.dtype == dtype
    values = set(drawn.unique().tolist())
    assert values == {0.0, torch.tensor(1.0, dtype=dtype).div(1 - rate).item()}
    spread = (rate * (1 - rate) / drawn.numel()) ** 0.5
    assert abs((drawn == 0).double().mean().item() - rate) < 4 * spread


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    dropped = (keep(torch.zeros(100_000, 4), 0.5) == 0).double()
    assert (dropped.T.corrcoef() - torch.eye(4)).abs().max() < 0.02


def test_follows_the_seed() -> None:
    torch.manual_seed(0)
    first, second = keep(torch.zeros(7, 3), 0.5), keep(torch.zeros(7, 3), 0.5)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(keep(torch.zeros(7, 3), 0.5), first)


def test_gradient_is_dropped_likewise() -> None:
    x = torch.ones(1000, requires_grad=True)
    out = Dropout(0.3)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())
    assert 0 < (out == 0).sum() < 1000


def test_is_off_in_evaluation_and_at_rate_zero() -> None:
    x = torch.ones(50)
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert isinstance(Dropout(0.1), nn.Dropout)
