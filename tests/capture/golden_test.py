#!/usr/bin/env python3
"""Whether the golden captures are still what is written, and are read as they were.

    golden_test.py SLUICE_CAPTURE MAKE_CAPTURES GOLDEN

compares what `make-captures golden` writes now with the files in GOLDEN, byte by byte, what
reader.py makes of these with the expected.json beside them, and what sluice-capture makes of them
with that. After a change that is meant:

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
                # Without our own file, which is none of a capture: beside it nothing would be one.
                capture = pathlib.Path(directory, "capture")
                shutil.copytree(golden, capture, ignore=shutil.ignore_patterns(EXPECTED))
                out = pathlib.Path(directory, "out")
                self.assertEqual(list(agree.differences(self.tool, str(capture), str(out))), [])


if __name__ == "__main__":
    Golden.golden = pathlib.Path(sys.argv.pop())
    Golden.make_captures = sys.argv.pop()
    Golden.tool = sys.argv.pop()
    unittest.main()
