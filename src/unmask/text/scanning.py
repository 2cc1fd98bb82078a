"""Files read as they are stored: their checksum, and where they can be cut between documents."""

import hashlib
import re
from typing import NamedTuple

import fsspec

from unmask.text.opening import BLOCK, Part, naming
from unmask.text.reading import form

_BETWEEN = {".txt": re.compile(rb"\n[ \t\r]*\n"), ".jsonl": re.compile(rb"\n")}
"""What lies between two documents of a file that is not compressed, for each ending of a name."""


class Scan(NamedTuple):
    """What one reading of a file's bytes has found."""

    size: int
    """Bytes as stored."""
    sha256: str
    """Checksum of the bytes as stored, in hexadecimal."""
    parts: list[Part]
    """The parts that the file can be read in, in order: a single one where it cannot be cut."""


def scan(path: str, size: int) -> Scan:
    """Read a file's bytes once, and cut it into parts of about `size` bytes.

    Each part but the last ends between two documents, so that the parts, read one after another,
    give what the whole file gives. Raises UserError when the file cannot be read.
    """
    between = _BETWEEN.get(form(path)) if path.endswith(form(path)) else None
    digest = hashlib.sha256()
    offset = lines = 0
    cuts = [Part()]
    with naming(path), fsspec.open(path, "rb") as stored:
        while block := stored.read(BLOCK):
            digest.update(block)
            while between is not None and cuts[-1].start + size < offset + len(block):
                found = between.search(block, max(0, cuts[-1].start + size - offset))
                if found is None:
                    break
                before = lines + block.count(b"\n", 0, found.end())
                cuts.append(Part(offset + found.end(), lines=before))
            offset += len(block)
            lines += block.count(b"\n")
    if len(cuts) > 1 and cuts[-1].start == offset:
        cuts.pop()
    stops = [*(cut.start for cut in cuts[1:]), offset if between else None]
    parts = [cut._replace(stop=stop) for cut, stop in zip(cuts, stops, strict=True)]
    return Scan(offset, digest.hexdigest(), parts)
