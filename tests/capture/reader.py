#!/usr/bin/env python3
"""A second reader of captures, written from iolib/capture/FORMAT.md, to check the one in C++.

    reader.py [--json] DIR

prints one JSON object (with --json on one line) and exits with its verdict. It exits with 2 for a
wrong call or an unreadable DIR. For a capture of a later version it prints
{"refused": FILE, "verdict": 1}.

    {"connections": [CONNECTION…],      by run, worker and number
     "lost_connections": N,             the sum of the `lost` records
     "findings": [[FILE, OFFSET, BYTES, "torn" | "damage"]…],
     "verdict": 0 clean | 3 torn | 4 gaps | 5 damage}

Some findings have 0 bytes: a segment that is missing within a chain, at offset 0 and under its
sealed name; a missing footer, at the end of the file; and a `close` that does not agree with what
was read, at its record.

    CONNECTION:
    {"id": TEXT, "run": TEXT, "worker": N, "number": N,
     "route": TEXT, "client": TEXT, "upstream": TEXT,     null if not known
     "begin_wall": NS, "begin_monotonic": NS,             null if not known
     "end_wall": NS, "end_monotonic": NS,                 those of the `close`, or null
     "state": "closed" | "open" | "cut",
     "reason": TEXT,                                      of the `close`, or null
     "sides": {"client": SIDE, "upstream": SIDE}}

    SIDE:
    {"captured": true | false,          whether it was to be recorded; null if not known
     "start": N,                        the first offset: above 0 if older segments are gone
     "offset": N,                       the offset reached
     "bytes": N,                        recorded bytes that the capture has
     "crc32c": HEX, "sha256": HEX,      of these bytes in order; 8 and 64 digits
     "gaps": [[OFFSET, BYTES, REASON]…],
     "ended": "no" | "eof" | "reset",
     "totals": {"received": N, "forwarded": N, "acknowledged": N, "recorded": N,
                "crc32c": HEX, "ended": as above},        of the `close`, or null
     "agrees": true | false}            whether `recorded` and `crc32c` of the totals are those of
                                        what was read; null without totals, without an `open`, or
                                        with a `lost` gap

REASON is the name in FORMAT.md, the digits of a number without a name, or "lost" for a gap without
a record. Adjacent gaps are not joined. Bytes of a text that are not UTF-8 become U+FFFD.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import struct
import sys

import segment as format
from crc32c import crc32c

NAME = re.compile(r"([0-9a-z]{1,32})-w([0-9]{3,})-([0-9]{10})\.(sluice|open|suspect)", re.ASCII)
SIDES = ("client", "upstream")
ENDED = {0: "no", 1: "eof", 2: "reset"}
REASONS = {1: "buffers_full", 2: "disk_full", 3: "disk_failed", 4: "limit", 5: "not_duplicated"}
SO_FAR = struct.Struct("<QQIB")
TOTALS = struct.Struct("<QQQQIB")


class Side:
    """What was read of one direction of a connection."""

    def __init__(self):
        self.begun = False  # its start is known
        self.whole = False  # and so are the bytes recorded before that
        self.captured = None
        self.start = 0
        self.offset = 0
        self.bytes = 0
        self.crc = 0
        self.sha = hashlib.sha256()
        self.gaps = []
        self.ended = "no"
        self.totals = None
        # Recorded before `start`, so that the totals can still be compared.
        self.earlier_bytes = 0
        self.running_crc = 0

    def begin(self, state):
        """Begins with the connection or, with a `state`, where an older segment ended."""
        self.begun = self.whole = True
        if state is None:
            return
        self.offset, self.earlier_bytes, self.running_crc, ended = SO_FAR.unpack_from(state)
        self.start = self.offset
        self.ended = ENDED.get(ended, "no")

    def begin_in_the_midst(self, offset):
        """Begins without an `open`: the bytes before are not known."""
        self.begun = True
        self.start = self.offset = offset

    def reach(self, offset):
        if offset > self.offset:
            self.gaps.append([self.offset, offset - self.offset, "lost"])
            self.offset = offset

    def data(self, offset, payload):
        self.reach(offset)
        fresh = payload[self.offset - offset:]
        earlier = self.earlier_bytes or self.running_crc != self.crc
        self.running_crc = crc32c(fresh, self.running_crc)
        self.crc = crc32c(fresh, self.crc) if earlier else self.running_crc
        self.sha.update(fresh)
        self.bytes += len(fresh)
        self.offset += len(fresh)

    def gap(self, offset, count, reason):
        self.reach(offset)
        count -= self.offset - offset
        if count > 0:
            self.gaps.append([self.offset, count, REASONS.get(reason, str(reason))])
            self.offset += count

    def end(self, offset, how):
        if self.ended != "no":
            return  # written again
        self.reach(offset)
        self.ended = how

    def close(self, totals):
        received, forwarded, acknowledged, recorded, crc, ended = TOTALS.unpack_from(totals)
        if self.captured:
            self.reach(received)
        self.totals = {"received": received, "forwarded": forwarded, "acknowledged": acknowledged,
                       "recorded": recorded, "crc32c": f"{crc:08x}",
                       "ended": ENDED.get(ended, "no")}

    def agrees(self):
        something_lost = any(reason == "lost" for _, _, reason in self.gaps)
        if self.totals is None or not self.whole or something_lost:
            return None
        return (self.totals["recorded"] == self.earlier_bytes + self.bytes
                and self.totals["crc32c"] == f"{self.running_crc:08x}")

    def document(self):
        return {"captured": self.captured, "start": self.start, "offset": self.offset,
                "bytes": self.bytes, "crc32c": f"{self.crc:08x}", "sha256": self.sha.hexdigest(),
                "gaps": self.gaps, "ended": self.ended, "totals": self.totals,
                "agrees": self.agrees()}


class Connection:
    """What was read of a connection, from all segments of its chain."""

    def __init__(self, number):
        self.number = number
        self.sides = [Side(), Side()]
        self.opened = None
        self.closed = None

    def take(self, record):
        if self.closed:
            return  # written again
        side = self.sides[record.side]
        if record.kind in (format.DATA, format.EOF, format.RESET, format.GAP) and not side.begun:
            side.begin_in_the_midst(record.offset)
        if record.kind == format.OPEN:
            self.open(format.fields(record.payload), record.continued)
        elif record.kind == format.DATA:
            side.data(record.offset, record.payload)
        elif record.kind == format.EOF:
            side.end(record.offset, "eof")
        elif record.kind == format.RESET:
            side.end(record.offset, "reset")
        elif record.kind == format.GAP:
            side.gap(record.offset, *struct.unpack_from("<QI", record.payload))
        elif record.kind == format.CLOSE:
            self.closed = record
            self.sides[0].close(record.payload)
            self.sides[1].close(record.payload[format.CLOSE_TOTALS_BYTES // 2:])

    def open(self, found, continued):
        if self.opened is not None:
            return  # written again, or of a later segment
        self.opened = found
        if 22 in found:
            for bit, side in enumerate(self.sides):
                side.captured = bool(found[22][0] >> bit & 1)
        for kind, side in zip((23, 24), self.sides):
            if not side.begun:
                side.begin(found.get(kind) if continued else None)

    def document(self, run, worker, chain_is_open):
        found = self.opened or {}

        def text(kind):
            return found[kind].decode("utf-8", "replace") if kind in found else None

        def number(kind):
            return int.from_bytes(found[kind], "little") if kind in found else None

        reason = None
        if self.closed:
            reason = self.closed.payload[format.CLOSE_TOTALS_BYTES:].decode("utf-8", "replace")
        return {"id": text(16) or f"{run}-{worker}-{self.number}",
                "run": run, "worker": worker, "number": self.number,
                "route": text(17), "client": text(18), "upstream": text(19),
                "begin_wall": number(20), "begin_monotonic": number(21),
                "end_wall": self.closed and self.closed.wall,
                "end_monotonic": self.closed and self.closed.monotonic,
                "state": "closed" if self.closed else "open" if chain_is_open else "cut",
                "reason": reason,
                "sides": dict(zip(SIDES, (side.document() for side in self.sides)))}


class Chain:
    """The segments of one worker in one run, read in their order."""

    def __init__(self, run, worker):
        self.run = run
        self.worker = worker
        self.connections = {}
        self.lost = 0
        self.findings = []
        self.last = None
        self.last_suffix = None

    def read(self, name, number, suffix, data, goes_on):
        """Takes the next segment. `goes_on`: it is not the last of its chain."""
        if self.last is not None and number > self.last + 1:
            missing = f"{self.run}-w{self.worker:03}-{self.last + 1:010}.sluice"
            self.findings.append([missing, 0, 0, "damage"])
        self.last = number
        self.last_suffix = suffix
        contents = format.Segment(data, suffix)
        if suffix == "suspect" and goes_on:
            contents.stop_at_torn()
        self.findings += [[name, *finding] for finding in contents.findings]
        for record in contents.records:
            if record.kind == format.SEGMENT and not self.is_own(number, record.payload):
                self.findings.append([name, record.at, 0, "damage"])
            if record.kind == format.GAP and not any(record.payload[:8]):
                continue  # a gap of 0 bytes
            if record.kind == format.LOST:
                self.lost += int.from_bytes(record.payload[:8], "little")
            elif record.kind in format.OF_A_CONNECTION:
                connection = self.connections.setdefault(record.connection,
                                                         Connection(record.connection))
                is_close = record.kind == format.CLOSE and not connection.closed
                connection.take(record)
                if is_close and any(side.agrees() is False for side in connection.sides):
                    self.findings.append([name, record.at, 0, "damage"])

    def is_own(self, number, payload):
        """Whether a `segment` record names the file that it is in."""
        found = format.fields(payload)
        return (found[1] == self.run.encode() and number == int.from_bytes(found[3], "little")
                and self.worker == int.from_bytes(found[2], "little"))

    def documents(self, writer_lives):
        is_open = writer_lives and self.last_suffix == "open"
        return [self.connections[number].document(self.run, self.worker, is_open)
                for number in sorted(self.connections)]


def segments(directory):
    """(run, worker, number, suffix, path) of each regular file with a segment's name, in order."""
    found = []
    for entry in os.scandir(directory):
        match = NAME.fullmatch(entry.name)
        if match and entry.is_file(follow_symlinks=False):
            run, worker, number, suffix = match.groups()
            found.append((run, int(worker), int(number), suffix, entry.path))
    return sorted(found)


def has_writer(directory):
    """Whether a process holds the lock on the file `lock`."""
    layout = "hhqqi0q"  # struct flock of fcntl(2)
    try:
        with open(os.path.join(directory, "lock"), "rb") as file:
            asked = struct.pack(layout, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    except FileNotFoundError:
        return False
    return struct.unpack(layout, found)[0] != fcntl.F_UNLCK


def read_capture(directory):
    """The JSON object that the docstring of this file describes."""
    chains = {}
    found = segments(directory)
    for (run, worker, number, suffix, path), after in zip(found, found[1:] + [None]):
        chain = chains.setdefault((run, worker), Chain(run, worker))
        goes_on = after is not None and after[:2] == (run, worker)
        with open(path, "rb") as file:
            data = file.read()
        try:
            chain.read(os.path.basename(path), number, suffix, data, goes_on)
        except format.Unsupported:
            return {"refused": os.path.basename(path), "verdict": 1}
    lives = has_writer(directory)
    connections = [document for chain in chains.values() for document in chain.documents(lives)]
    findings = [finding for chain in chains.values() for finding in chain.findings]
    lost = sum(chain.lost for chain in chains.values())
    return {"connections": connections, "lost_connections": lost, "findings": findings,
            "verdict": verdict(connections, lost, findings)}


def verdict(connections, lost, findings):
    kinds = {finding[3] for finding in findings}
    if "damage" in kinds:
        return 5
    if lost or any(side["gaps"] for connection in connections
                   for side in connection["sides"].values()):
        return 4
    return 3 if "torn" in kinds else 0


def main():
    parser = argparse.ArgumentParser(description="Reads a capture and tells what is in it.")
    parser.add_argument("--json", action="store_true", help="on one line")
    parser.add_argument("directory", metavar="DIR")
    arguments = parser.parse_args()
    try:
        document = read_capture(arguments.directory)
    except OSError as error:
        print(f"reader.py: {error}", file=sys.stderr)
        return 2
    print(json.dumps(document, ensure_ascii=False, indent=None if arguments.json else 1))
    return document["verdict"]


if __name__ == "__main__":
    sys.exit(main())
