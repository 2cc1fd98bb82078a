"""AdamW as BERT uses it: no decay on norms and biases, with or without bias correction."""

from collections.abc import Iterable
from math import sqrt

import torch
from torch import Tensor, nn

from unmask.train.recipe import Optimizer


def adamw(network: nn.Module, settings: Optimizer) -> torch.optim.AdamW:
    """Build the fused AdamW of a network: matrices decay, vectors (biases, norms) do not."""
    decay: list[Tensor] = []
    plain: list[Tensor] = []
    for parameter in network.parameters():
        (decay if parameter.ndim > 1 else plain).append(parameter)
    groups = [{"params": decay, "decay": settings.weight_decay}, {"params": plain, "decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=settings.rate, betas=settings.betas, eps=settings.eps, fused=True
    )


def set_rate(optimizer: torch.optim.AdamW, settings: Optimizer, rate: float, update: int) -> None:
    """Set the rate of the coming update, the first of which is number 1.

    torch's AdamW always corrects the bias of its moments. The original BERT does not, and with
    `c1 = 1 - b1^t`, `c2 = 1 - b2^t` its update is exactly torch's at the rate `lr c1 / sqrt(c2)`,
    eps `eps / sqrt(c2)` and a weight decay scaled back by the ratio of the rates.
    """
    eps, scale = settings.eps, 1.0
    if not settings.bias_correction:
        beta1, beta2 = settings.betas
        root = sqrt(1 - beta2**update)
        eps, scale = eps / root, (1 - beta1**update) / root
    for group in optimizer.param_groups:
        group["lr"] = rate * scale
        group["eps"] = eps
        group["weight_decay"] = group["decay"] / scale


def clip(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Scale the whole gradient to at most this norm; returns the norm that it had."""
    return nn.utils.clip_grad_norm_(parameters, limit, foreach=True)
