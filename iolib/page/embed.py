"""Writes a C++ source that holds a script, a style sheet or an HTML document as a page::Asset.

usage: embed.py HEADER NAMESPACE NAME FILE...

HEADER declares NAME in NAMESPACE. The files follow each other. The source goes to stdout.
"""

import base64
import hashlib
import sys
from pathlib import Path

header, namespace, name, *paths = sys.argv[1:]
text = b"".join(Path(path).read_bytes() for path in paths)
# These would end the literal, or in a script or a style sheet, end the <script> or the <style> that
# holds it, or change how a <script> is read.
marks = [b')embed"', b"\r"] + ([] if paths[0].endswith(".html") else [b"</", b"<!--"])
for mark in marks:
    if mark in text:
        sys.exit(f"{paths}: has {mark!r}")
digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
sys.stdout.buffer.write(
    f'#include "{header}"\n\nnamespace {namespace} {{\nconstinit const page::Asset {name}{{'
    f'R"embed('.encode() + text + f')embed", "sha256-{digest}"}};\n}}\n'.encode())
