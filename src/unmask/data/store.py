"""The token store: token ids on disk, with the bounds of their sentences and documents.

D documents, S sentences, V entries of the vocabulary, n tokens asked for.

    STORE/manifest.json            written last: what everything else must be
    STORE/tokenizer/               a copy of the tokenizer that made the ids
    STORE/sentence_starts.npy      (S + 1,) int64, in tokens
    STORE/document_starts.npy      (D + 1,) int64, in sentences
    STORE/unigrams.npy             (V,) int64, how often each id occurs
    STORE/shard-00000/tokens.npy   uint16 or uint32 ids; beside it the sizes of the sentences and
                                   documents of the shard, its unigrams and shard.json

Whatever is written has a temporary name until it is whole; `unmask.data.writing` writes it.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"


class Shards:
    """Arrays of token ids on disk, addressed as if they lay end to end."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = tuple(arrays)
        """Memory-mapped (tokens,) unsigned ids of each shard."""
        self.ends = np.cumsum([a.size for a in arrays], dtype=np.int64)
        """(shards,) int64, where each shard ends."""

    @property
    def size(self) -> int:
        """Tokens of all shards together."""
        return int(self.ends[-1])

    def take(self, index: np.ndarray) -> np.ndarray:
        """Fetch tokens by their place among all shards: (n,) int64 -> (n,) int64 ids."""
        if len(self.arrays) == 1:
            return np.asarray(self.arrays[0][index], dtype=np.int64)
        shard = np.searchsorted(self.ends, index, side="right").astype(np.uint16)  # (n,)
        order = np.argsort(shard, kind="stable")
        present, counts = np.unique(shard, return_counts=True)
        ids = np.empty(index.size, dtype=np.int64)
        for k, count in zip(present.tolist(), counts.tolist(), strict=True):
            tokens, rows, order = self.arrays[k], order[:count], order[count:]
            ids[rows] = tokens[index[rows] - (self.ends[k] - tokens.size)]
        return ids


@dataclass(frozen=True, slots=True)
class Store:
    """A token store, opened for reading; nothing but the bounds of the shards is in memory."""

    path: Path
    """The store's folder."""
    manifest: Mapping[str, Any]
    """What the store says of itself: counts, settings, sizes and checksums of its files."""
    shards: Shards
    """The token ids."""
    sentence_starts: np.ndarray
    """(S + 1,) int64, where each sentence starts, in tokens; the last is the number of tokens."""
    document_starts: np.ndarray
    """(D + 1,) int64, where each document starts, in sentences; the last is their number."""
    unigrams: np.ndarray
    """(V,) int64, how often each id occurs."""

    @property
    def languages(self) -> list[str]:
        """Languages of the text; of translations, that of each sentence of a document."""
        return list(self.manifest.get("settings", {}).get("languages", []))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Store":
        """Open a store after checking that every file is there, of the right size and kind.

        That costs the same whatever the size of the store; `verify` also reads the contents.
        Raises UserError naming the store, or the file of it that is damaged.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        for name, expected in manifest["files"].items():
            _check_size(folder / name, expected["size"])
        dtype = id_dtype(manifest["vocab_size"])
        shards = Shards(
            [
                _map(folder / shard["name"] / "tokens.npy", dtype, shard["tokens"])
                for shard in manifest["shards"]
            ]
        )
        starts = np.dtype(np.int64)
        sentences, documents = manifest["sentences"], manifest["documents"]
        return cls(
            path=folder,
            manifest=manifest,
            shards=shards,
            sentence_starts=_map(folder / "sentence_starts.npy", starts, sentences + 1),
            document_starts=_map(folder / "document_starts.npy", starts, documents + 1),
            unigrams=_map(folder / "unigrams.npy", starts, manifest["vocab_size"]),
        )

    def verify(self) -> "Store":
        """Read every file and compare its checksum; returns the store.

        Raises UserError naming the file that is not what was written. Once a run is often enough.
        """
        for name, expected in self.manifest["files"].items():
            if checksum(self.path / name) != expected["sha256"]:
                raise _damaged(self.path / name, "its content has changed")
        return self

    @property
    def tokens_total(self) -> int:
        """Tokens of the store."""
        return int(self.manifest["tokens"])

    @property
    def sentences_total(self) -> int:
        """S, sentences of the store."""
        return int(self.manifest["sentences"])

    @property
    def documents_total(self) -> int:
        """D, documents of the store."""
        return int(self.manifest["documents"])

    @property
    def vocab_size(self) -> int:
        """V, entries of the vocabulary that the ids come from."""
        return int(self.manifest["vocab_size"])

    @property
    def fingerprint(self) -> str:
        """Hash of text, tokenizer and settings: the same for stores with the same content."""
        return str(self.manifest["fingerprint"])

    @property
    def tokenizer(self) -> Path:
        """Folder of the copy of the tokenizer."""
        return self.path / "tokenizer"

    def take(self, index: np.ndarray) -> np.ndarray:
        """Fetch tokens by their place in the store: (n,) int64 -> (n,) int64 ids."""
        return self.shards.take(index)


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """The type that ids of a vocabulary have on disk."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such token store. Make one with unmask prepare.")
    path = folder / MANIFEST
    if not path.exists():
        raise UserError(
            f"{folder}: not a token store, or half-written (it has no {MANIFEST}). "
            "Run unmask prepare again: it does what is missing."
        )
    try:
        manifest = json.loads(path.read_text("utf-8"))
        found = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "it cannot be read") from error
    if found != FORMAT:
        raise UserError(
            f"{folder}: a token store of format {found}, this version reads {FORMAT}. "
            "Run unmask prepare again."
        )
    return dict(manifest)


def _check_size(path: Path, expected: int) -> None:
    if not path.exists():
        raise _damaged(path, "it is missing")
    if (found := path.stat().st_size) != expected:
        raise _damaged(path, f"it has {found:,} bytes instead of {expected:,}")


def _map(path: Path, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Memory-map a (count,) array."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise _damaged(path, "its header cannot be read") from error
    if mapped.dtype != dtype or mapped.shape != (count,):
        raise _damaged(path, f"it holds {mapped.shape} {mapped.dtype}, not {(count,)} {dtype}")
    return np.asarray(mapped)  # memmap's own indexing is slower


def _damaged(path: Path, how: str) -> UserError:
    return UserError(
        f"{path}: the token store is damaged: {how}. Delete it and run unmask prepare again."
    )


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
