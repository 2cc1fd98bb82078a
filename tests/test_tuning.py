"""Settings of fine-tuning where nothing is said: those of the papers."""

import pytest

from unmask.data.windows import Reading
from unmask.tasks import span
from unmask.train.tuning import load_tuning


def test_without_settings_a_run_is_as_bert_was_fine_tuned() -> None:
    """Devlin et al. 2019, section A.3: 3 epochs of 32 at 2e-5, a warm-up of a tenth."""
    tuning = load_tuning(512, {}, None, ())
    assert (tuning.epochs, tuning.batch, tuning.optimizer.rate) == (3, 32, 2e-5)
    assert (tuning.schedule.warmup, tuning.schedule.floor) == (0.1, 0.0)
    assert tuning.layers.last is None
    assert not tuning.layers.gradual
    assert (tuning.layers.decay, tuning.keeping.patience) == (1.0, None)


def test_questions_are_read_as_bert_read_squad() -> None:
    """https://github.com/google-research/bert/blob/master/run_squad.py, its flags."""
    reading = Reading(length=span.TASK.length)
    assert (reading.length, reading.stride, reading.query) == (384, 128, 64)
    assert (reading.answer, reading.candidates, reading.null_threshold) == (30, 20, 0.0)


@pytest.mark.parametrize("pair", ["schedule.floor=0.03125", "layers.gradual=true"])
def test_slanted_rates_and_thawing_are_settings(pair: str) -> None:
    assert load_tuning(512, {}, None, [pair]) != load_tuning(512, {}, None, ())
