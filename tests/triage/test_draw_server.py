"""The server on which readers draw: strangers get nothing, no line is lost."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from makers.asking import STRANGE, Client
from makers.serving import running

from uls_data.cli import cli
from uls_data.errors import CaseError, ManifestError, SourceError
from uls_data.lesions.drawn_lines import COLUMNS, NotDrawn, differs_much
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.triage import DrawingServer, drawing_server

# On the liver lesion of p01, in stored columns and rows; 20 by 14 mm.
POINTS = [[39, 23], [59, 23], [49, 16], [49, 30]]
LONGER = [[39, 23], [71.25, 23], *POINTS[2:]]


@pytest.fixture
def server(clinic: Path, tmp_path: Path) -> Iterator[DrawingServer]:
    made = drawing_server(
        clinic / "out", clinic / "raw", author="anna", lines=tmp_path / "drawn.csv"
    )
    with running(made):
        yield made


@pytest.fixture
def client(server: DrawingServer) -> Client:
    return Client(server.address)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


EVERYWHERE = [
    *((path, None) for path in ("/", "/draw.js", "/lines.js", "/words.js", "/common.js")),
    *(("/api/session", None), ("/api/lesions/0", None), ("/nothing", None)),
    ("/api/lines", {"number": 0, "slice": 3, "points": POINTS}),
    ("/api/skips", {"number": 0, "reason": "not_found"}),
    ("/api/clear", {"number": 0}),
    ("/api/undo", {}),
]


def test_strangers_get_403_everywhere(server: DrawingServer, client: Client) -> None:
    for headers in STRANGE:
        for path, body in [*EVERYWHERE, (f"/slices/{server.run}/0/3/soft", None)]:
            assert client.ask(path, body, **headers)[0] == 403, (path, headers)
    assert not server.table.path.exists()
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_the_page_obeys_the_same_policy(client: Client) -> None:
    status, headers, page = client.ask("/")
    assert status == 200 and b"draw.js" in page and client.token.encode() not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/draw.js/../drawing.py",
        "/triage.js",
        "/api/lesions/-1",
        "/api/lesions/1",
        "/api/lesions/٣",
        "/api/lesions/99999999999999999999",
        "/slices/RUN/0/8/soft",
        "/slices/RUN/0/-1/soft",
        "/slices/RUN/1/3/soft",
        "/slices/RUN/0/3/brain",
        "/slices/RUN/0/3/soft/..",
        "/slices/other/0/3/soft",
        "/p01/a/1-001.dcm",
        "/drawn.csv",
        "//[",
    ],
)
def test_no_path_leads_elsewhere(server: DrawingServer, client: Client, path: str) -> None:
    answer = client.raw(path.replace("RUN", server.run))
    assert answer.split(b" ")[1] in (b"404", b"400"), answer[:200]
    assert b"root:" not in answer and b"DICM" not in answer


FINE = {"number": 0, "slice": 3, "points": POINTS}


@pytest.mark.parametrize(
    ("status", "path", "body"),
    [
        (413, "/api/lines", b"x" * 4097),
        (400, "/api/lines", []),
        (400, "/api/lines", {**FINE, "number": "0"}),
        (400, "/api/lines", {**FINE, "number": True}),
        (400, "/api/lines", {**FINE, "number": 1}),
        (400, "/api/lines", {**FINE, "slice": 8}),
        (400, "/api/lines", {**FINE, "slice": 3.0}),
        (400, "/api/lines", {**FINE, "points": POINTS[:3]}),
        (400, "/api/lines", {**FINE, "points": [*POINTS[:3], [1, "2"]]}),
        (400, "/api/lines", {**FINE, "points": [*POINTS[:3], [1, True]]}),
        (400, "/api/lines", b'{"number":0,"slice":3,"points":[[1,2],[3,4],[5,6],[NaN,8]]}'),
        (400, "/api/lines", b'{"number":0,"slice":3,"points":[[1,2],[3,4],[5,6],[1e999,8]]}'),
        (400, "/api/lines", {**FINE, "points": [*POINTS[:3], [10**400, 1]]}),
        (409, "/api/lines", {**FINE, "points": [*POINTS[:3], [49, 900]]}),
        (409, "/api/lines", {**FINE, "points": [*POINTS[:2], *POINTS[:2]]}),
        (400, "/api/skips", {"number": 0, "reason": "Jane Doe is not there"}),
        (400, "/api/skips", {"number": 0, "reason": ["not_found"]}),
        (404, "/api/verdicts", {"number": 0, "word": "rejected"}),
        (409, "/api/undo", {}),
    ],
)
def test_wrong_bodies_are_refused(
    server: DrawingServer, client: Client, status: int, path: str, body: Any
) -> None:
    assert client.ask(path, body)[0] == status
    assert not server.table.path.exists()


def test_a_lesion_is_told_and_its_slices_are_drawn(server: DrawingServer, client: Client) -> None:
    session = client.json("/api/session")
    assert (session["states"], session["reader"]) == (".", "anna")
    lesion = client.json("/api/lesions/0")
    assert lesion["shape"] == [80, 64, 8] and lesion["key_slice"] == 3
    assert lesion["spacing_mm"] == [1.0, 1.0, 2.5] and lesion["letters"] == "RLAP"
    assert lesion["stated_mm"] == [20.0, 14.0] and lesion["window"] == "soft"
    assert lesion["problem"] == "" and "Jane" not in json.dumps(lesion)
    pictures = [client.ask(f"/slices/{server.run}/0/{k}/soft") for k in (3, 7)]
    assert all(picture[1]["Content-Type"] == "image/png" for picture in pictures)
    assert pictures[0][2] != pictures[1][2]


def test_what_is_drawn_is_in_the_table_at_once(server: DrawingServer, client: Client) -> None:
    assert client.json("/api/lines", {**FINE, "points": LONGER})["states"] == "d"
    (row,) = rows_of(server.table.path)
    lesion = client.json("/api/lesions/0")
    asked = server.lesions[0].row
    assert tuple(row) == COLUMNS
    assert (row["lesion"], row["reader"]) == (asked["source_lesion_id"], "anna")
    assert row["sop_instance_uid"] == asked["key_slice_uid"]
    assert (row["long_x2"], row["long_axis_mm"], row["short_axis_mm"]) == ("71.25", "32.25", "14.0")
    assert lesion["drawn"] == {"slice": 3, "points": LONGER}
    assert differs_much(20.0, 32.25) and not differs_much(20.0, 23.9) and not differs_much(6.0, 8)

    client.json("/api/lines", {**FINE, "slice": 4, "points": [*POINTS[2:], *POINTS[:2]]})
    (row,) = rows_of(server.table.path)
    assert row["long_axis_mm"] == "20.0", "the longer line is the long axis"
    assert row["sop_instance_uid"] != asked["key_slice_uid"]
    assert client.json("/api/skips", {"number": 0, "reason": "other_scan"})["states"] == "s"
    assert client.json("/api/lesions/0")["skipped"] == "other_scan"
    assert client.json("/api/undo", {}) == {"number": 0, "states": "d"}
    assert client.json("/api/clear", {"number": 0})["states"] == "."
    assert rows_of(server.table.path) == []
    assert client.json("/api/undo", {})["states"] == "d"
    assert server.counts() == {"drawn": 1, "skipped": 0}


def test_readers_share_a_table_and_see_nothing_of_each_other(
    clinic: Path, server: DrawingServer, client: Client
) -> None:
    path = server.table.path
    with drawing_server(clinic / "out", clinic / "raw", author="ben", lines=path) as other:
        client.json("/api/lines", FINE)
        other.draw(0, 3, LONGER)
        assert client.json("/api/lesions/0")["drawn"]["points"] == POINTS
        client.json("/api/clear", {"number": 0})
        assert [row["reader"] for row in rows_of(path)] == ["ben"]
        assert other.states() == "d" and server.states() == "."
    path.write_text(path.read_text().replace("ben,", "ben,broken", 1) + "a,b\n")
    with pytest.raises(SourceError, match="no table of drawn lines"):
        drawing_server(clinic / "out", clinic / "raw", author="ben", lines=path)


def test_a_table_that_was_damaged_meanwhile_is_never_written_over(
    server: DrawingServer, tmp_path: Path
) -> None:
    points = [[float(it) for it in point] for point in POINTS]
    server.draw(0, 3, points)
    path = tmp_path / "drawn.csv"
    damaged = path.read_bytes().replace(b"reader,", b"", 1)
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(SourceError, match="no table of drawn lines"):
            server.draw(0, 3, points)
    assert path.read_bytes() == damaged


def test_kill_9_loses_no_line(clinic: Path, draw: Callable[..., Any], tmp_path: Path) -> None:
    lines = tmp_path / "l" / "drawn.csv"
    served = draw(clinic, lines)
    Client(served.address).json("/api/lines", FINE)
    assert served.end(signal.SIGKILL)[0] == -signal.SIGKILL
    served = draw(clinic, lines)
    client = Client(served.address)
    assert client.json("/api/lesions/0")["drawn"] == {"slice": 3, "points": POINTS}
    client.json("/api/undo", {})
    assert client.json("/api/session")["states"] == "."
    code, rest = served.end(signal.SIGINT)
    assert code == 0 and json.loads(rest)["drawn"] == 0
    assert rows_of(lines) == []


@pytest.mark.parametrize(
    "folder", ["/etc", "../elsewhere", "leads/out", "p01/nothing", "a\0b", "p02", None]
)
def test_no_folder_outside_of_the_raw_one_is_read(
    clinic: Path, tmp_path: Path, folder: str | None
) -> None:
    """Whatever a manifest says: a series that lies elsewhere is neither shown nor drawn on."""
    (asked,) = [
        row
        for row in iterate_rows(clinic / "out" / "manifest" / "reported.parquet")
        if row["key_slice_uid"]
    ]
    raw = tmp_path / "raw"
    (raw / "leads").mkdir(parents=True)
    (raw / "leads" / "out").symlink_to(clinic / "raw" / "p01" / "a")
    (tmp_path / "elsewhere").symlink_to(clinic / "raw" / "p01" / "a")
    (raw / "p02").symlink_to(raw)
    manifest = tmp_path / "out" / "manifest" / "m.parquet"
    write_manifest([asked | {"image_source": folder}], manifest)
    with drawing_server(tmp_path / "out", raw, author="anna") as server:
        told = server.lesion(0)
        assert told["problem"].startswith("Image: ") and "shape" not in told
        with pytest.raises(CaseError):
            server.draw(0, 3, [[float(it) for it in point] for point in POINTS])
        server.skip(0, NotDrawn.NOT_FOUND)
        assert server.states() == "s"


def test_what_cannot_be_drawn_is_said(clinic: Path, tmp_path: Path) -> None:
    out, raw = clinic / "out", clinic / "raw"
    with pytest.raises(ManifestError, match="nothing to draw"):
        drawing_server(out, raw, 'case_id == "p03"', author="anna")
    with pytest.raises(SourceError, match="no such folder"):
        drawing_server(out, tmp_path / "none", author="anna")
    with pytest.raises(SourceError, match="--author"):
        drawing_server(out, raw, author="anna@example.org", lines=tmp_path / "x.csv")
    for more, words in (
        (["--draw", str(raw)], "--draw needs --author"),
        (["--draw", str(raw), "--author", "a", "--sort", "x"], "--sort is for verdicts"),
        (["--lines", "x.csv"], "--lines is for --draw"),
    ):
        result = CliRunner().invoke(cli, ["triage", str(out), *more])
        assert result.exit_code == 2 and words in result.output
    assert not (raw / "drawn-lines.csv").exists()
