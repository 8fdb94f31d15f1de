"""Runs include_direction.py on small trees, good and bad ones."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import include_direction

SOUND = {
    "meson.build": "",
    "README.md": "",
    ".gitignore": "",
    "iolib/base/error.h": "#include <boost/system/result.hpp>\n#include <string>\n",
    "iolib/pipe/pipe.h": '#include <fcntl.h>\n#include "iolib/base/error.h"\n',
    "iolib/reactor/uring.cc": '#include <liburing.h>\n#include "iolib/base/error.h"\n',
    "iolib/relay/tap.h": '#include "iolib/base/error.h"\n',
    "iolib/relay/pump.h": '#include "iolib/pipe/pipe.h"\n#include "iolib/relay/tap.h"\n',
    "iolib/mirror/mirror.h": '#include "iolib/relay/tap.h"\n',
    "proxy/log/log.h": "#include <spdlog/spdlog.h>\n",
    "proxy/run/control.cc": '#include <boost/asio.hpp>\n#include "proxy/log/log.h"\n',
    "tools/bench/main.cc": '#include "iolib/pipe/pipe.h"\n',
    "tests/proxy/log/log_test.cc": '#include <gtest/gtest.h>\n#include "proxy/log/log.h"\n',
}


def check(extra: dict[str, str]) -> tuple[int, list[str]]:
    """The exit status and the lines printed for the sound tree with `extra` files."""
    with tempfile.TemporaryDirectory() as directory:
        for path, text in (SOUND | extra).items():
            file = Path(directory, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), mock.patch.object(sys, "argv", ["", directory]):
            return include_direction.main(), printed.getvalue().splitlines()


class IncludeDirection(unittest.TestCase):
    def assert_sound(self, extra: dict[str, str]) -> None:
        self.assertEqual(check(extra), (0, []))

    def assert_violation(self, path: str, text: str, expected: str) -> None:
        status, lines = check({path: text})
        self.assertEqual(status, 1)
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(expected, lines[0])

    def test_sound_tree_passes(self):
        self.assert_sound({})

    def test_build_directories_at_the_root_are_ignored(self):
        self.assert_sound({"build-asan/config.h": '#include "nowhere.h"\n'})

    def test_includes_in_comments_and_strings_are_ignored(self):
        self.assert_sound({
            "iolib/base/a.h": '// #include "proxy/log/log.h"\n/*\n#include "proxy/log/log.h"\n*/\n',
            "iolib/base/b.h": 'auto a = "/*";\n#include <string>\nauto b = "*/";\n',
        })

    def test_lower_row_includes_a_row_below_it(self):
        for path, name in [
            ("iolib/base/a.h", "iolib/pipe/pipe.h"),
            ("iolib/page/a.h", "iolib/base/error.h"),
            ("iolib/pipe/a.h", "iolib/relay/tap.h"),
            ("iolib/reactor/a.h", "iolib/pipe/pipe.h"),
            ("iolib/disk/a.h", "iolib/pipe/pipe.h"),
            ("iolib/relay/a.h", "iolib/mirror/mirror.h"),
            ("iolib/relay/a.h", "proxy/log/log.h"),
            ("iolib/base/a.h", "tools/bench/main.cc"),
        ]:
            with self.subTest(path=path, name=name):
                self.assert_violation(path, f'#include "{name}"\n', f'may not include "{name}"')

    def test_a_folder_of_proxy_includes_one_that_stands_on_it(self):
        for path, name in [
            ("proxy/config/a.h", "proxy/log/log.h"),
            ("proxy/log/a.h", "proxy/run/control.cc"),
            ("proxy/serve/a.h", "proxy/run/control.cc"),
        ]:
            with self.subTest(path=path, name=name):
                self.assert_violation(path, f'#include "{name}"\n', f'may not include "{name}"')

    def test_a_tap_includes_more_of_relay_than_tap_h(self):
        self.assert_violation("iolib/mirror/a.h", '#include "iolib/relay/pump.h"\n', "may not include")

    def test_proxy_and_tools_include_each_other(self):
        self.assert_violation("proxy/a.h", '#include "tools/bench/main.cc"\n', "may not include")
        self.assert_violation("tools/a.h", '#include "proxy/log/log.h"\n', "may not include")

    def test_source_includes_tests(self):
        extra = {"tests/support/a.h": "", "proxy/a.h": '#include "tests/support/a.h"\n'}
        self.assertEqual(check(extra)[0], 1)

    def test_library_outside_its_folder(self):
        for path, name, library in [
            ("iolib/relay/a.h", "liburing.h", "liburing"),
            ("iolib/base/a.h", "boost/asio.hpp", "Boost.Asio"),
            ("iolib/pipe/a.h", "boost/asio/io_context.hpp", "Boost.Asio"),
            ("proxy/serve/session.h", "boost/asio.hpp", "Boost.Asio"),
            ("iolib/relay/a.h", "spdlog/spdlog.h", "spdlog"),
            ("tools/bench/a.h", "spdlog/spdlog.h", "spdlog"),
            ("iolib/base/a.h", "toml++/toml.h", "toml++"),
            ("iolib/pipe/a.h", "isa-l/crc.h", "ISA-L"),
            ("proxy/a.h", "gtest/gtest.h", "GoogleTest"),
        ]:
            with self.subTest(path=path, name=name):
                self.assert_violation(path, f"#include <{name}>\n", f"may not use {library}")

    def test_unknown_library(self):
        self.assert_violation("iolib/base/a.h", "#include <zlib.h>\n", "belongs to no library")
        self.assert_violation("tests/a.h", "#include <boost/any.hpp>\n", "belongs to no library")

    def test_include_not_relative_to_the_root(self):
        self.assert_violation("proxy/a.cc", '#include "log.h"\n', "no file as seen from the root")
        self.assert_violation("proxy/a.cc", '#include "../proxy/log/log.h"\n', "no file as seen")
        self.assert_violation("proxy/a.cc", "#include <proxy/log/log.h>\n", "is our own")

    def test_include_of_a_macro(self):
        self.assert_violation("proxy/a.cc", "#include HEADER\n", "names no file")

    def test_circle(self):
        status, lines = check({
            "proxy/a.h": '#include "proxy/b.h"\n',
            "proxy/b.h": '#include "proxy/c.h"\n',
            "proxy/c.h": '#include "proxy/a.h"\n',
        })
        self.assertEqual(status, 1)
        circle = "proxy/a.h -> proxy/b.h -> proxy/c.h -> proxy/a.h"
        self.assertEqual(lines, [f"a circle of includes: {circle}"])

    def test_violation_names_file_and_line(self):
        text = '/* two\n   lines */\n#  include  "proxy/log/log.h"  // why\n'
        self.assert_violation("iolib/base/a.h", text, "iolib/base/a.h:3: ")

    def test_file_in_no_folder_of_the_table(self):
        self.assert_violation("iolib/a.h", "", "stands in no folder")
        self.assert_violation("iolib/new/a.h", "", "stands in no folder")

    def test_unknown_entry_at_the_root(self):
        self.assert_violation("notes.txt", "", "nothing else lives at the root")
        self.assert_violation("docs/a.md", "", "nothing else lives at the root")

    def test_wrong_usage(self):
        with mock.patch.object(sys, "argv", [""]), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(include_direction.main(), 2)


if __name__ == "__main__":
    unittest.main()
