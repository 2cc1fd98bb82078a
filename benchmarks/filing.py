"""Where results are filed: as JSON, with the machine and the versions that they were made with."""

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
WORK = ROOT / ".bench"
"""What the benchmarks make once and keep: stores, models, other tools' files."""
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "onnxruntime",
    "openvino",
    "nncf",
    "datasets",
    "numpy",
)


def options(about: str, rounds: int = 5) -> argparse.ArgumentParser:
    """Begin a command line with what all benchmarks are asked."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=rounds, help="that are timed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser


def read(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Read what is filed under a name; None where nothing is."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(name: str, content: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """File results under a name, whole or not at all, with the machine that they are of.

    Parts that may be older name their own machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{name}.new"
    text = json.dumps({**content, "machine": machine()}, indent=1)
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(folder / f"{name}.json")


def kept(
    folder: Path, made_of: Mapping[str, Any], make: Callable[[Path], object] | None = None
) -> Path:
    """Give a folder that is made once, and anew where it was made of something else.

    Raises SystemExit where it is not there and nothing says how to make it.
    """
    note, wanted = folder / "made_of.json", json.loads(json.dumps(made_of))
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) == wanted:
        return folder
    if make is None:
        raise SystemExit(f"{folder} is missing, or made of something else; make it first")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    note.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
    return folder


def printed(path: Path) -> str:
    """Give the fingerprint of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def machine() -> dict[str, Any]:
    """Describe the machine, and the packages that matter."""
    versions = {}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _told("/proc/meminfo", "MemTotal"),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    """Name the processor; family and model tell generations apart where the name does not."""
    name, *numbers = (_told("/proc/cpuinfo", key) for key in ("model name", "cpu family", "model"))
    if all(numbers):
        return "{}, family {}, model {}".format(name, *numbers)
    return name or platform.processor()


def _told(path: str, key: str) -> str:
    """Read the first line of such a name in a file of the kernel's."""
    with suppress(OSError), Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""
