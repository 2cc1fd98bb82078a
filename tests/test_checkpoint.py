"""Checkpoints are whole or not there, and a damaged one is told from a good one."""

import json

import pytest
import torch
from torch import nn

from unmask.train import checkpoint
from unmask.train.checkpoint import Damaged, State
from unmask.train.optimizer import Updates
from unmask.train.recipe import Optimizer


def network(seed: int) -> tuple[nn.ModuleDict, Updates]:
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    model = nn.ModuleDict({"blocks": inner, "rest": nn.Linear(2, 2)})
    updates = Updates(model, Optimizer(rate=1e-3, algorithm="muon"))
    for number in range(1, seed + 1):
        model["blocks"](torch.randn(3, 4)).square().sum().backward()
        updates.step(1e-3, number, torch.ones(()))
    return model, updates


def state(step: int) -> State:
    return State(
        step=step, skipped=0, phase=0, stream={"batch": step}, tokens=step * 7, seconds=0.5
    )


def save(folder, step, keep=3):
    model, optimizer = network(2)
    checkpoint.save(folder, state(step), model, optimizer, keep)
    return model, optimizer


def test_what_is_loaded_trains_on_exactly_as_what_was_saved(tmp_path):
    model, optimizer = save(tmp_path, 5)
    other, other_optimizer = network(0)
    path = next(checkpoint.newest(tmp_path))
    assert checkpoint.load(path, other, other_optimizer) == state(5)
    for m, o in ((model, optimizer), (other, other_optimizer)):
        torch.manual_seed(1)
        m["blocks"](torch.randn(3, 4)).square().sum().backward()
        o.step(1e-2, 3, torch.ones(()))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_only_the_last_ones_are_kept(tmp_path):
    for step in (1, 2, 30, 4):
        save(tmp_path, step, keep=2)
    assert [path.name for path in checkpoint.newest(tmp_path)] == [
        "step-000000030",
        "step-000000004",
    ]


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_every_damaged_file_is_noticed_before_anything_changes(tmp_path, name, damage):
    save(tmp_path, 1)
    path = next(checkpoint.newest(tmp_path))
    content = bytearray((path / name).read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    (path / name).write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if damage == "gone":
        (path / name).unlink()
    model, optimizer = network(0)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(Damaged):
        checkpoint.load(path, model, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_a_state_that_was_edited_is_noticed(tmp_path):
    save(tmp_path, 1)
    path = next(checkpoint.newest(tmp_path))
    record = json.loads((path / "state.json").read_text())
    record["state"]["step"] = 2
    (path / "state.json").write_text(json.dumps(record))
    with pytest.raises(Damaged, match=r"state\.json"):
        checkpoint.verify(path)


def test_what_a_crash_left_is_no_checkpoint_and_goes_with_the_next_save(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".step-000000002").mkdir()
    (tmp_path / ".step-000000002" / "weights.safetensors").write_bytes(b"half")
    assert [path.name for path in checkpoint.newest(tmp_path)] == ["step-000000001"]
    save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000001", "step-000000003"]
