"""What all tests share: no network, examples that are the same each time, and the real data."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("unmask", deadline=None, derandomize=True)
settings.load_profile("unmask")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of real data, which lies beside the repository and never in it."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data is not here: {SHARED} is missing")
    return SHARED
