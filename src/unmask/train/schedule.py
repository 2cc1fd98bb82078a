"""The learning rate as a function of the step."""


def linear(step: int, steps: int, warmup: float) -> float:
    """Factor of the peak rate at a step, counted from 1: up over a share, then down to zero.

    With `w = max(1, round(warmup * steps))` it is `step / w` up to w, and behind it falls by equal
    parts to zero after the last step, so that no step is without effect.
    """
    rising = max(1, round(warmup * steps))
    if step <= rising:
        return step / rising
    return (steps - step + 1) / (steps - rising + 1)
