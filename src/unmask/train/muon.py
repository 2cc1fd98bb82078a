"""Muon: momentum whose direction is made orthogonal, for the matrices inside the blocks.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the scale is that of Liu et al. 2025,
https://arxiv.org/abs/2502.16982, so that one rate and one decay suit it and AdamW alike.
n matrices of one shape, R rows, C columns.
"""

from collections import defaultdict

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

STEPS = 5
"""Iterations of Newton-Schulz: enough for singular values between 0.7 and 1.2."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, steep at zero, so that small singular values grow fast."""
RMS = 0.2
"""Root mean square of an update, about that of AdamW's."""


class Muon(torch.optim.Optimizer):
    """Updates matrices; those of one shape are stacked and made orthogonal together.

    Like torch's fused AdamW it reads `found_inf`, a scalar on the device, before it changes
    anything: where that is 1 the step is without effect.
    """

    found_inf: Tensor | None = None

    def __init__(
        self, params: ParamsT, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients that the matrices carry."""
        for group in self.param_groups:
            shapes = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for same in shapes.values():
                self._update(same, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, same: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        """Update n matrices of one shape (R, C)."""
        for parameter in same:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        held = [self.state[parameter]["momentum"] for parameter in same]
        gradient = torch.stack([p.grad for p in same if p.grad is not None])  # (n, R, C)
        moved = torch.stack(held).lerp_(gradient, 1 - momentum)  # (n, R, C)
        update = orthogonal(gradient.lerp_(moved, momentum))  # Nesterov's look ahead
        scale = RMS * max(gradient.shape[1:]) ** 0.5
        changed = torch.stack(same).mul_(1 - lr * weight_decay).sub_(update, alpha=lr * scale)
        for old, new in ((held, moved), (same, changed)):
            if self.found_inf is not None:
                new = torch.where(self.found_inf.bool(), torch.stack(old), new)
            torch._foreach_copy_(old, list(new.unbind()))


def orthogonal(x: Tensor) -> Tensor:
    """Bring all singular values of matrices (n, R, C) near 1, keeping their directions."""
    a, b, c = COEFFICIENTS
    tall = x.shape[1] > x.shape[2]
    y = x.mT if tall else x
    y = (y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(STEPS):
        gram = y @ y.mT  # (n, R, R)
        y = a * y + (b * gram + c * gram @ gram) @ y
    straight: Tensor = y.mT if tall else y
    return straight.to(x.dtype)
