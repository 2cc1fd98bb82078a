"""Checkpoints of a run: written whole or not at all, checksummed, the last few kept.

A checkpoint is a folder `step-000001234` with `weights.safetensors`, `optimizer.safetensors` and
`state.json`, which holds the run's counters, the stream's state and the checksums of the others.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unmask.train.optimizer import Updates

PREFIX = "step-"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Where a run is: all that the coming steps depend on, besides weights and moments."""

    step: int
    """Optimizer steps done."""
    skipped: int
    """Steps among them that changed nothing, because the loss was not finite."""
    phase: int
    """Index of the phase that `stream` belongs to."""
    stream: dict[str, Any]
    """Of the data stream, as it stood behind the last step; empty at the start of a phase."""
    tokens: int
    """Tokens seen."""
    seconds: float
    """Time spent, over all starts of the run."""


class Damaged(Exception):
    """A checkpoint whose files are not what was written."""


def save(folder: Path, state: State, network: nn.Module, updates: Updates, keep: int) -> None:
    """Write a checkpoint beside its final name, put it in place at once, and drop the oldest."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{PREFIX}{state.step:09d}"
    temporary = folder / f".{final.name}"
    for stale in folder.glob(f".{PREFIX}*"):
        shutil.rmtree(stale)
    temporary.mkdir()
    save_file(_plain(dict(network.state_dict())), temporary / "weights.safetensors")
    save_file(_plain(dict(_moments(network, updates))), temporary / "optimizer.safetensors")
    sums = {path.name: _checksum(path) for path in sorted(temporary.iterdir())}
    fields = {name: getattr(state, name) for name in State.__slots__}
    body = {"state": fields, "files": sums}
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (temporary / "state.json").write_text(json.dumps({**body, "seal": seal}), encoding="utf-8")
    for path in temporary.iterdir():
        _flush(path)
    _flush(temporary)
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)
    _flush(folder)
    for old in _folders(folder)[:-keep]:
        shutil.rmtree(old)


def load(path: Path, network: nn.Module, updates: Updates) -> State:
    """Bring network and moments back to where a checkpoint has them.

    Raises Damaged, before anything is changed, when a file is missing, cut or altered.
    """
    state = verify(path)
    try:
        weights = load_file(path / "weights.safetensors")
        moments = load_file(path / "optimizer.safetensors")
    except (OSError, SafetensorError) as error:
        raise Damaged(str(error)) from error
    network.load_state_dict(weights)
    for name, parameter in network.named_parameters():
        begin = f"{name}|"
        own = {k.removeprefix(begin): moments[k] for k in moments if k.startswith(begin)}
        # AdamW's count of steps stays on the host, whatever the device.
        placed = {k: v if k == "step" else v.to(parameter.device) for k, v in own.items()}
        if own:
            updates.restore(parameter, placed)
    return state


def verify(path: Path) -> State:
    """Read a checkpoint's state and compare all its files with their checksums."""
    try:
        record = json.loads((path / "state.json").read_text(encoding="utf-8"))
        seal = record.pop("seal")
        if seal != hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest():
            raise Damaged("state.json does not match its checksum")
        for name, expected in record["files"].items():
            if _checksum(path / name) != expected:
                raise Damaged(f"{name} does not match its checksum")
        return State(**record["state"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error


def newest(folder: Path) -> Iterator[Path]:
    """Name the checkpoints of a run, the last one first."""
    yield from reversed(_folders(folder))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_dir())


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out second names of shared tensors, which safetensors refuses."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in tensors.items():
        if tensor.data_ptr() not in seen or tensor.numel() == 1:
            seen.add(tensor.data_ptr())
            kept[name] = tensor.detach().contiguous()
    return kept


def _moments(network: nn.Module, updates: Updates) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in network.named_parameters():
        for key, value in updates.moments(parameter).items():
            yield f"{name}|{key}", value


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Force a file or folder to the disk, so that a power cut cannot undo the rename alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
