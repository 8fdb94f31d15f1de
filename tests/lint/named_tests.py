"""Checks that the tests and sources that ARCHITECTURE.md names exist.

usage: named_tests.py ROOT

Prints one line for each name that does not; exit status 1 if there is one.
"""

import re
import sys
from pathlib import Path


def missing(root: Path) -> list[str]:
    """What is named and not there: `Suite.Test`, `Suite.*`, and `file.cc` or `file.h`."""
    document = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    sources = [path for folder in ("iolib", "proxy", "tools", "tests")
               for path in (root / folder).rglob("*") if path.suffix in (".cc", ".h")]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in sources
                      if path.is_relative_to(root / "tests") and path.suffix == ".cc")
    found = []
    for suite, case in re.findall(r"`([A-Z]\w+)\.(\w+|\*)`", document):
        end = "" if case == "*" else rf"\s*{case}\)"
        if (suite, case) != ("FORMAT", "md") and not re.search(rf"TEST\w*\({suite},{end}", tests):
            found.append(f"ARCHITECTURE.md: there is no test {suite}.{case}")
    names = {path.name for path in sources}
    found += [f"ARCHITECTURE.md: there is no file {name}"
              for name in re.findall(r"`(\w+\.(?:cc|h))`", document) if name not in names]
    if not found and "Test." not in document:
        found.append("ARCHITECTURE.md: names no test")
    return found


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = missing(Path(sys.argv[1]))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
