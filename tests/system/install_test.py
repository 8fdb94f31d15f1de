#!/usr/bin/env python3
"""Installs the build to an empty folder, and checks the files there.

usage: install_test.py BUILD VERSION BIN DATA MAN UNITS

The last four are the folders for programs, shared files, man pages and systemd units, as
configured. The files' contents must agree with them, and with the project's version.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SKIP = 77  # meson's status for a test that was skipped
PROGRAMS = ["sluice", "sluice-bench", "sluice-capture", "sluice-ctl", "sluice-replay"]
COMPLETED = ["sluice", "sluice-capture", "sluice-ctl", "sluice-replay"]
EXAMPLES = ["README.md", "capped-backup.toml", "consul.toml", "kubernetes.toml",
            "postgres-primary.toml", "postgres-standby.toml", "public-port.toml", "redis.toml",
            "sites-behind-balancer.toml", "ssh-and-tls.toml"]
MONITORING = ["grafana/sluice.json", "prometheus/alerts.yml", "prometheus/alerts_test.yml",
              "prometheus/scrape.yml"]
ENVIRONMENT = os.environ | {"LC_ALL": "C", "MANWIDTH": "80"}


class Installed:
    """The files below `root`, by their paths without it."""

    def __init__(self, root: Path):
        self.root = root
        self.seen: set[str] = set()
        self.wrong: list[str] = []

    def file(self, path: str) -> Path:
        """Where the file of this path is. Marks it as expected."""
        self.seen.add(path)
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """Its contents. A missing file is empty and reported."""
        try:
            return self.file(path).read_text()
        except OSError as error:
            self.wrong.append(f"{path}: {error.strerror}")
            return ""

    def expect(self, good: bool, complaint: str) -> None:
        if not good:
            self.wrong.append(complaint)

    def surplus(self) -> list[str]:
        """Files that no check has read."""
        found = {"/" + str(path.relative_to(self.root)) for path in self.root.rglob("*")
                 if not path.is_dir()}
        return sorted(found - self.seen)


def output_of(*command: str | Path) -> str:
    """The output of a command that succeeds; otherwise the reason."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=ENVIRONMENT)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0 and not done.stderr:
        return done.stdout
    return f"status {done.returncode}: {done.stderr.strip()}"


def install(build: Path, root: Path) -> str:
    """Installs to `root`. Empty, or the problem."""
    # `ninja uninstall` reads this log, which must stay about the user's own installation.
    log = build / "meson-logs" / "install-log.txt"
    kept = log.read_bytes() if log.exists() else None
    done = subprocess.run(["meson", "install", "--no-rebuild", "-C", build, "--destdir", root],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if kept is not None:
        log.write_bytes(kept)
    else:
        log.unlink(missing_ok=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def check_program(there: Installed, folder: str, name: str, version: str) -> None:
    said = output_of(there.file(f"{folder}/{name}"), "--version")
    there.expect(said == f"{name} {version}\n", f"{name} --version: {said!r}")


def check_man_page(there: Installed, folder: str, name: str, version: str) -> None:
    path = f"{folder}/man1/{name}.1"
    title = there.text(path).partition("\n")[0]
    there.expect(title.startswith(f".TH {name.upper()} 1 "), f"{path}: {title!r}")
    there.expect(f' "sluice {version}" ' in title, f"{path}: not of {version}: {title!r}")
    if shutil.which("man") is not None:
        page = output_of("man", "--warnings", "-l", there.file(path))
        there.expect(f"{name} - " in page, f"man {name}: {page[:300]!r}")


def check_unit(there: Installed, folder: str, programs: str) -> None:
    path = f"{folder}/sluice.service"
    started = [line.partition("=")[2].split()[0] for line in there.text(path).splitlines()
               if line.startswith("ExecStart=")]
    there.expect(started == [f"{programs}/sluice"], f"{path} starts {started}")


def check_completions(there: Installed, folder: str, name: str) -> None:
    path = f"{folder}/bash-completion/completions/{name}"
    said = output_of("bash", "-c", '. "$0" && complete -p "$1"', there.file(path), name)
    there.expect(said.startswith("complete "), f"{path}: {said!r}")
    path = f"{folder}/zsh/site-functions/_{name}"
    there.expect(there.text(path).startswith(f"#compdef {name}\n"), f"{path}: not for {name}")
    path = f"{folder}/fish/vendor_completions.d/{name}.fish"
    there.expect(f"complete -c {name} " in there.text(path), f"{path}: not for {name}")


def check_example(there: Installed, folder: str, programs: str, name: str) -> None:
    path = f"{folder}/doc/sluice/examples/{name}"
    there.expect(there.text(path).startswith("# "), f"{path}: begins without a heading or comment")
    if not name.endswith(".toml"):
        return
    # A list of addresses is the user's; here it is empty.
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config, \
            tempfile.NamedTemporaryFile("w") as empty:
        text = there.text(path).replace("file:/etc/sluice/deny.txt", f"file:{empty.name}")
        config.write(text)
        config.flush()
        said = output_of(there.file(f"{programs}/sluice"), "--config", config.name, "--check")
        there.expect("configuration: good" in said, f"{path}: {said!r}")


def check_monitoring(there: Installed, folder: str) -> None:
    """The files are there, and find each other."""
    folder = f"{folder}/doc/sluice"
    texts = {name: there.text(f"{folder}/{name}") for name in MONITORING}
    there.expect(all(texts.values()), f"{folder}: a file for monitoring is empty")
    if shutil.which("promtool") is not None:
        for action, name in (("check config", "scrape.yml"), ("test rules", "alerts_test.yml")):
            said = output_of("promtool", *action.split(), there.file(f"{folder}/prometheus/{name}"))
            there.expect("SUCCESS" in said, f"promtool {action}: {said!r}")


def main() -> int:
    build, version, programs, data, man, units = Path(sys.argv[1]), *sys.argv[2:]
    if shutil.which("meson") is None:
        print("skipped: meson is not in $PATH")
        return SKIP
    with tempfile.TemporaryDirectory() as folder:
        there = Installed(Path(folder))
        refused = install(build, there.root)
        if refused:
            print(refused)
            return 1
        for name in PROGRAMS:
            check_program(there, programs, name, version)
            check_man_page(there, man, name, version)
        for name in COMPLETED:
            check_completions(there, data, name)
        for name in EXAMPLES:
            check_example(there, data, programs, name)
        check_monitoring(there, data)
        check_unit(there, units, programs)
        there.wrong += [f"{path}: nobody expects it" for path in there.surplus()]
    print("\n".join(there.wrong) or f"{len(there.seen)} files")
    return 1 if there.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
