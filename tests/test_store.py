"""The token store: what is written is read, and what is damaged is refused by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stores
from unmask.data.store import MANIFEST, Shards, Store
from unmask.data.writing import ShardInfo, ShardWriter, finish
from unmask.errors import UserError

DOCUMENTS = [[[7, 8, 9], [10]], [[11, 12]], [[13], [14, 15, 16], [17]], [[18, 19]]]
TOKENS = list(range(7, 20))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.write(tmp_path, DOCUMENTS, vocab_size=50, shards=3)


def test_a_store_gives_back_what_was_written(store: Store) -> None:
    assert store.take(np.arange(13)).tolist() == TOKENS
    assert store.sentence_starts.tolist() == [0, 3, 4, 6, 7, 10, 11, 13]
    assert store.document_starts.tolist() == [0, 2, 3, 6, 7]
    assert store.unigrams.tolist() == [0] * 7 + [1] * 13 + [0] * 30
    assert (store.tokens_total, store.sentences_total, store.documents_total) == (13, 7, 4)
    assert (store.tokenizer / "vocab.txt").read_text("utf-8") == "[PAD]\n"


@given(index=st.lists(st.integers(0, 12), max_size=40), cuts=st.sets(st.integers(1, 12)))
def test_tokens_are_taken_in_any_order_from_any_shard(index: list[int], cuts: set[int]) -> None:
    shards = Shards(np.split(np.array(TOKENS, dtype=np.uint16), sorted(cuts)))
    taken = shards.take(np.array(index, dtype=np.int64))
    assert taken.dtype == np.int64
    assert taken.tolist() == [TOKENS[i] for i in index]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_take_as_few_bytes_as_the_vocabulary_allows(
    tmp_path: Path, vocab_size: int, dtype: type
) -> None:
    store = stores.write(tmp_path, [[[vocab_size - 1]]], vocab_size=vocab_size)
    assert store.shards.arrays[0].dtype == dtype
    assert store.take(np.array([0])).tolist() == [vocab_size - 1]


def test_what_is_empty_is_left_out(tmp_path: Path) -> None:
    store = stores.write(tmp_path, [[[], [5, 6], []], [], [[]], [[7]]], vocab_size=50)
    assert store.sentence_starts.tolist() == [0, 2, 3]
    assert store.document_starts.tolist() == [0, 1, 2]


def test_a_document_may_come_in_parts(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "shard-00000", 50)
    writer.add([[5], [6, 7]], ends_document=False)
    writer.add([], ends_document=False)
    writer.add([[8]])
    writer.add([[9]], ends_document=False)
    info = writer.close()
    assert (info.documents, info.sentences, info.tokens) == (2, 4, 5)
    sizes = np.load(tmp_path / "shard-00000" / "document_sizes.npy")
    assert sizes.tolist() == [3, 1]


def test_a_long_shard_is_flushed_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stores.write(tmp_path / "whole", DOCUMENTS, vocab_size=50)
    monkeypatch.setattr("unmask.data.writing._FLUSH", 2)
    flushed = stores.write(tmp_path / "flushed", DOCUMENTS, vocab_size=50)
    assert flushed.manifest == whole.manifest


def test_a_shard_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    killed = ShardWriter(tmp_path, "shard-00000", 50)
    killed.add([[5, 6]])
    assert ShardInfo.read(tmp_path, "shard-00000") is None
    again = ShardWriter(tmp_path, "shard-00000", 50)
    again.add([[7]])
    info = again.close()
    assert ShardInfo.read(tmp_path, "shard-00000") == info
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00000"]
    assert np.load(tmp_path / "shard-00000" / "tokens.npy").tolist() == [7]


def test_the_fingerprint_is_of_text_tokenizer_and_settings(tmp_path: Path) -> None:
    store = stores.write(tmp_path, DOCUMENTS, vocab_size=50)
    info = ShardInfo.read(store.path, "shard-00000")
    assert info is not None
    prints = {
        finish(
            store.path,
            [info],
            tokenizer=tmp_path / "made-of",
            tokenizer_fingerprint=tokenizer,
            vocab_size=50,
            settings=settings,
            text=text,
        ).fingerprint
        for tokenizer, settings, text in [
            ("one", {"a": 1}, "x"),
            ("two", {"a": 1}, "x"),
            ("one", {"a": 2}, "x"),
            ("one", {"a": 1}, "y"),
            ("one", {"a": 1}, None),
        ]
    }
    assert len(prints) == 5
    twin = stores.write(tmp_path / "twin", DOCUMENTS, vocab_size=50)
    assert twin.fingerprint == store.fingerprint


def test_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text to store"):
        stores.write(tmp_path, [[[]]], vocab_size=50)


def _files(store: Store) -> list[str]:
    return sorted(store.manifest["files"])


def test_every_file_is_listed(store: Store) -> None:
    present = {
        path.relative_to(store.path).as_posix()
        for path in store.path.rglob("*")
        if path.is_file() and path.name not in (MANIFEST, "shard.json")
    }
    assert set(_files(store)) == present


def test_each_missing_or_shortened_file_is_refused_by_name(store: Store) -> None:
    for name in _files(store):
        path = store.path / name
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        with pytest.raises(UserError, match=f"{name}.*damaged.*bytes instead of"):
            Store.open(store.path)
        path.unlink()
        with pytest.raises(UserError, match=f"{name}.*damaged.*missing"):
            Store.open(store.path)
        path.write_bytes(content)
    Store.open(store.path).verify()


def test_each_changed_byte_is_refused_by_name(store: Store) -> None:
    for name in _files(store):
        path = store.path / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match=f"{name}.*damaged.*changed"):
            Store.open(store.path).verify()
        path.write_bytes(content)


def test_an_array_of_another_kind_is_refused_by_name(store: Store) -> None:
    path = store.path / "unigrams.npy"
    np.save(path, np.zeros(50, dtype=np.float64))  # as many bytes as there should be
    with pytest.raises(UserError, match=r"unigrams\.npy.*damaged.*float64"):
        Store.open(store.path)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(UserError, match=r"unigrams\.npy.*damaged.*header"):
        Store.open(store.path)


def test_what_is_no_store_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such token store"):
        Store.open(tmp_path / "nowhere")
    manifest = json.loads((store.path / MANIFEST).read_text("utf-8"))
    (store.path / MANIFEST).write_text(json.dumps({**manifest, "format": 0}), "utf-8")
    with pytest.raises(UserError, match=r"format 0"):
        Store.open(store.path)
    (store.path / MANIFEST).write_text('{"format', "utf-8")
    with pytest.raises(UserError, match=rf"{MANIFEST}.*damaged"):
        Store.open(store.path)
    (store.path / MANIFEST).unlink()
    with pytest.raises(UserError, match=r"half-written"):
        Store.open(store.path)


def test_a_store_is_half_written_until_it_is_finished_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = [ShardInfo.read(store.path, f"shard-{k:05d}") for k in range(3)]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", stop)
    with pytest.raises(KeyboardInterrupt):
        finish(
            store.path,
            [info for info in infos if info],
            tokenizer=store.tokenizer,
            tokenizer_fingerprint="tiny",
            vocab_size=50,
        )
    with pytest.raises(UserError, match="half-written"):
        Store.open(store.path)
