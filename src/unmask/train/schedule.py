"""The learning rate as a function of the step."""


def linear(step: int, steps: int, warmup: float) -> float:
    """Factor of the peak rate at a step, counted from 1: linear up over a share, then down to zero.

    With `w = max(1, round(warmup * steps))` it is step / w up to w, and (steps - step) / (steps - w)
    behind it; the last step keeps one part of what remains, so that no step is without effect.
    """
    rising = max(1, round(warmup * steps))
    if step <= rising:
        return step / rising
    return (steps - step + 1) / (steps - rising + 1)
