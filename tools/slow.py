"""Write `tests/slow.txt`, which `make quick` leaves out, from the durations of a whole run."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from defusedxml.ElementTree import parse

SLOW = Path(__file__).parent.parent / "tests" / "slow.txt"
# Seconds of a test with all its parameters and what it sets up.
LIMIT_S = 1.0


def slow_names(report: Path, folders: list[str], limit_s: float = LIMIT_S) -> list[str]:
    """Names of what takes long, sorted: the folders, and below none of them files and tests.

    Parameters
    ----------
    report : Path
        JUnit XML of a run of pytest.
    folders : list of str
        Below `tests`, each with a slash at its end.
    """
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for case in parse(report).iter("testcase"):
        file = "/".join(case.get("classname").split(".")[1:]) + ".py"
        if not file.startswith(tuple(folders)):
            test = case.get("name").partition("[")[0]
            seconds[file][test] += float(case.get("time"))
    names = list(folders)
    for file, tests in seconds.items():
        long = [f"{file}::{test}" for test, took in tests.items() if took >= limit_s]
        names += [file] if len(long) == len(tests) else long
    return sorted(names)


def main(report: str) -> None:
    """Keep the folders that are named already, and list files and tests again."""
    folders = [name for name in SLOW.read_text(encoding="utf-8").split() if name.endswith("/")]
    names = slow_names(Path(report), folders)
    SLOW.write_text("\n".join(names) + "\n", encoding="utf-8")
    print(f"{len(names)} lines in {SLOW}")


if __name__ == "__main__":
    main(sys.argv[1])
