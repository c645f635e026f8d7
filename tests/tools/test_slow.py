"""The list of slow tests, from the report of a run."""

from __future__ import annotations

from pathlib import Path

from tools.slow import slow_names

REPORT = """<testsuites><testsuite>
<testcase classname="tests.faults.test_kill" name="test_killed[0]" time="9.0" />
<testcase classname="tests.factory.test_state" name="test_quick" time="0.2" />
<testcase classname="tests.factory.test_state" name="test_many[a]" time="0.6" />
<testcase classname="tests.factory.test_state" name="test_many[b]" time="0.6" />
<testcase classname="tests.test_recipes" name="test_golden[lits]" time="3.0" />
<testcase classname="tests.test_ids" name="test_draw" time="0.01" />
</testsuite></testsuites>"""


def test_tests_files_and_folders(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    assert slow_names(path, ["faults/"]) == [
        "factory/test_state.py::test_many",
        "faults/",
        "test_recipes.py",
    ]
    assert slow_names(path, ["faults/"], limit_s=5) == ["faults/"]
