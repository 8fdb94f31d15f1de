"""Opens pages in headless Chromium, for the tests of pages."""

import html
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SKIPPED = 77

PROBE = """
const probe = document.createElement('pre');
probe.id = 'probe';
probe.textContent = JSON.stringify((() => { %s })());
document.body.append(probe);
"""


def probe(body: str) -> str:
    """A script that runs `body`, JavaScript that returns a value, and leaves it for found()."""
    return PROBE % body


def run(command: list[str], deadline: float, home: Path) -> str:
    """The command's output. On return it and all its children have ended."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", start_new_session=True, env=os.environ | {"HOME": str(home)})
    try:
        printed, said = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]}: exit status {process.returncode}: {said[-2000:]}")
    return printed


def render(url: str, width: int, folder: Path, deadline: float) -> str:
    """The document that a window of that width holds once the page is loaded."""
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as profile:
        return run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={width},1000",
             "--dump-dom", url], deadline, folder)


def found(document: str) -> dict:
    """What the probe in a rendered document has left."""
    _, before, rest = document.rpartition('<pre id="probe">')
    if not before:
        raise RuntimeError("the probe did not run")
    return json.loads(html.unescape(rest.partition("</pre>")[0]))


def main() -> int:
    """Runs the tests of the program; its exit status. Without Chromium they are skipped."""
    if not shutil.which("chromium"):
        print("skipped: there is no chromium in PATH to render the page in")
        return SKIPPED
    return 0 if unittest.main(exit=False).result.wasSuccessful() else 1
