"""AdamW against the update of the original BERT, Muon against its definition; the schedule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unmask.train.muon import RMS, orthogonal
from unmask.train.optimizer import Pace, Updates, clip
from unmask.train.recipe import Optimizer, load_recipe
from unmask.train.schedule import linear

FAITHFUL = {"rate": 1e-2, "eps": 1e-6, "weight_decay": 0.1, "bias_correction": False}


def network() -> nn.ModuleDict:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3))
    return nn.ModuleDict({"blocks": inner})


def original_adam(parameter, gradient, moments, settings, rate, decay):
    """AdamWeightDecayOptimizer of google-research/bert: moments without bias correction."""
    beta1, beta2 = settings.betas
    moments[0].mul_(beta1).add_(gradient, alpha=1 - beta1)
    moments[1].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    change = moments[0] / (moments[1].sqrt() + settings.eps) + decay * parameter
    return parameter - rate * change


def distance_from_original(settings, count):
    """Train beside the original's rule; returns the largest difference of a weight."""
    model = network()
    expected = [p.detach().clone() for p in model.parameters()]
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in expected]
    updates = Updates(model, settings)
    for number in range(1, count + 1):
        rate = settings.rate * linear(number, 40, 0.2)
        model["blocks"](torch.randn(4, 5)).square().sum().backward()
        for i, parameter in enumerate(model.parameters()):
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            gradient = parameter.grad
            expected[i] = original_adam(expected[i], gradient, moments[i], settings, rate, decay)
        updates.step(rate, number, torch.ones(()))
    pairs = zip(model.parameters(), expected, strict=True)
    return max((parameter - other).abs().max().item() for parameter, other in pairs)


def test_without_bias_correction_it_is_the_original_update():
    assert distance_from_original(Optimizer(**FAITHFUL), 30) < 1e-5
    corrected = Optimizer(**FAITHFUL | {"bias_correction": True})
    assert distance_from_original(corrected, 1) > 1e-4  # the difference is real


@pytest.mark.parametrize("algorithm", ["adamw", "muon"])
def test_matrices_decay_and_vectors_do_not(algorithm):
    model = network()
    updates = Updates(model, Optimizer(**FAITHFUL, algorithm=algorithm))
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    updates.step(0.5, 1, torch.ones(()))
    for parameter, old in zip(model.parameters(), before, strict=True):
        shrunk = old * (1 - 0.5 * 0.1) if parameter.ndim > 1 else old
        torch.testing.assert_close(parameter.detach(), shrunk)


@pytest.mark.parametrize("algorithm", ["adamw", "muon"])
def test_a_gradient_that_is_not_finite_changes_nothing(algorithm):
    model = network()
    updates = Updates(model, Optimizer(**FAITHFUL, algorithm=algorithm))
    for poison in (1.0, float("nan"), float("inf"), 1.0):
        before = [p.detach().clone() for p in model.parameters()]
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, poison)
        updates.step(0.1, 1, clip(model.parameters(), 1.0))
        moved = [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]
        assert all(moved) if poison == 1.0 else not any(moved)
    kept = [updates.moments(parameter) for parameter in model.parameters()]
    assert all(value.isfinite().all() for moments in kept for value in moments.values())
    assert {float(moments["step"]) for moments in kept if "step" in moments} == {2.0}


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 20), (2, 20, 6)])
def test_muons_direction_has_the_singular_vectors_of_the_momentum_and_values_near_one(shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    singular = (u.mT @ orthogonal(x) @ v.mT).diagonal(dim1=1, dim2=2)
    assert singular.min() > 0.6
    assert singular.max() < 1.3


def test_muon_takes_the_matrices_of_the_blocks_and_steps_as_far_as_adamw():
    model = nn.ModuleDict({"blocks": nn.Linear(64, 64), "table": nn.Embedding(5, 64)})
    updates = Updates(model, Optimizer(rate=1.0, weight_decay=0.0, algorithm="muon"))
    before = model["blocks"].weight.detach().clone()
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    updates.step(0.01, 1, torch.ones(()))
    assert {name: sorted(updates.moments(p)) for name, p in model.named_parameters()} == {
        "blocks.weight": ["momentum"],
        "blocks.bias": ["exp_avg", "exp_avg_sq", "step"],
        "table.weight": ["exp_avg", "exp_avg_sq", "step"],
    }
    rms = (model["blocks"].weight - before).square().mean().sqrt().item()
    assert rms == pytest.approx(0.01 * RMS, rel=0.2)


@given(st.integers(1, 500), st.floats(0, 0.9))
def test_the_rate_rises_then_falls_and_is_never_zero_or_above_its_peak(steps, warmup):
    factors = [linear(step, steps, warmup) for step in range(1, steps + 1)]
    peak = max(1, round(warmup * steps))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[peak - 1] == 1
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak - 1 :] == sorted(factors[peak - 1 :], reverse=True)


def test_a_floor_makes_the_slanted_triangle_of_ulmfit():
    """Howard and Ruder 2018, equation 3, with cut_frac 0.1 and ratio 32."""
    steps, cut, ratio = 1_000, 100, 32
    for t in (1, 50, 100, 101, 500, 999, 1_000):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / 0.1 - 1))
        wanted = (1 + p * (ratio - 1)) / ratio
        assert linear(t, steps, 0.1, floor=1 / ratio) == pytest.approx(wanted, abs=1.5 / steps)
    assert linear(steps, steps, 0.1) < linear(steps, steps, 0.1, floor=1 / ratio)


def test_layers_learn_as_fast_as_they_are_told():
    model = nn.ModuleDict({"slow": nn.Linear(4, 4), "fast": nn.Linear(4, 4)})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = Optimizer(rate=1e-2, weight_decay=0.0)
    updates = Updates(model, settings, lambda name: Pace(factor=0.5 if "slow" in name else 1.0))
    (model["slow"](torch.ones(2, 4)) + model["fast"](torch.ones(2, 4))).sum().backward()
    updates.step(1e-2, 1, torch.ones(()))
    moved = {n: (p - before[n]).abs().mean().item() for n, p in model.named_parameters()}
    for part in ("weight", "bias"):
        assert moved[f"slow.{part}"] == pytest.approx(0.5 * moved[f"fast.{part}"], rel=1e-4)


def test_the_faithful_recipe_has_the_papers_settings():
    recipe = load_recipe("bert-base-faithful")
    assert (recipe.steps, recipe.dropout, recipe.data.batch_sequences) == (1_000_000, 0.1, 256)
    assert recipe.schedule.warmup * recipe.steps == 10_000
    assert recipe.optimizer == Optimizer(rate=1e-4, bias_correction=False)
    assert [(p.length, p.share) for p in recipe.data.phases] == [(128, 0.9), (512, 0.1)]
