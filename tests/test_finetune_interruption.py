"""A fine-tuning run that is killed, stopped or spread over ranks comes to the same end."""

import os
import random
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

import labelled
import processes
import unmask
from processes import end, losses, steps_of, wait_for_step
from unmask.train import checkpoint
from unmask.train.metrics import rows

STEPS = 24


def start(files, out, *sets, **environment):
    options = {
        "task": "text-classification",
        **files,
        "batch": 8,
        "rate": 0.01,
        "set": [*labelled.SETS, "layers.gradual=true", *sets],
    }
    return processes.start(unmask.finetune, out, options, **environment)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Files, and the folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    files = {
        "model": labelled.model(folder / "model"),
        "train": labelled.tsv(folder / "train.tsv", labelled.sentences(60, seed=1)),
        "eval": labelled.tsv(folder / "eval.tsv", labelled.sentences(20, seed=2)),
    }
    assert end(start(files, folder / "run")) == 0
    return files, folder / "run"


def same(out, other):
    """Compare all that a run has come to: losses, figures and the model that is kept."""
    assert losses(out) == losses(other)
    figures = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows(run / "metrics.jsonl")]
        for run in (out, other)
    ]
    assert figures[0] == figures[1]
    ours, theirs = (load_file(run / "model" / "model.safetensors") for run in (out, other))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    return True


def test_a_run_killed_at_random_moments_comes_to_the_same_end(whole, tmp_path):
    files, undisturbed = whole
    rng = random.Random(3)
    out = tmp_path / "run"
    for _ in range(4):
        process = start(files, out)
        wait_for_step(out, min(STEPS - 2, steps_of(out) + 4), process)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        assert end(process) == -signal.SIGKILL
    assert end(start(files, out)) == 0
    assert same(out, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_saves_says_so_and_ends_with_130(whole, tmp_path, number):
    files, undisturbed = whole
    out = tmp_path / "run"
    process = start(files, out)
    wait_for_step(out, 10, process)
    os.kill(process.pid, number)
    assert end(process) == 130
    said = out.with_suffix(".stderr").read_text()
    assert "Stopped and saved at step" in said
    assert "Traceback" not in said
    newest = checkpoint.verify(next(checkpoint.newest(out / "checkpoints")))
    assert newest.step == len(losses(out)) < STEPS
    assert end(start(files, out)) == 0
    assert same(out, undisturbed)


def test_two_ranks_take_the_same_steps_as_one(whole, tmp_path):
    """Dropout differs by rank, so it is off here; sums in another order differ by rounding."""
    files, _ = whole
    assert end(start(files, tmp_path / "one", "dropout=0.0")) == 0
    ranks = [start(files, tmp_path / "two", "dropout=0.0", **own) for own in processes.two_ranks()]
    assert [end(process) for process in ranks] == [0, 0]
    one, two = rows(tmp_path / "one" / "metrics.jsonl"), rows(tmp_path / "two" / "metrics.jsonl")
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-3)
    assert [row["tokens"] for row in one] == [row["tokens"] for row in two]
    assert (tmp_path / "two" / "report.html").exists()


def test_one_of_two_ranks_writes_for_both(whole, tmp_path):
    files, _ = whole
    header = ("source", "target")
    table = labelled.tsv(tmp_path / "texts.tsv", labelled.sentences(8, seed=3), header)
    options = {
        "task": "translation",
        "model": files["model"],
        "train": table,
        "eval": table,
        "batch": 4,
        "epochs": 1,
        "set": ["generation.max_new_tokens=4", "generation.num_beams=2", "keeping.rows=3"],
    }
    ranks = [
        processes.start(unmask.finetune, tmp_path / "run", options, **own)
        for own in processes.two_ranks()
    ]
    assert [end(process) for process in ranks] == [0, 0]
    said = (tmp_path / "run.stderr0").read_text()
    assert "The best model, on all 8 rows of the evaluation data" in said
    assert (tmp_path / "run" / "report.html").exists()
