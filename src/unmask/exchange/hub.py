"""Model folders, wherever they are: on this machine, or on the hub."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from unmask.errors import UserError

OLD_WEIGHTS = "pytorch_model.bin"
"""Where weights are that are older than safetensors."""


def locate(source: str | Path) -> Path:
    """Find a model's folder: a folder as it is, else the files of a hub id, downloaded once."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or str(source).count("/") > 1 or str(source).startswith("."):
        raise UserError(f"{source}: no such folder; give a model folder or a hub id")
    try:
        found = Path(
            snapshot_download(
                source,
                allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"],
                ignore_patterns=["*/*"],
            )
        )
        if not any(found.glob("*.safetensors")):
            snapshot_download(source, allow_patterns=[OLD_WEIGHTS])
        return found
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise UserError(
            f"{source}: no such folder, and the hub cannot be reached: this machine is offline;"
            " give a folder, or a model that was downloaded before"
        ) from error
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"{source}: no such folder, and the hub has no such model for you"
            f" ({type(error).__name__}); check the name"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder. Raises UserError where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        inner = path.parent / "model"
        if (inner / path.name).exists():
            raise UserError(f"{path.parent} is a run, its model is {inner}; give that") from error
        raise UserError(f"{path}: no such file; a model folder has one") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return value
