"""The optimizer against the update rule of the original BERT, written out; the schedule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unmask.train.optimizer import adamw, clip, set_rate
from unmask.train.recipe import Optimizer, load_recipe
from unmask.train.schedule import linear

FAITHFUL = Optimizer(rate=1e-2, eps=1e-6, weight_decay=0.1, bias_correction=False)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3))


def original_adam(parameter, gradient, moments, settings, rate, decay):
    """AdamWeightDecayOptimizer of google-research/bert: moments without bias correction."""
    beta1, beta2 = settings.betas
    moments[0].mul_(beta1).add_(gradient, alpha=1 - beta1)
    moments[1].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    change = moments[0] / (moments[1].sqrt() + settings.eps) + decay * parameter
    return parameter - rate * change


@pytest.mark.parametrize("correct", [False, True])
def test_without_bias_correction_it_is_the_original_update(correct):
    settings = Optimizer(**{name: getattr(FAITHFUL, name) for name in FAITHFUL.__slots__} | {"bias_correction": correct})
    model = network()
    expected = [p.detach().clone() for p in model.parameters()]
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in expected]
    optimizer = adamw(model, settings)
    for number in range(1, 30):
        rate = settings.rate * linear(number, 40, 0.2)
        model(torch.randn(4, 5)).square().sum().backward()
        for i, parameter in enumerate(model.parameters()):
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            expected[i] = original_adam(expected[i], parameter.grad, moments[i], settings, rate, decay)
        set_rate(optimizer, settings, rate, number)
        optimizer.step()
        optimizer.zero_grad()
        for parameter, other in zip(model.parameters(), expected, strict=True):
            parameter.data.copy_(parameter.data)
            same = torch.allclose(parameter, other, rtol=1e-4, atol=1e-6)
            if correct and number == 1:
                assert not same  # the correction is a real difference: this test can fail
                return
            assert same


def test_norms_and_biases_do_not_decay():
    model = network()
    optimizer = adamw(model, FAITHFUL)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_rate(optimizer, FAITHFUL, 0.5, 1)
    optimizer.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        shrunk = old * (1 - 0.5 * 0.1) if parameter.ndim > 1 else old
        torch.testing.assert_close(parameter.detach(), shrunk)


def test_an_update_that_is_not_finite_changes_nothing_and_is_not_counted():
    model = network()
    optimizer = adamw(model, FAITHFUL)
    for poison in (1.0, float("nan")):
        before = [p.detach().clone() for p in model.parameters()]
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, poison)
        norm = clip(model.parameters(), 1.0)
        optimizer.found_inf = (~norm.isfinite()).float()
        optimizer.step()
        changed = any(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
        assert changed == (poison == 1.0)
    assert all(s["step"] == 1 for s in optimizer.state.values())
    assert all(torch.isfinite(s["exp_avg"]).all() for s in optimizer.state.values())


@given(st.integers(1, 500), st.floats(0, 0.9))
def test_the_rate_rises_then_falls_and_is_never_zero_or_above_its_peak(steps, warmup):
    factors = [linear(step, steps, warmup) for step in range(1, steps + 1)]
    peak = max(1, round(warmup * steps))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[peak - 1] == 1
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak - 1 :] == sorted(factors[peak - 1 :], reverse=True)


def test_the_faithful_recipe_has_the_papers_settings():
    recipe = load_recipe("bert-base-faithful")
    assert (recipe.steps, recipe.dropout, recipe.data.batch_sequences) == (1_000_000, 0.1, 256)
    assert recipe.schedule.warmup * recipe.steps == 10_000
    assert recipe.optimizer == Optimizer(rate=1e-4, bias_correction=False)
    assert [(p.length, p.share) for p in recipe.data.phases] == [(128, 0.9), (512, 0.1)]
