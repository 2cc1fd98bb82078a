"""Writing a token store: shards by as many processes as there are, then the whole of them.

V entries of the vocabulary. `unmask.data.store` says what lies where.
"""

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unmask.data.store import FORMAT, MANIFEST, Store, checksum, id_dtype
from unmask.errors import UserError

SHARD = "shard.json"
PARTIAL = ".partial"
_FLUSH = 1 << 20  # tokens a writer holds in memory


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """What a finished shard holds."""

    name: str
    """Its folder inside the store."""
    documents: int
    """Documents written."""
    sentences: int
    """Sentences written."""
    tokens: int
    """Tokens written."""
    files: Mapping[str, Mapping[str, Any]]
    """Size and checksum of each of its files, by their names inside the store."""

    @classmethod
    def read(cls, folder: Path, name: str) -> "ShardInfo | None":
        """Read what a shard of a store in the making holds; None when it is not finished."""
        path = folder / name / SHARD
        return cls(**json.loads(path.read_text("utf-8"))) if path.exists() else None


class ShardWriter:
    """Writes one shard of a store, document by document, in bounded memory.

    The shard appears under its name when `close` has finished it; an unfinished one of the same
    name, left by a process that was killed, is started again.
    """

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self._folder, self._name = folder, name
        self._partial = folder / (name + PARTIAL)
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        self._dtype = id_dtype(vocab_size)
        self._unigrams = np.zeros(vocab_size, dtype=np.int64)
        self._tokens = _ArrayFile(self._partial / "tokens.npy", self._dtype)
        self._sentences = _ArrayFile(self._partial / "sentence_sizes.npy", np.dtype(np.uint32))
        self._documents = _ArrayFile(self._partial / "document_sizes.npy", np.dtype(np.uint32))
        self._open_sentences = 0

    def add(self, sentences: Iterable[Sequence[int]], ends_document: bool = True) -> None:
        """Write sentences, each the ids of its tokens, behind the others of the open document.

        Empty sentences are left out, and with them a document that has no other. Without
        `ends_document` the document goes on with the next call: so a document need not fit into
        memory.
        """
        for ids in sentences:
            if len(ids):
                self._tokens.buffer.extend(ids)
                self._sentences.buffer.append(len(ids))
                self._open_sentences += 1
        if len(self._tokens.buffer) >= _FLUSH:
            self._flush()
        if ends_document and self._open_sentences:
            self._documents.buffer.append(self._open_sentences)
            self._open_sentences = 0

    def close(self) -> ShardInfo:
        """Finish the shard and give it its name."""
        self.add([])
        self._flush()
        files = (self._tokens, self._sentences, self._documents)
        for file in files:
            file.close()
        _save(self._partial / "unigrams.npy", self._unigrams)
        info = ShardInfo(
            name=self._name,
            documents=self._documents.count,
            sentences=self._sentences.count,
            tokens=self._tokens.count,
            files=_describe(self._partial, self._name),
        )
        _write_json(self._partial / SHARD, asdict(info))
        shutil.rmtree(self._folder / self._name, ignore_errors=True)
        self._partial.rename(self._folder / self._name)
        return info

    def _flush(self) -> None:
        ids = np.frombuffer(self._tokens.buffer, dtype=self._dtype)
        self._unigrams += np.bincount(ids, minlength=self._unigrams.size)
        del ids  # or the buffer could not be emptied
        for file in (self._tokens, self._sentences, self._documents):
            file.flush()


def finish(
    folder: Path,
    shards: Sequence[ShardInfo],
    *,
    tokenizer: Path,
    tokenizer_fingerprint: str,
    vocab_size: int,
    settings: Mapping[str, Any] | None = None,
    text: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> Store:
    """Make a store of finished shards, in their order; the manifest is written last.

    `tokenizer` is the folder that is copied into the store, `text` a hash of the text (where there
    is none, the ids stand for it), `settings` whatever else determined the ids, `about` what else
    the manifest is to say. Raises UserError when the shards hold no text at all.
    """
    shards = [shard for shard in shards if shard.documents]
    if not shards:
        raise UserError(f"{folder}: there is no text to store. Give text files that are not empty.")
    (folder / MANIFEST).unlink(missing_ok=True)
    _copy_folder(tokenizer, folder / "tokenizer")
    _write_starts(folder, shards, "sentence")
    _write_starts(folder, shards, "document")
    unigrams = sum(np.load(folder / shard.name / "unigrams.npy") for shard in shards)
    _save(folder / "unigrams.npy", np.asarray(unigrams, dtype=np.int64))
    files = {name: dict(file) for shard in shards for name, file in shard.files.items()}
    files |= _describe(folder / "tokenizer", "tokenizer")
    own = ("sentence_starts.npy", "document_starts.npy", "unigrams.npy")
    files |= {name: _describe_file(folder / name) for name in own}
    content = text or [files[f"{shard.name}/tokens.npy"]["sha256"] for shard in shards]
    identity = [FORMAT, content, tokenizer_fingerprint, dict(settings or {})]
    manifest = {
        **(about or {}),
        "format": FORMAT,
        "documents": sum(shard.documents for shard in shards),
        "sentences": sum(shard.sentences for shard in shards),
        "tokens": sum(shard.tokens for shard in shards),
        "vocab_size": vocab_size,
        "dtype": id_dtype(vocab_size).name,
        "tokenizer": tokenizer_fingerprint,
        "settings": dict(settings or {}),
        "fingerprint": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        "shards": [{"name": shard.name, "tokens": shard.tokens} for shard in shards],
        "files": files,
    }
    os.sync()  # all at once is faster by far than file by file, while several processes write
    _write_json(folder / MANIFEST, manifest)
    os.sync()
    return Store.open(folder)


class _ArrayFile:
    """A one-dimensional .npy file that grows; its header is written again when it is closed."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.buffer = array("H" if dtype.itemsize == 2 else "I")
        self.count = 0
        self._path, self._dtype = path, dtype
        with path.open("wb") as file:
            self._header = self._write_header(file)

    def flush(self) -> None:
        """Append what is buffered to the file."""
        with self._path.open("ab") as file:  # opened anew: an abandoned writer leaves nothing open
            self.buffer.tofile(file)
        self.count += len(self.buffer)
        del self.buffer[:]

    def close(self) -> None:
        """Write the final count into the header."""
        with self._path.open("r+b") as file:
            header = self._write_header(file)
            assert header == self._header, "the header leaves room for the count to grow"

    def _write_header(self, file: BinaryIO) -> int:
        described = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": described, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()


def _write_starts(folder: Path, shards: Sequence[ShardInfo], unit: str) -> None:
    """Write where each sentence or document starts, from the sizes that the shards hold."""
    path = folder / f"{unit}_starts.npy"
    partial = path.with_name(path.name + PARTIAL)
    count = sum(getattr(shard, f"{unit}s") for shard in shards) + 1
    header = {"descr": "<i8", "fortran_order": False, "shape": (count,)}
    with partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        starts = np.zeros(1, dtype="<i8")
        starts.tofile(file)
        for shard in shards:
            for sizes in _stretches(folder / shard.name / f"{unit}_sizes.npy"):
                starts = starts[-1] + np.cumsum(sizes, dtype="<i8")
                starts.tofile(file)
    partial.rename(path)


def _stretches(path: Path) -> Iterator[np.ndarray]:
    """Read a one-dimensional .npy file piece by piece: a memory map would count as memory."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        dtype = np.lib.format.read_array_header_1_0(file)[2]
        while (values := np.fromfile(file, dtype, _FLUSH)).size:
            yield values


def _describe(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """Size and checksum of the files of a folder that is called `name` inside the store."""
    return {f"{name}/{path.name}": _describe_file(path) for path in sorted(folder.iterdir())}


def _describe_file(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": checksum(path)}


def _copy_folder(source: Path, target: Path) -> None:
    partial = target.with_name(target.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _save(path: Path, values: np.ndarray) -> None:
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("wb") as file:
        np.save(file, values, allow_pickle=False)
    partial.rename(path)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("wb") as file:
        file.write(json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
    partial.rename(path)
