"""A pre-training run that is killed, stopped or spread over ranks comes to the same losses."""

import os
import random
import signal
import time

import pytest

import processes
import runs
import unmask
from processes import end, losses, steps_of, wait_for_step
from unmask.train import checkpoint
from unmask.train.metrics import rows

STEPS = 16


def start(store, out, steps=STEPS, sets=(), **environment):
    options = {
        "stores": [str(store)],
        "steps": steps,
        "heldout": "0.2",
        "set": [*runs.SETS, "data.micro_tokens=128", *sets],
    }
    return processes.start(unmask.pretrain, out, options, **environment)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The store, and the losses of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    store = runs.make_store(folder / "store")
    assert end(start(store, folder / "run")) == 0
    return store, losses(folder / "run")


def test_a_run_killed_at_random_moments_continues_with_bit_equal_losses(whole, tmp_path):
    store, expected = whole
    rng = random.Random(7)
    out = tmp_path / "run"
    for _ in range(4):
        process = start(store, out)
        # Every step is saved, so that many of these moments fall into a save.
        wait_for_step(out, min(STEPS - 2, steps_of(out) + 3), process)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        assert end(process) == -signal.SIGKILL
    assert end(start(store, out)) == 0
    assert losses(out) == expected


def test_a_kill_in_the_middle_of_a_save_leaves_the_checkpoint_before_it(whole, tmp_path):
    store, expected = whole
    out = tmp_path / "run"
    process = start(store, out)
    half = ()
    while process.is_alive() and not half:
        half = tuple((out / "checkpoints").glob(f".{checkpoint.PREFIX}*"))
    process.kill()
    assert end(process) == -signal.SIGKILL
    assert half
    for path in checkpoint.newest(out / "checkpoints"):
        checkpoint.verify(path)
    assert end(start(store, out)) == 0
    assert losses(out) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_saves_says_so_and_ends_with_130(whole, tmp_path, number):
    store, expected = whole
    out = tmp_path / "run"
    process = start(store, out)
    wait_for_step(out, 3, process)
    os.kill(process.pid, number)
    assert end(process) == 130
    said = out.with_suffix(".stderr").read_text()
    assert "Stopped and saved at step" in said
    assert "Traceback" not in said
    assert unmask.Model.from_pretrained(out / "model").width == 16
    newest = checkpoint.verify(next(checkpoint.newest(out / "checkpoints")))
    assert newest.step == len(losses(out)) < STEPS
    assert end(start(store, out)) == 0
    assert losses(out) == expected


def test_two_ranks_take_the_same_steps_as_one(whole, tmp_path):
    """Dropout differs by rank, so it is off here; sums in another order differ by rounding."""
    store, _ = whole
    sets = ["dropout=0.0", "precision='float32'"]
    assert end(start(store, tmp_path / "one", 6, sets)) == 0
    ranks = [start(store, tmp_path / "two", 6, sets, **own) for own in processes.two_ranks()]
    assert [end(process) for process in ranks] == [0, 0]
    one, two = rows(tmp_path / "one" / "metrics.jsonl"), rows(tmp_path / "two" / "metrics.jsonl")
    assert len(one) == len(two) == 6
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-4)
    assert [row["tokens"] for row in one] == [row["tokens"] for row in two]
    assert one[5]["heldout_mlm_loss"] == pytest.approx(two[5]["heldout_mlm_loss"], rel=1e-4)
