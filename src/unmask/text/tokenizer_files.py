"""The files of a tokenizer, read with errors that name them."""

import json
from pathlib import Path
from typing import Any

from unmask.errors import UserError


def read_text(path: Path) -> str:
    """Read a file of a tokenizer. Raises UserError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, byte {error.start:,}: not UTF-8. Save the file as UTF-8."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a file of a tokenizer. Raises UserError where there is none."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}). Copy the file anew."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object. Copy the file anew.")
    return content


def read_settings(folder: Path) -> dict[str, Any]:
    """Read what the files of a model and its tokenizer say beside the vocabulary, if anything."""
    found: dict[str, Any] = {}
    for name in ("config.json", "tokenizer_config.json"):
        found |= read_json(folder / name) if (folder / name).is_file() else {}
    return found
