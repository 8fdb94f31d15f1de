#!/usr/bin/env python3
"""Checks that the golden captures are still written and read the same.

    golden_test.py SLUICE_CAPTURE MAKE_CAPTURES GOLDEN

makes three comparisons: the output of `make-captures golden` with the files in GOLDEN, byte by
byte; the output of reader.py for these with the expected.json beside them; and the output of
sluice-capture with that. After an intended change:

    make-captures golden tests/capture/golden
    reader.py tests/capture/golden/NAME > tests/capture/golden/NAME/expected.json
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import agree
import reader

EXPECTED = "expected.json"


def files(directory):
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*") if path.is_file() and path.name != EXPECTED}


class Golden(unittest.TestCase):
    tool = ""
    make_captures = ""
    golden = pathlib.Path()

    def test_the_writer_has_not_drifted(self):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([self.make_captures, "golden", directory], check=True)
            written = files(pathlib.Path(directory))
        committed = files(self.golden)
        self.assertEqual(sorted(written), sorted(committed))
        self.assertTrue(committed)
        for name, contents in written.items():
            self.assertTrue(contents == committed[name], f"{name} differs")

    def captures(self):
        found = [path for path in sorted(self.golden.iterdir()) if path.is_dir()]
        self.assertTrue(found)
        return found

    def test_each_is_read_as_expected(self):
        for capture in self.captures():
            with self.subTest(capture.name):
                expected = json.loads((capture / EXPECTED).read_text(encoding="utf-8"))
                self.assertEqual(reader.read_capture(str(capture)), expected)

    def test_sluice_capture_reads_each_alike(self):
        for golden in self.captures():
            with self.subTest(golden.name), tempfile.TemporaryDirectory() as directory:
                # Without this test's own file, beside which a directory without segments is no capture.
                capture = pathlib.Path(directory, "capture")
                shutil.copytree(golden, capture, ignore=shutil.ignore_patterns(EXPECTED))
                out = pathlib.Path(directory, "out")
                self.assertEqual(list(agree.differences(self.tool, str(capture), str(out))), [])


if __name__ == "__main__":
    Golden.golden = pathlib.Path(sys.argv.pop())
    Golden.make_captures = sys.argv.pop()
    Golden.tool = sys.argv.pop()
    unittest.main()
