#!/usr/bin/env python3
"""Tests of reader.py, on segments made here frame by frame from iolib/capture/FORMAT.md."""

import os
import pathlib
import struct
import tempfile
import unittest

import reader
import segment as format
from crc32c import crc32c

IDENT = bytes(range(16))
NAME = "run-w000-0000000000"


def field(kind, value):
    return struct.pack("<HH", kind, len(value)) + value


def segment_fields(number):
    return field(1, b"run") + field(2, bytes(4)) + field(3, number.to_bytes(8, "little"))


def record(kind, payload=b"", offset=0, side=0, connection=1, flags=0):
    """The parameters with which frame() writes a record."""
    return kind, side | flags, connection, offset, payload


def frame(records, number=0, at=0, durable=0, ident=IDENT, size=4096):
    body = b""
    for kind, flags, connection, offset, payload in records:
        rest = struct.pack("<BBHIIQQQQ", kind, flags, 48, len(payload), crc32c(payload), connection,
                           offset, 10, 20)
        body += struct.pack("<I", crc32c(ident + at.to_bytes(8, "little") + rest)) + rest + payload
        body += bytes(-len(payload) % 8)
    head = struct.pack("<8sHHHH16sIIQIII", format.MAGIC, 1, 64, 0, 0, ident, number, durable, at,
                       size, 64 + len(body), 0)
    return (head + struct.pack("<I", crc32c(head)) + body).ljust(size, b"\0")


def first(*records, number=0):
    return frame([record(format.SEGMENT, segment_fields(number), connection=0), *records])


def opened():
    return record(format.OPEN, field(16, b"id"))


def footer():
    return record(format.FOOTER, bytes(16), connection=0)


def sealed(*records):
    return first(opened(), *records, footer())


def read(**files):
    """The reader's document of a capture with these files; `open` and so on are their suffixes."""
    with tempfile.TemporaryDirectory() as directory:
        for suffix, contents in files.items():
            pathlib.Path(directory, f"{NAME}.{suffix}").write_bytes(contents)
        return reader.read_capture(directory)


def kinds(document):
    return [finding[3] for finding in document["findings"]]


def client(document):
    return document["connections"][0]["sides"]["client"]


class Checksum(unittest.TestCase):
    def test_of_the_digits_and_in_parts(self):
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(b""), 0)
        data = bytes(range(100))
        for cut in range(100):
            self.assertEqual(crc32c(data[cut:], crc32c(data[:cut])), crc32c(data))


class Faults(unittest.TestCase):
    def test_no_flipped_bit_is_accepted(self):
        whole = sealed(record(format.DATA, b"x" * 100))
        self.assertEqual(read(sluice=whole)["verdict"], 0)
        for at in range(len(whole)):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << at % 8
            self.assertTrue(format.Segment(bytes(flipped), "sluice").findings, at)

    def test_what_is_cut_is_torn_up_to_the_footer_and_damaged_behind_it(self):
        last = frame([record(format.DATA, b"x" * 100), footer()], 1, 4096, 1)
        whole = first(opened()) + last
        footer_end = 4096 + len(last.rstrip(b"\0")) // 8 * 8 + 8 + 16
        for size in range(0, len(whole), 8):
            expected = "torn" if size < footer_end else "damage"
            found = format.Segment(whole[:size], "sluice").findings
            self.assertEqual({finding[2] for finding in found}, {expected}, size)

    def test_zeros_behind_the_end_are_nothing_but_in_a_sealed_segment(self):
        unfinished = first(opened())
        self.assertEqual(read(open=unfinished + bytes(8192))["verdict"], 0)
        self.assertEqual(read(open=unfinished + bytes(8192) + b"x")["verdict"], 3)
        self.assertEqual(read(sluice=sealed() + bytes(8192))["verdict"], 5)

    def test_a_bad_frame_is_damage_once_a_later_one_calls_it_durable(self):
        for durable, expected in ((1, "torn"), (2, "damage")):
            data = first(opened()) + bytes(4096) + frame([opened()], 2, 8192, durable)
            self.assertEqual(kinds(read(open=data)), [expected])

    def test_a_number_that_cannot_follow_is_not_good(self):
        for number, good in ((0, False), (1, False), (2, True), (3, True)):
            data = first(opened()) + bytes(4096) + frame([opened()], number, 8192)
            self.assertEqual(format.Segment(data, "open").findings[0][1] == 4096, good, number)
        data = first(opened()) + frame([opened()], 2, 4096)
        self.assertEqual(kinds(read(open=data)), ["torn"])

    def test_a_frame_of_another_segment_is_not_good(self):
        other = frame([record(format.DATA, b"x")], 1, 4096, ident=bytes(16))
        self.assertEqual(read(open=first(opened()) + other)["findings"],
                         [[f"{NAME}.open", 4096, 4096, "torn"]])

    def test_nothing_may_follow_a_footer(self):
        data = sealed() + frame([footer()], 1, 4096)
        self.assertEqual(kinds(read(sluice=data)), ["damage"])

    def test_zeros_where_a_record_should_be_are_bad(self):
        data = bytearray(first(opened(), record(format.DATA, b"x" * 500)))
        data[512:] = bytes(len(data) - 512)
        self.assertEqual(kinds(read(open=bytes(data))), ["torn"])

    def test_a_record_counts_though_the_bytes_behind_it_are_not_zero(self):
        data = bytearray(first(opened(), record(format.DATA, b"xyz")))
        at = data.rindex(b"xyz") + 3
        data[at] = 1
        document = read(open=bytes(data))
        self.assertEqual(document["findings"], [[f"{NAME}.open", at, 5, "torn"]])
        self.assertEqual(client(document)["bytes"], 3)

    def test_a_record_within_a_payload_is_not_taken_for_one(self):
        forged = frame([record(format.DATA, b"forged")], ident=bytes(16))[64:128]
        data = bytearray(first(opened(), record(format.DATA, forged),
                               record(format.DATA, b"later", offset=64)))
        data[data.index(forged) - 48] ^= 1
        document = read(open=bytes(data))
        self.assertEqual(client(document)["gaps"], [[0, 64, "lost"]])
        self.assertEqual(client(document)["bytes"], 5)

    def test_a_frame_that_may_not_be_read_ends_it(self):
        data = bytearray(first(opened()))
        data[12] = 1
        data[60:64] = crc32c(data[:60]).to_bytes(4, "little")
        self.assertEqual(read(open=bytes(data)), {"refused": f"{NAME}.open", "verdict": 1})

    def test_a_payload_beyond_the_last_offset_is_malformed(self):
        gap = record(format.GAP, struct.pack("<QQ", 2, 1), offset=(1 << 64) - 2)
        self.assertEqual(kinds(read(open=first(opened(), gap))), ["torn"])


class Streams(unittest.TestCase):
    def test_what_was_written_again_is_skipped_up_to_the_offset_reached(self):
        document = read(open=first(opened(), record(format.DATA, b"abc"),
                                   record(format.DATA, b"abcd"),
                                   record(format.DATA, b"bc", offset=1),
                                   record(format.GAP, struct.pack("<QQ", 5, 4), offset=2)))
        self.assertEqual(client(document)["bytes"], 4)
        self.assertEqual(client(document)["crc32c"], f"{crc32c(b'abcd'):08x}")
        self.assertEqual(client(document)["gaps"], [[4, 3, "limit"]])

    def test_an_end_beyond_the_offset_reached_tells_of_a_loss(self):
        document = read(open=first(opened(), record(format.RESET, offset=9)))
        self.assertEqual(client(document)["gaps"], [[0, 9, "lost"]])
        self.assertEqual(client(document)["ended"], "reset")
        self.assertEqual(document["verdict"], 4)

    def test_a_close_tells_of_a_lost_tail_of_a_side_that_was_to_be_recorded(self):
        both = field(16, b"id") + field(22, b"\1")
        totals = struct.pack("<QQQQIB3x", 9, 9, 9, 9, 0, 0) * 2
        document = read(open=first(record(format.OPEN, both), record(format.CLOSE, totals)))
        self.assertEqual(client(document)["gaps"], [[0, 9, "lost"]])
        self.assertEqual(document["connections"][0]["sides"]["upstream"]["gaps"], [])

    def test_what_stands_behind_a_hole_in_a_suspect_segment_comes_again(self):
        later = frame([record(format.DATA, b"def", offset=3)], 2, 8192)
        suspect = first(opened()) + bytes(4096) + later
        again = first(record(format.DATA, b"abc"), record(format.DATA, b"def", offset=3),
                      number=1)
        with tempfile.TemporaryDirectory() as directory:
            pathlib.Path(directory, f"{NAME}.suspect").write_bytes(suspect)
            self.assertEqual(client(reader.read_capture(directory))["bytes"], 3)
            pathlib.Path(directory, "run-w000-0000000001.open").write_bytes(again)
            document = reader.read_capture(directory)
        self.assertEqual(client(document)["bytes"], 6)
        self.assertEqual(document["verdict"], 0)

    def test_the_first_frame_of_another_segment_is_damage(self):
        self.assertEqual(read(open=first(opened(), number=1))["verdict"], 5)

    def test_only_a_connection_not_seen_before_starts_where_the_table_says(self):
        so_far = field(16, b"id") + field(23, struct.pack("<QQIB3x", 70, 60, 5, 0))
        table = record(format.OPEN, so_far, flags=2)
        self.assertEqual(client(read(open=first(table)))["start"], 70)
        self.assertEqual(client(read(open=first(opened(), table)))["offset"], 0)

    def test_a_close_that_says_otherwise_is_damage(self):
        totals = struct.pack("<QQQQIB3x", 3, 3, 3, 3, 1, 0) + bytes(40)
        document = read(open=first(opened(), record(format.DATA, b"abc"),
                                   record(format.CLOSE, totals)))
        self.assertIs(client(document)["agrees"], False)
        self.assertEqual(kinds(document), ["damage"])

    def test_without_its_open_a_connection_is_named_by_its_numbers(self):
        document = read(open=first(record(format.DATA, b"abc", connection=7)))
        self.assertEqual(document["connections"][0]["id"], "run-0-7")


class Directory(unittest.TestCase):
    def test_only_regular_files_count(self):
        with tempfile.TemporaryDirectory() as directory:
            target = pathlib.Path(directory, "elsewhere")
            target.write_bytes(sealed())
            os.symlink(target, pathlib.Path(directory, f"{NAME}.sluice"))
            os.mkfifo(pathlib.Path(directory, "run-w000-0000000001.open"))
            pathlib.Path(directory, "run-w000-0000000002.open").mkdir()
            self.assertEqual(reader.read_capture(directory)["connections"], [])


if __name__ == "__main__":
    unittest.main()
