"""What the machine can do is found out without breaking on any machine."""

import subprocess
import sys

import torch

from unmask import hardware


def test_the_device_can_be_computed_on() -> None:
    assert torch.ones(2, device=hardware.device()).sum() == 2


def test_bfloat16_follows_what_the_processor_says() -> None:
    can = torch.cpu.get_capabilities()
    expected = bool(can.get("avx512_bf16")) or bool(can.get("amx_bf16"))
    assert hardware.has_bfloat16(torch.device("cpu")) is expected


def test_memory_is_kept() -> None:
    # In a process of its own, because it cannot be undone.
    script = """
import resource, torch
from unmask import hardware
hardware.keep_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(30):
    if turn == 10:
        before = faults()
    torch.ones(2**24).sum()
print(faults() - before)
"""
    command = [sys.executable, "-c", script]
    faults = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if sys.platform == "linux":
        assert faults < 20 * 2**24 * 4 / 4096 / 10, "most pages were mapped anew"
