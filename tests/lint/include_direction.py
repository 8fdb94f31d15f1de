"""Checks ARCHITECTURE.md, "Top level": what is at the root, and which folder includes which.

usage: include_direction.py ROOT

A folder may include itself and what its row below names, as "folder/file.h" from the root. No file
may include itself in a circle. The row also has the libraries that the folder may include, besides
the standard library and the system. Prints one line for each violation; exit status 1 if there is
one.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

AT_ROOT = {"proxy", "iolib", "tools", "tests", "meson.build", "meson_options.txt", "README.md",
           "ARCHITECTURE.md", "CHANGELOG.md"}
SCANNED = ("iolib", "proxy", "tools", "tests")
SUFFIXES = {".h", ".hh", ".hpp", ".ipp", ".inc", ".c", ".cc", ".cpp", ".cxx"}

# The external libraries, with patterns of their angled includes.
LIBRARIES = {
    "Boost.System": r"boost/system(/.*|\.hpp)",
    "Boost.Beast": r"boost/beast(/.*|\.hpp)",
    "Boost.Asio": r"boost/asio(/.*|\.hpp)",
    "Boost.Intrusive": r"boost/intrusive/.*",
    "Boost.JSON": r"boost/json(/.*|\.hpp)",
    "RE2": r"re2/.*",
    "liburing": r"liburing(/.*|\.h)",
    "ISA-L": r"isa-l(/.*|\.h)",
    "spdlog": r"spdlog/.*",
    "toml++": r"toml\+\+/.*",
    "GoogleTest": r"g(test|mock)/.*",
}
# The system's headers, and the C++ standard library's: one lower-case word without a suffix.
SYSTEM = re.compile(
    r"[a-z_0-9]+|(sys|net|netinet|netpacket|arpa|linux|asm)/.*|"
    r"(alloca|cpuid|dirent|dlfcn|elf|endian|err|errno|execinfo|fcntl|fnmatch|getopt|glob|grp|"
    r"ifaddrs|immintrin|inttypes|langinfo|libgen|limits|locale|malloc|memory|netdb|nl_types|"
    r"nmmintrin|poll|pthread|pty|pwd|regex|resolv|sched|semaphore|setjmp|signal|spawn|stdarg|"
    r"stddef|stdint|stdio|stdlib|string|strings|syscall|sysexits|syslog|termios|time|ucontext|"
    r"unistd|utime|wait|x86intrin|xmmintrin)\.h"
)


@dataclass(frozen=True)
class Row:
    """One row of the table: the folders and single files, and the libraries, that it may include."""

    files: tuple[str, ...] = ()
    libraries: frozenset[str] = frozenset()


def row(*files: str, libraries: tuple[str, ...] = ()) -> Row:
    return Row(files, frozenset(libraries))


BASE, REACTOR, PIPE, DISK = "iolib/base/", "iolib/reactor/", "iolib/pipe/", "iolib/disk/"
TAP = "iolib/relay/tap.h"
CONFIG, LOG, NAMES, UPSTREAM = "proxy/config/", "proxy/log/", "proxy/names/", "proxy/upstream/"
ENTRY, HEALTH, ADMIN = "proxy/entry/", "proxy/health/", "proxy/admin/"
LISTEN, TAPS, SERVE, RUN = "proxy/listen/", "proxy/taps/", "proxy/serve/", "proxy/run/"
TAKEOVER, MANAGER, RELOAD = "proxy/takeover/", "proxy/system/", "proxy/reload/"
# A file's row is the longest prefix of its path.
ROWS = {
    BASE: row(libraries=("Boost.System", "ISA-L")),
    "iolib/balance/": row(BASE),
    "iolib/json/": row(libraries=("Boost.JSON",)),
    "iolib/wire/": row(BASE),
    "iolib/page/": row(),
    REACTOR: row(BASE, libraries=("Boost.System", "Boost.Asio", "Boost.Intrusive", "liburing")),
    PIPE: row(BASE),
    "iolib/relay/": row(BASE, "iolib/balance/", REACTOR, PIPE),
    DISK: row(BASE, REACTOR),
    "iolib/capture/": row(BASE, REACTOR, PIPE, DISK, TAP, libraries=("Boost.Intrusive",)),
    "iolib/mirror/": row(BASE, REACTOR, PIPE, TAP, libraries=("Boost.Intrusive",)),
    CONFIG: row("iolib/", libraries=("toml++",)),
    LOG: row("iolib/", CONFIG, libraries=("spdlog",)),
    NAMES: row("iolib/"),
    UPSTREAM: row("iolib/", CONFIG, LOG, NAMES, libraries=("Boost.Intrusive",)),
    ENTRY: row("iolib/", CONFIG),
    HEALTH: row("iolib/", CONFIG, LOG, UPSTREAM),
    LISTEN: row("iolib/", CONFIG, LOG, UPSTREAM),
    MANAGER: row("iolib/", LOG, LISTEN),
    TAPS: row("iolib/", CONFIG, LOG, UPSTREAM),
    SERVE: row("iolib/", CONFIG, LOG, UPSTREAM, ENTRY, LISTEN, TAPS, libraries=("Boost.Intrusive",)),
    ADMIN: row("iolib/", CONFIG, LOG, UPSTREAM, LISTEN, TAPS, SERVE + "session_info.h"),
    # Beast takes long to compile, so only this file includes it.
    ADMIN + "http_server": row("iolib/", libraries=("Boost.System", "Boost.Asio", "Boost.Beast")),
    TAKEOVER: row("iolib/", CONFIG, LOG, UPSTREAM, LISTEN, TAPS),
    RELOAD: row("iolib/", CONFIG, LOG, UPSTREAM, LISTEN, TAPS, ADMIN + "commands.h"),
    RUN: row("iolib/", CONFIG, LOG, UPSTREAM, HEALTH, ADMIN, LISTEN, MANAGER, TAPS, SERVE, TAKEOVER, RELOAD),
    # Only the control thread of the daemon runs on an io_context.
    RUN + "control": row("iolib/", CONFIG, LOG, UPSTREAM, HEALTH, LISTEN, TAPS, SERVE,
                         libraries=("Boost.System", "Boost.Asio")),
    RUN + "look_ups": row("iolib/", CONFIG, LOG, NAMES, UPSTREAM, SERVE + "file_thread.h",
                          libraries=("Boost.System", "Boost.Asio")),
    UPSTREAM + "resolve": row("iolib/", CONFIG, LOG, NAMES, libraries=("Boost.System", "Boost.Asio")),
    "proxy/": row("iolib/"),  # including all its folders
    "tools/": row("iolib/"),
    # Beast takes long to compile, so only this file includes it.
    "tools/ctl/client": row("iolib/", "tools/common/", libraries=("Boost.System", "Boost.Asio", "Boost.Beast")),
    # Only this file searches with RE2.
    "tools/replay/patterns": row("iolib/", "tools/replay/patterns.h", libraries=("RE2",)),
    "tests/": row("iolib/", "proxy/", "tools/", libraries=tuple(LIBRARIES)),
}

COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include(?:_next)?\b[ \t]*(.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Include:
    line: int
    name: str  # with its quotes or angles


def includes_of(text: str) -> list[Include]:
    """The #include lines of `text`, except those in comments."""

    def without_comment(match: re.Match) -> str:
        found = match.group()
        return found if found.startswith('"') else "\n" * found.count("\n")

    text = COMMENT.sub(without_comment, text)
    return [Include(text.count("\n", 0, match.start()) + 1, match.group(1))
            for match in INCLUDE.finditer(text)]


def row_of(path: str) -> str | None:
    return max((prefix for prefix in ROWS if path.startswith(prefix)), key=len, default=None)


def quoted_violation(root: Path, path: str, name: str) -> str | None:
    """The problem with #include "name" in `path`, or None."""
    if ".." in Path(name).parts or not (root / name).is_file():
        return f'"{name}" is no file as seen from the root'
    own = row_of(path)
    folder = own[: own.rindex("/") + 1]
    if name.startswith((folder, *ROWS[own].files)):
        return None
    return f'{own} may not include "{name}"'


def angled_violation(path: str, name: str) -> str | None:
    """The problem with #include <name> in `path`, or None."""
    if name.startswith(tuple(f"{folder}/" for folder in SCANNED)):
        return f'<{name}> is our own: "{name}"'
    for library, pattern in LIBRARIES.items():
        if re.fullmatch(pattern, name):
            own = row_of(path)
            return None if library in ROWS[own].libraries else f"{own} may not use {library}: <{name}>"
    return None if SYSTEM.fullmatch(name) else f"<{name}> belongs to no library that may be used"


def circles(graph: dict[str, list[str]]) -> list[list[str]]:
    """One path for each circle of includes."""
    found, done, trail = [], set(), []

    def visit(path: str) -> None:
        if path in trail:
            found.append([*trail[trail.index(path) :], path])
        elif path not in done:
            trail.append(path)
            for target in graph.get(path, []):
                visit(target)
            trail.pop()
            done.add(path)

    for path in sorted(graph):
        visit(path)
    return found


def violations(root: Path) -> list[str]:
    """All problems of the tree at `root`, one a line."""
    found = [f"{entry.name}: nothing else lives at the root"
             for entry in sorted(root.iterdir())
             if not (entry.name in AT_ROOT or entry.name.startswith(".")
                     or (entry.is_dir() and entry.name.startswith("build")))]
    sources = sorted(path for folder in SCANNED for path in (root / folder).rglob("*")
                     if path.suffix in SUFFIXES and path.is_file())
    graph: dict[str, list[str]] = {}
    for source in sources:
        path = source.relative_to(root).as_posix()
        if row_of(path) is None:
            found.append(f"{path}: stands in no folder of the table")
            continue
        graph[path] = []
        for include in includes_of(source.read_text(encoding="utf-8")):
            name = include.name[1:-1]
            if re.fullmatch(r'"[^"]+"', include.name):
                problem = quoted_violation(root, path, name)
                graph[path].append(name)
            elif re.fullmatch(r"<[^>]+>", include.name):
                problem = angled_violation(path, name)
            else:
                problem = f"#include {include.name} names no file"
            if problem:
                found.append(f"{path}:{include.line}: {problem}")
    found += ["a circle of includes: " + " -> ".join(circle) for circle in circles(graph)]
    return found


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = violations(Path(sys.argv[1]))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
