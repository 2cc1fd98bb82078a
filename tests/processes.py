"""Runs in processes of their own, which can be killed, stopped or spread over ranks."""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from unmask.train.metrics import rows

# Every run is forked from a server that has imported everything once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["unmask.train.pretrain", "unmask.train.finetune", "torch._dynamo"]
)


def start(
    verb: Callable[..., Any], out: Path, options: Mapping[str, Any], **environment: str
) -> ForkServerProcess:
    """Start a verb that trains, its words in a file beside its folder."""
    process = PROCESSES.Process(target=_train, args=(verb, out, dict(options), environment))
    process.start()
    return process


def _train(
    verb: Callable[..., Any], out: Path, options: dict[str, Any], environment: dict[str, str]
) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    with out.with_suffix(f".stderr{environment.get('RANK', '')}").open("w") as words:
        os.dup2(words.fileno(), 2)
    try:
        verb(**options, out=out)
    except KeyboardInterrupt:
        sys.exit(130)


def two_ranks() -> list[dict[str, str]]:
    """Give the environments of two ranks of one run."""
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    return [{"RANK": str(rank), **address} for rank in range(2)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process) -> int:
    process.join(120)
    assert process.exitcode is not None, "the run hangs"
    code = process.exitcode
    process.close()
    return code


def steps_of(out):
    return len(rows(out / "metrics.jsonl"))


def wait_for_step(out, step, process):
    while process.is_alive() and steps_of(out) < step:
        time.sleep(0.005)


def losses(out):
    table = rows(out / "metrics.jsonl")
    assert [row["step"] for row in table] == list(range(1, len(table) + 1))  # none stands twice
    return [row["loss"] for row in table]
