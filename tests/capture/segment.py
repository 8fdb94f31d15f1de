"""One segment file of a capture: its frames, its records, and what is torn or damaged in it.

Follows iolib/capture/FORMAT.md, and shares no code with the codec in C++.
"""

import dataclasses
import struct

from crc32c import crc32c

GRID_BYTES = 4096
MAX_FRAME_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 65536
MAGIC = b"\x89SLUICE\n"
FRAME = struct.Struct("<8sHHHH16sIIQIIII")
RECORD = struct.Struct("<IBBHIIQQQQ")

SEGMENT, OPEN, DATA, EOF, RESET, GAP, CLOSE, CLOCK, CHECKPOINT, FOOTER, LOST = range(1, 12)
CLOSE_TOTALS_BYTES = 80
# The shortest payload of each kind.
LEAST_BYTES = {DATA: 1, GAP: 16, CLOSE: CLOSE_TOTALS_BYTES, FOOTER: 16, LOST: 8}
OF_A_CONNECTION = {OPEN, DATA, EOF, RESET, GAP, CLOSE}
# Fields of a fixed length; the others are texts.
FIELD_BYTES = {2: 4, 3: 8, 20: 8, 21: 8, 22: 1, 23: 24, 24: 24}
MAX_TEXT_BYTES = 1024
NEEDED_FIELDS = {SEGMENT: {1, 2, 3}, OPEN: {16}}


@dataclasses.dataclass
class Header:
    """A frame's header."""
    ident: bytes
    number: int
    durable: int
    length: int
    used: int


@dataclasses.dataclass
class Record:
    """A good record, and where in the file it begins."""
    at: int
    kind: int
    flags: int
    connection: int
    offset: int
    monotonic: int
    wall: int
    payload: bytes

    @property
    def side(self):
        return self.flags & 1

    @property
    def continued(self):
        return bool(self.flags & 2)


def fields(payload):
    """The fields by type, except those of a wrong length; None if they are malformed."""
    found = {}
    at = 0
    while at < len(payload):
        if len(payload) - at < 4:
            return None
        kind, length = struct.unpack_from("<HH", payload, at)
        at += 4
        if length > len(payload) - at or kind in found:
            return None
        found[kind] = payload[at:at + length]
        at += length
    return {kind: value for kind, value in found.items() if right_length(kind, len(value))}


def right_length(kind, length):
    return length == FIELD_BYTES[kind] if kind in FIELD_BYTES else length <= MAX_TEXT_BYTES


def well_formed(record):
    """Whether the payload is well-formed for its kind. An unknown kind may have any payload."""
    size = len(record.payload)
    if record.kind in NEEDED_FIELDS:
        found = fields(record.payload)
        return found is not None and NEEDED_FIELDS[record.kind] <= found.keys()
    if size < LEAST_BYTES.get(record.kind, 0):
        return False
    if record.kind == CLOSE:
        return size <= CLOSE_TOTALS_BYTES + MAX_TEXT_BYTES
    if record.kind == GAP:
        size = int.from_bytes(record.payload[:8], "little")
    return record.kind not in (DATA, GAP) or record.offset + size < 1 << 64


def frame_header(data, at, ident, is_next):
    """The header at `at` if all but its number is good; of any segment if `ident` is None.

    `is_next`: a frame has to begin there.
    """
    if len(data) - at < FRAME.size:
        return None
    (magic, version, header_bytes, incompatible, _, found, number, durable, offset, length, used,
     zero, crc) = FRAME.unpack_from(data, at)
    if magic != MAGIC or crc != crc32c(data[at:at + FRAME.size - 4]):
        return None
    if (version != 1 or incompatible != 0) and is_next:
        raise Unsupported
    good = (version == 1 and header_bytes == FRAME.size and incompatible == 0 and offset == at
            and zero == 0 and length % GRID_BYTES == 0
            and GRID_BYTES <= length <= MAX_FRAME_BYTES and FRAME.size <= used <= length
            and used % 8 == 0 and durable <= number
            and (ident is None or found == ident))
    return Header(found, number, durable, length, used) if good else None


class Unsupported(Exception):
    """A frame of a later version, or with an incompatible flag, where the next one has to be."""


def follows(header, last, is_behind_bad):
    """Whether this number is possible here: a bad range hides at least one frame."""
    return header.number > last + 1 if is_behind_bad else header.number == last + 1


class Segment:
    """Reads a whole file. Afterwards `records` and `findings` have its contents.

    `findings` are [offset, bytes, "torn" | "damage"], in order of their offsets.
    """

    def __init__(self, data, suffix):
        self.data = data
        self.suffix = suffix
        self.records = []
        self.ident = self._find_ident()
        self._bad = []  # [start, end, number of its frame or of the expected one]
        self._durable = 0  # the highest `durable frames` of all good headers
        self._footer = None  # where the first footer begins
        self._behind_footer = None  # where more bytes follow it
        self._walk()
        self.findings = self._classify()

    def _find_ident(self):
        for at in range(0, len(self.data), GRID_BYTES):
            header = frame_header(self.data, at, None, at == 0)
            if header and follows(header, -1, at > 0):
                return header.ident
        return None

    def _walk(self):
        at = 0
        last = -1
        good_end = 0
        while at < len(self.data):
            is_next = at == good_end
            header = frame_header(self.data, at, self.ident, is_next) if self.ident else None
            if not header or not follows(header, last, not is_next):
                at += GRID_BYTES
                continue
            self._mark_bad(good_end, at, last + 1)
            if self._footer is not None and self._behind_footer is None:
                self._behind_footer = at
            last = header.number
            self._durable = max(self._durable, header.durable)
            self._read_frame(at, header)
            at += header.length
            good_end = min(at, len(self.data))
        self._end_of_file(good_end, last + 1)

    def _end_of_file(self, good_end, number):
        """Handles the bytes behind the last good frame; zeros do not count in an unsealed file."""
        end = len(self.data)
        if not self._sealed():
            zeros_from = len(self.data[good_end:].rstrip(b"\0")) + good_end
            end = min(end, -(-zeros_from // GRID_BYTES) * GRID_BYTES)
        self._mark_bad(good_end, end, number)

    def _sealed(self):
        return self.suffix == "sluice" and self._footer is not None

    def _mark_bad(self, start, end, number):
        if end <= start:
            return
        if self._bad and self._bad[-1][1:] == [start, number]:
            self._bad[-1][1] = end
        else:
            self._bad.append([start, end, number])

    def _read_frame(self, frame, header):
        """Takes the records of a frame whose header is good. The file may end within it."""
        used = frame + header.used
        limit = min(used, len(self.data))
        at = frame + FRAME.size
        while at < limit:
            record_end = self._read_record(frame, at, used, header.number)
            if record_end is None:
                self._mark_bad(at, min(at + 8, limit), header.number)
                at += 8
            else:
                at = record_end
        if self.data[used:frame + header.length].strip(b"\0"):
            self._mark_bad(used, min(frame + header.length, len(self.data)), header.number)
        elif used <= len(self.data) < frame + header.length:
            self._bad.append([len(self.data), len(self.data), header.number])
        elif at <= len(self.data) < used:
            self._bad.append([at, len(self.data), header.number])

    def _read_record(self, frame, at, used, number):
        """Takes the record at `at`. Returns where the next one begins, or None if its header is bad."""
        if used - at < RECORD.size or len(self.data) - at < RECORD.size:
            return None
        crc, kind, flags, header_bytes, size, payload_crc, *rest = RECORD.unpack_from(self.data, at)
        end = at + RECORD.size + size
        following = -(-end // 8) * 8
        if (header_bytes != RECORD.size or size > MAX_PAYLOAD_BYTES or following > used
                or kind == 0):
            return None
        covered = self.ident + frame.to_bytes(8, "little") + self.data[at + 4:at + RECORD.size]
        if crc != crc32c(covered):
            return None
        if end > len(self.data):
            self._mark_bad(at, len(self.data), number)
            return following
        record = Record(at, kind, flags, *rest, self.data[at + RECORD.size:end])
        if payload_crc != crc32c(record.payload) or not well_formed(record):
            self._mark_bad(at, following, number)
            return following
        if self._footer is not None and self._behind_footer is None:
            self._behind_footer = at
        if kind == FOOTER and self._footer is None:
            self._footer = at
        self.records.append(record)
        if self.data[end:following].strip(b"\0"):
            self._mark_bad(end, following, number)
        return following

    def _is_damage(self, start, number):
        behind_footer = self._footer is not None and start > self._footer
        return self._sealed() or behind_footer or self._durable > number

    def _classify(self):
        found = [[start, end - start, "damage" if self._is_damage(start, number) else "torn"]
                 for start, end, number in self._bad]
        if self._behind_footer is not None:
            found.append([self._behind_footer, len(self.data) - self._behind_footer, "damage"])
        unsealed = self.suffix == "sluice" and self._footer is None
        if unsealed and not any(kind == "torn" for _, _, kind in found):
            found.append([len(self.data), 0, "torn"])
        return sorted(found)

    def stop_at_torn(self):
        """Drops everything from the first torn range on: it was written again elsewhere."""
        torn = [index for index, finding in enumerate(self.findings) if finding[2] == "torn"]
        if torn:
            start = self.findings[torn[0]][0]
            self.findings = self.findings[:torn[0]]
            self.records = [record for record in self.records if record.at < start]
