"""What the machine can do, found out when asked."""

import ctypes
import importlib.util
import os
import shutil
import sys
from functools import cache
from typing import Literal

import torch

from unmask.errors import UserError

Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""Type of the products; a network that learns knows no int8."""


def device() -> torch.device:
    """Choose where to compute: this rank's GPU where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    found = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(found)
    return found


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether products in bfloat16 are done by the hardware itself, and so are faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@cache
def has_onednn(dtype: torch.dtype) -> bool:
    """Tell whether oneDNN, which torch brings along for CPUs, calculates in a type here."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    narrow = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bool(dtype == torch.float32 or narrow)


def has_int8(device: torch.device) -> bool:
    """Tell whether products of whole numbers of 8 bits are done by a CPU itself, by oneDNN."""
    able = torch.cpu.get_capabilities()
    fast = able.get("avx512_vnni") or able.get("avx_vnni") or able.get("amx_int8")
    return device.type == "cpu" and has_onednn(torch.float32) and bool(fast)


def products(wanted: Precision, device: torch.device) -> torch.dtype:
    """Choose the type of the products: bfloat16 where the hardware has it, unless told.

    Raises UserError for int8 where nothing does that fast.
    """
    if wanted == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if wanted == "int8" and not has_int8(device):
        raise UserError(
            "precision 'int8' needs a CPU with VNNI and torch with oneDNN; take 'auto', which is"
            " the fastest of the others"
        )
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
    return types[wanted]


def between(products: torch.dtype, device: torch.device) -> torch.dtype:
    """Choose the type of what is done between products of a type: their own, if it can be."""
    if products != torch.int8:
        return products
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


def compiles(wanted: Literal["auto", "on", "off"], device: torch.device) -> bool:
    """Choose whether torch's compiler is used: on a GPU, if it can write code for it there.

    Nothing was to be gained by it on a CPU, where it is used only if it is wanted. Raises UserError
    where it is wanted and something is missing.
    """
    if wanted == "off" or (wanted == "auto" and device.type != "cuda"):
        return False
    if device.type == "cuda":
        needed, there = "triton", importlib.util.find_spec("triton") is not None
    else:
        needed, there = "a C++ compiler", any(map(shutil.which, ("g++", "clang++", "cl")))
    if wanted == "on" and not there:
        raise UserError(f"compile = 'on' needs {needed}; install it, or leave it at 'auto'")
    return there


def keep_memory() -> None:
    """Let the C library keep freed memory instead of handing it back to the system each time.

    A step, of training or of reading, frees and takes the same large blocks over and over; glibc
    would map each anew and the system would fill it with zeros, small page by small page. Call it
    before the first step, as all verbs that run long do; elsewhere than on glibc it does nothing.
    """
    if sys.platform != "linux":
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch asks for huge pages then
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # of malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**28)


def describe(device: torch.device) -> str:
    """Name the hardware for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"the CPU, {threads} thread{'' if threads == 1 else 's'}"
