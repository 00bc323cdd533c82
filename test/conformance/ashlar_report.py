"""pytest plugin of the conformance runner: one JSON line per finished case, and fresh bucket names.

Loaded by name (`-p ashlar_report`); knows the suite only by its fixture `configfile` and its variable
`prefix`. The file named by ASHLAR_REPORT gets the lines.
"""

import json
import os
import sys

import pytest

CASES = {}
MARKERS = []
WORKER = False


@pytest.fixture(autouse=True)
def fresh_prefix(request, configfile):
    """Buckets that one case could not remove must not fail the cases after it."""
    suite = sys.modules[request.module.__package__]
    suite.prefix = suite.choose_bucket_prefix(template="ashlar-{random}-", max_len=30)


def reason_of(report):
    """The last line of the failure that says something, and where in the suite it happened."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]), None
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr)
    where = None
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", [])
    for entry in entries:
        place = getattr(entry, "reprfileloc", None)
        if place is not None and "test_" in os.path.basename(place.path):
            where = f"{os.path.basename(place.path)}:{place.lineno}"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " | ".join(lines)[:300], where


def pytest_runtest_logreport(report):
    """Called for every phase of every case, in the worker and again in the controller."""
    if WORKER:
        return
    case = CASES.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0})
    case["seconds"] += report.duration
    if report.failed or (report.skipped and case["outcome"] == "passed"):
        reason, where = reason_of(report)
        if case["outcome"] != "failed":
            case["outcome"] = "failed" if report.failed else "skipped"
            case["phase"] = report.when
            case["reason"] = reason
            case["where"] = where
    if report.when != "teardown":
        return
    marks = set(report.keywords) & set(MARKERS)
    line = {"id": report.nodeid.split("/")[-1], "markers": sorted(marks), **CASES.pop(report.nodeid)}
    with open(os.environ["ASHLAR_REPORT"], "a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def pytest_configure(config):
    global WORKER
    WORKER = hasattr(config, "workerinput")
    MARKERS.extend(line.split(":")[0].split("(")[0].strip() for line in config.getini("markers"))
