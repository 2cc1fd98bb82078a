"""The optimizer: AdamW as BERT uses it, and beside it Muon where a recipe wants that."""

from collections.abc import Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from unmask.train.muon import Muon
from unmask.train.recipe import Optimizer


class Updates:
    """The updates of a network: by AdamW, or by Muon inside the blocks and AdamW elsewhere.

    Matrices decay; vectors (biases, norms) do not.
    """

    def __init__(self, network: nn.Module, settings: Optimizer) -> None:
        self.settings = settings
        named = dict(network.named_parameters())
        inner = settings.algorithm == "muon"
        blocks = {n: p for n, p in named.items() if inner and "blocks." in n and p.ndim == 2}
        others = [p for n, p in named.items() if n not in blocks]
        adamw = [
            {"params": [p for p in others if p.ndim > 1], "decay": settings.weight_decay},
            {"params": [p for p in others if p.ndim == 1], "decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(adamw, settings.rate, settings.betas, fused=True)
        self.muon: Muon | None = None
        if blocks:
            self.muon = Muon(blocks.values(), settings.rate, weight_decay=settings.weight_decay)
        self.parameters = list(named.values())

    def step(self, rate: float, update: int, norm: Tensor) -> None:
        """Apply the gradient at a rate; update counts from 1.

        A gradient whose norm is not finite changes nothing. The device decides that by itself, so
        that no host has to wait for it.
        """
        self._set_adamw(rate, update)
        for one in self._parts():
            one.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            for group in one.param_groups if one is self.muon else []:
                group["lr"] = rate
            one.step()
            one.zero_grad(set_to_none=True)

    def moments(self, parameter: Tensor) -> dict[str, Any]:
        """Give what is remembered of a parameter's gradients, by name."""
        kept: dict[str, Any] = self._owner(parameter).state.get(parameter, {})
        return kept

    def restore(self, parameter: Tensor, moments: dict[str, Any]) -> None:
        """Put back what `moments` gave."""
        self._owner(parameter).state[parameter] = moments

    def _owner(self, parameter: Tensor) -> torch.optim.Optimizer:
        for one in self._parts():
            if any(parameter is own for group in one.param_groups for own in group["params"]):
                return one
        raise KeyError("a parameter of another network")

    def _parts(self) -> list[torch.optim.Optimizer]:
        return [self.adamw] if self.muon is None else [self.adamw, self.muon]

    def _set_adamw(self, rate: float, update: int) -> None:
        """Set AdamW's rate for the coming update.

        torch's AdamW always corrects the bias of its moments. The original BERT does not, and with
        `c1 = 1 - b1^t`, `c2 = 1 - b2^t` its update is exactly torch's at the rate
        `lr c1 / sqrt(c2)`, eps `eps / sqrt(c2)` and a decay scaled back by the ratio of the rates.
        """
        eps, scale = self.settings.eps, 1.0
        if not self.settings.bias_correction:
            beta1, beta2 = self.settings.betas
            root = sqrt(1 - beta2**update)
            eps, scale = eps / root, (1 - beta1**update) / root
        for group in self.adamw.param_groups:
            group["lr"] = rate * scale
            group["eps"] = eps
            group["weight_decay"] = group["decay"] / scale


def clip(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Scale the whole gradient to at most this norm; returns the norm that it had."""
    return nn.utils.clip_grad_norm_(parameters, limit, foreach=True)
