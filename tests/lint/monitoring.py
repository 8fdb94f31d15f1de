#!/usr/bin/env python3
"""Checks the files of tools/deploy for Prometheus and Grafana, without running either.

usage: monitoring.py DEPLOY

promtool must accept the configuration, the rules and their tests; each alert must fire in a test; and
each panel of the dashboard must be complete. Prints what is wrong; exit status 1 if anything is, 77
if promtool is not installed.
"""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

SKIP = 77  # meson's status for a test that was skipped
COLUMNS = 24  # of Grafana's grid
RULE = re.compile(r"^ +- alert: (\w+)$(.*?)(?=^ +- alert: |\Z)", re.MULTILINE | re.DOTALL)
FIRED = re.compile(r"labels: 'ALERTS\{alertname=\"(\w+)\"(.*)\}'$", re.MULTILINE)


def promtool(*arguments: str | Path) -> list[str]:
    """What promtool complains about."""
    done = subprocess.run(["promtool", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    return [done.stdout + done.stderr] if done.returncode != 0 else []


def check_alerts(folder: Path) -> list[str]:
    """Each alert says what to do, names only labels that it has, and fires in a test."""
    rules = dict(RULE.findall((folder / "alerts.yml").read_text()))
    fired: dict[str, str] = {}
    for name, labels in FIRED.findall((folder / "alerts_test.yml").read_text()):
        fired.setdefault(name, labels)
    wrong = [] if rules else ["alerts.yml: no alert"]
    for name, text in rules.items():
        if name not in fired:
            wrong.append(f"{name}: fires in no test")
        wrong += [f"{name}: has no label {label}" for label in re.findall(r"\$labels\.(\w+)", text)
                  if f'{label}="' not in fired.get(name, "")]
        wrong += [f"{name}: lacks {key}" for key in ("severity:", "summary:", "description:")
                  if key not in text]
        if not re.search(r"`(sluice|systemctl)[^`]+`", text):
            wrong.append(f"{name}: names no command")
    return wrong


def overlap(one: dict, other: dict) -> bool:
    """Whether two places on the grid have a cell in common."""
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
               for at, size in (("x", "w"), ("y", "h")))


def check_dashboard(path: Path) -> list[str]:
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    shown = [panel for panel in panels if panel["type"] != "row"]
    wrong = [] if shown else ["no panel"]
    for panel in shown:
        title = panel["title"]
        if not panel.get("description"):
            wrong.append(f"{title}: no description")
        if not panel["fieldConfig"]["defaults"].get("unit"):
            wrong.append(f"{title}: no unit")
        if not panel["targets"] or not all(each["expr"] for each in panel["targets"]):
            wrong.append(f"{title}: no expression")
        if panel["datasource"]["uid"] != "${datasource}":
            wrong.append(f"{title}: a data source of its own")
    ids = [panel["id"] for panel in panels]
    if len(ids) != len(set(ids)):
        wrong.append("an id occurs twice")
    places = [panel["gridPos"] for panel in panels]
    wrong += [f"beyond the grid: {place}" for place in places if place["x"] + place["w"] > COLUMNS]
    wrong += [f"overlap: {one} {other}" for one, other in itertools.combinations(places, 2)
              if overlap(one, other)]
    wrong += check_variables(dashboard)
    return [f"{path.name}: {each}" for each in wrong]


def check_variables(dashboard: dict) -> list[str]:
    """Every variable is used, and every one that is used exists."""
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval", "__all"}
    return [f"the variable {name} is used or defined only" for name in sorted(defined ^ used)]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    deploy = Path(sys.argv[1])
    rules = deploy / "prometheus"
    wrong = check_alerts(rules) + check_dashboard(deploy / "grafana" / "sluice.json")
    has_promtool = shutil.which("promtool") is not None
    if has_promtool:
        wrong += promtool("check", "config", rules / "scrape.yml")
        wrong += promtool("check", "rules", rules / "alerts.yml")
        wrong += promtool("test", "rules", rules / "alerts_test.yml")
    if wrong:
        print(*wrong, sep="\n")
        return 1
    if not has_promtool:
        print("skipped: promtool is not installed")
        return SKIP
    return 0


if __name__ == "__main__":
    sys.exit(main())
