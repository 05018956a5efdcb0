"""Protocol buffers' wire format, as far as TensorFlow's checkpoints need it: a message's fields by number.

A message holds other messages, or numbers, as runs of bytes. Nothing is copied until it is asked for, so that a tensor
of 100 MB costs no more than its place. Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import CheckpointError

VARINT, FIXED64, RUN, FIXED32 = 0, 1, 2, 5
WIDTHS = {FIXED64: 8, FIXED32: 4}
MOST_FIELDS = 100_000  # in one message: each takes some 100 bytes of memory, whatever it takes in the file


def varint(what: str, data: memoryview, start: int) -> tuple[int, int]:
    """Return an unsigned number of up to ten bytes, seven bits each, and the place after it. Raises CheckpointError."""
    value = 0
    for length in range(10):
        if start + length >= len(data):
            break
        byte = data[start + length]
        value |= (byte & 0x7F) << (7 * length)
        if byte < 0x80 and value < 1 << 64:
            return value, start + length + 1
    raise CheckpointError(f"{what}: a number has no end: truncated or mangled")


@dataclass(frozen=True)
class Message:
    """The fields of one message. A singular field that is missing has proto3's default, 0 or nothing."""

    what: str  # that the bytes come from, for errors
    varints: dict[int, list[int]]
    runs: dict[int, list[memoryview]]  # also fixed32 and fixed64

    def integer(self, field: int) -> int:
        """Return a singular integer."""
        return self.varints.get(field, [0])[-1]

    def run(self, field: int) -> memoryview:
        """Return a singular run of bytes."""
        return self.runs.get(field, [memoryview(b"")])[-1]

    def text(self, field: int) -> str:
        """Return a singular text."""
        return bytes(self.run(field)).decode(errors="replace")

    def message(self, field: int) -> Message:
        """Return a singular message."""
        return parse_message(self.what, self.run(field))

    def messages(self, field: int) -> list[Message]:
        """Return a repeated message."""
        return [parse_message(self.what, run) for run in self.runs.get(field, [])]

    def integers(self, field: int) -> list[int]:
        """Return a repeated integer, which may be packed into one run."""
        found = list(self.varints.get(field, []))
        for run in self.runs.get(field, []):
            place = 0
            while place < len(run):
                value, place = varint(self.what, run, place)
                found.append(value)
                if len(found) > MOST_FIELDS:
                    raise CheckpointError(f"{self.what}: field {field} has more than {MOST_FIELDS} integers: mangled")
        return found


def parse_message(what: str, data: memoryview) -> Message:
    """Return the fields of the message in `data`. Raises CheckpointError if it is no message."""
    message = Message(what, {}, {})
    place = fields = 0
    while place < len(data):
        fields += 1
        if fields > MOST_FIELDS:
            raise CheckpointError(f"{what}: a message has more than {MOST_FIELDS} fields: mangled")
        tag, place = varint(what, data, place)
        field, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, place = varint(what, data, place)
            message.varints.setdefault(field, []).append(value)
            continue
        if kind == RUN:
            length, place = varint(what, data, place)
        elif kind in WIDTHS:
            length = WIDTHS[kind]
        else:
            raise CheckpointError(f"{what}: field {field} has the unknown kind {kind}: mangled")
        if length > len(data) - place:
            raise CheckpointError(f"{what}: field {field} is longer than the message: truncated or mangled")
        message.runs.setdefault(field, []).append(data[place : place + length])
        place += length
    return message
