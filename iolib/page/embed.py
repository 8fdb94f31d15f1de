"""Writes a C++ source that holds a script or a style sheet as a page::Asset.

usage: embed.py FILE HEADER NAMESPACE NAME

HEADER declares NAME in NAMESPACE. The source goes to stdout.
"""

import base64
import hashlib
import sys

path, header, namespace, name = sys.argv[1:]
with open(path, "rb") as file:
    text = file.read()
# These would end a <script>, a <style> or the literal, or change how a <script> is read.
for mark in (b"</", b"<!--", b')embed"', b"\r"):
    if mark in text:
        sys.exit(f"{path}: has {mark!r}")
digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
sys.stdout.buffer.write(
    f'#include "{header}"\n\nnamespace {namespace} {{\nconstinit const page::Asset {name}{{'
    f'R"embed('.encode() + text + f')embed", "sha256-{digest}"}};\n}}\n'.encode())
