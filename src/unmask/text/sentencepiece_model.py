"""Models of SentencePiece (Kudo and Richardson 2018), as its files hold them.

Such a file is one message of Protocol Buffers: fields of a number and a wire type each, values of
variable length in groups of seven bits. Only what pieces and normalisation need is read; the
numbers are those of sentencepiece_model.proto.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from unmask.errors import UserError

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # of the model
_TEXT, _SCORE, _TYPE = 1, 2, 3  # of a piece
_ALGORITHM, _BYTE_FALLBACK = 3, 35  # of the trainer's settings
_CHARSMAP, _PREFIX, _FEW_BLANKS = 2, 3, 4  # of the normaliser's
_UNIGRAM, _NORMAL, _UNKNOWN, _CONTROL = 1, 1, 2, 3
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types


class Piece(NamedTuple):
    """A piece of the vocabulary."""

    text: str
    score: float
    """Logarithm of its probability."""
    special: bool
    """Whether it stands for something that is no text."""


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """What a file holds."""

    pieces: list[Piece]
    """In the order of their ids."""
    unknown: int
    """The id of what stands for unknown characters."""
    charsmap: bytes
    """The normalisation of characters, compiled; empty where there is none."""


def parse(content: bytes, source: str) -> SentencePieceModel:
    """Read the content of a file, named in errors as `source`.

    Raises UserError when it is damaged, or when it is not a Unigram model with the usual treatment
    of blanks.
    """
    pieces: list[Piece] = []
    unknown, charsmap = 0, b""
    wanted = {_TRAINER: {_ALGORITHM: _UNIGRAM, _BYTE_FALLBACK: 0}}
    wanted[_NORMALIZER] = {_PREFIX: 1, _FEW_BLANKS: 1}
    try:
        for number, value in _fields(content):
            if number == _PIECES:
                fields = dict(_fields(value))
                kind = fields.get(_TYPE, _NORMAL)
                unknown = len(pieces) if kind == _UNKNOWN else unknown
                (score,) = struct.unpack("<f", fields.get(_SCORE, bytes(4)))
                pieces.append(Piece(fields[_TEXT].decode(), score, kind in (_UNKNOWN, _CONTROL)))
            elif number in wanted:
                fields = dict(_fields(value))
                charsmap = fields.get(_CHARSMAP, b"") if number == _NORMALIZER else charsmap
                for setting, usual in wanted[number].items():
                    if fields.get(setting, usual) != usual:
                        raise UserError(
                            f"{source}: setting {number}.{setting} of SentencePiece is"
                            f" {fields[setting]}; only {usual} can be read."
                        )
    except (IndexError, KeyError, TypeError, AttributeError, ValueError, struct.error) as error:
        raise UserError(f"{source}: damaged, no SentencePiece model. Copy it anew.") from error
    return SentencePieceModel(pieces, unknown, charsmap)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Give the number and the value of each field of a message: a whole number, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        else:
            size = {_EIGHT: 8, _FOUR: 4}[kind]
        if place + size > len(message):
            raise ValueError("the message ends within a field")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Read a whole number: its value, and where the next field begins."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
