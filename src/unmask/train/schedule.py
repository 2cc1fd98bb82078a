"""The learning rate as a function of the step."""


def linear(step: int, steps: int, warmup: float, floor: float = 0.0) -> float:
    """Factor of the peak rate at a step, counted from 1: up over a share, then down to a floor.

    With `w = max(1, round(warmup * steps))` it is `step / w` up to w, and behind it falls by equal
    parts to zero after the last step, so that no step is without effect. A floor above zero lifts
    both ends to it; 1/32 makes the slanted triangle of ULMFiT (https://arxiv.org/abs/1801.06146).
    """
    rising = max(1, round(warmup * steps))
    share = step / rising if step <= rising else (steps - step + 1) / (steps - rising + 1)
    return floor + (1 - floor) * share
