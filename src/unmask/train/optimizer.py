"""The optimizer: AdamW as BERT uses it, and beside it Muon where a recipe wants that."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from unmask.train.muon import Muon
from unmask.train.recipe import Optimizer


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a parameter learns, and from when on."""

    factor: float = 1.0
    """Of the learning rate."""
    start: int | None = 1
    """First step at which it is trained; None: never."""


Grouping = Callable[[str], Pace]
"""The pace of a parameter, by its name."""


def together(name: str) -> Pace:
    """Let every parameter learn from the first step, at the full rate."""
    return Pace()


class Updates:
    """The updates of a network: by AdamW, or by Muon inside the blocks and AdamW elsewhere.

    Matrices decay; vectors (biases, norms) do not. Parameters of one pace form a group.
    """

    def __init__(
        self, network: nn.Module, settings: Optimizer, grouping: Grouping = together
    ) -> None:
        self.settings = settings
        named = dict(network.named_parameters())
        self._paces = {name: grouping(name) for name in named}
        self._named = named
        self.parameters = [p for name, p in named.items() if self._paces[name].start is not None]
        kinds: dict[tuple[str, Pace], list[Tensor]] = defaultdict(list)
        for name, parameter in named.items():
            if self._paces[name].start is not None:
                kinds[self._kind(name, parameter), self._paces[name]].append(parameter)
        groups = {
            kind: [
                {"params": found, "factor": pace.factor, "decay": kind != "vectors"}
                for (own, pace), found in kinds.items()
                if own == kind
            ]
            for kind in ("muon", "matrices", "vectors")
        }
        self.adamw = torch.optim.AdamW(
            [*groups["matrices"], *groups["vectors"]], settings.rate, settings.betas, fused=True
        )
        self.muon: Muon | None = None
        if groups["muon"]:
            self.muon = Muon(groups["muon"], settings.rate, weight_decay=settings.weight_decay)

    def thaw(self, step: int) -> None:
        """Let exactly those parameters collect gradients that are trained at a step."""
        for name, parameter in self._named.items():
            start = self._paces[name].start
            parameter.requires_grad_(start is not None and step >= start)

    def step(self, rate: float, update: int, norm: Tensor) -> None:
        """Apply the gradient at a rate; update counts from 1.

        A gradient whose norm is not finite changes nothing. The device decides that by itself, so
        that no host has to wait for it.
        """
        self._set_adamw(rate, update)
        for one in self._parts():
            one.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            for group in one.param_groups if one is self.muon else []:
                group["lr"] = rate * group["factor"]
            one.step()
            one.zero_grad(set_to_none=True)

    def moments(self, parameter: Tensor) -> dict[str, Any]:
        """Give what is remembered of a parameter's gradients, by name."""
        states = (one.state for one in self._parts())
        return next((dict(state[parameter]) for state in states if parameter in state), {})

    def restore(self, parameter: Tensor, moments: dict[str, Any]) -> None:
        """Put back what `moments` gave."""
        self._owner(parameter).state[parameter] = moments

    def _owner(self, parameter: Tensor) -> torch.optim.Optimizer:
        for one in self._parts():
            if any(parameter is own for group in one.param_groups for own in group["params"]):
                return one
        raise KeyError("a parameter that is not trained")

    def _kind(self, name: str, parameter: Tensor) -> str:
        """Tell who updates a parameter, and how."""
        if parameter.ndim == 1:
            return "vectors"
        inner = self.settings.algorithm == "muon" and "blocks." in name and parameter.ndim == 2
        return "muon" if inner else "matrices"

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
            group["lr"] = rate * scale * group["factor"]
            group["eps"] = eps
            group["weight_decay"] = group["decay"] * self.settings.weight_decay / scale


def clip(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Scale the whole gradient to at most this norm; returns the norm that it had."""
    return nn.utils.clip_grad_norm_(parameters, limit, foreach=True)
