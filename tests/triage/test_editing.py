"""Edited masks over HTTP: checked, on disk before the answer, measured as a build does."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.asking import STRANGE, Client
from makers.builds import ball
from makers.editable import SOURCE, SPACING, comes_back, voi_id, write_editable
from makers.serving import running

from uls_data.errata import ErrataError, append, check_errata, load_overlay
from uls_data.errata.mask import patch_file
from uls_data.io import sha256_voxels
from uls_data.measure.label import describe_label
from uls_data.pictures.thumbnail import thumbnail_numbers
from uls_data.triage import TriageServer, triage_server
from uls_data.triage.editing import LONGEST_EDIT, mask_of, runs_of
from uls_data.triage.guarded import RefusalError
from uls_data.voi import VOI_SHAPE

SMALLER = ball(5.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("editable")
    write_editable(folder)
    return folder


@pytest.fixture
def server(written: Path, tmp_path: Path) -> Iterator[TriageServer]:
    with running(triage_server(written, overlay=tmp_path / "mine.yaml", author="ann")) as server:
        yield server


@pytest.fixture
def client(server: TriageServer) -> Client:
    return Client(server.address)


def body_of(client: Client, mask: Any, number: int = 0, **more: Any) -> dict[str, Any]:
    before = client.json(f"/api/masks/{number}")["sha256"]
    runs = runs_of(mask.astype(bool))
    return {"number": number, "before": before, "runs": runs, "reason": "leaks", **more}


def edits_of(server: TriageServer) -> Path:
    return server.editor.overlay


@pytest.mark.parametrize("headers", STRANGE, ids=str)
def test_strangers_get_403_everywhere(
    server: TriageServer, client: Client, headers: dict[str, str | None]
) -> None:
    body = body_of(client, SMALLER)
    for path, sent in (
        ("/edit", None),
        ("/edit.js", None),
        ("/masks.js", None),
        ("/api/masks/0", None),
        ("/api/masks/0/original", None),
        ("/api/edits", body),
    ):
        assert client.ask(path, sent, **headers)[0] == 403, path
    assert not edits_of(server).exists()


@pytest.mark.parametrize(
    "path",
    [
        "/edit/../../etc/passwd",
        "/edit.html",
        "/edit.js/../../server.py",
        "/api/masks/-1",
        "/api/masks/2",
        "/api/masks/0/../1",
        "/api/masks/0/patches",
        f"/api/masks/{voi_id(0)}",
        "/patches/x.nii.gz",
        "/mine-edits.yaml",
    ],
)
def test_no_path_leads_elsewhere(client: Client, path: str) -> None:
    assert client.raw(path).split(b" ")[1] in (b"404", b"400")


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (400, b"[" * 4000),
        (400, b"[]"),
        (400, {"number": 2}),
        (400, {"number": -1}),
        (400, {"number": "0"}),
        (400, {"number": True}),
        (400, {"before": 5}),
        (400, {"reason": None}),
        (400, {"full": "yes"}),
        (400, {"runs": None}),
        (400, {"runs": "1"}),
        (400, {"runs": [1, [2]]}),
        (400, {"runs": [[1, 2], [3, 4]]}),
        (400, {"runs": [1.5, 2]}),
        (400, {"runs": [1, "2"]}),
        (400, {"runs": [1, -2]}),
        (400, {"runs": [1, 1 << 70]}),
        (400, {"runs": [1 << 62, 1 << 62]}),
        (400, {"runs": [256 * 256 * 128, 1]}),
        (409, {"before": "0" * 64}),
        (409, {"reason": " "}),
        (409, {"reason": "two\nlines"}),
        (409, {"reason": "a | b"}),
        (409, {"reason": "x" * 1001}),
        (409, {"runs": []}),
        (409, {"runs": [0, 256 * 256 * 128]}),
    ],
)
def test_wrong_bodies_are_refused(
    server: TriageServer, client: Client, status: int, change: Any
) -> None:
    body = change if isinstance(change, bytes) else body_of(client, SMALLER) | change
    found, _, data = client.ask("/api/edits", body)
    assert (found, "error" in json.loads(data)) == (status, True)
    assert not edits_of(server).exists()
    assert not list(edits_of(server).parent.rglob("patches/*"))


def test_bodies_that_are_too_large_are_not_read(client: Client) -> None:
    for path, length in (
        ("/api/edits", LONGEST_EDIT + 1),
        ("/api/edits?x", LONGEST_EDIT),
        ("/api/verdicts", LONGEST_EDIT),
        ("/api/masks/0", LONGEST_EDIT),
    ):
        assert client.ask(path, b"{}", Content_Length=str(length))[0] == 413, path


def test_runs_are_the_mask() -> None:
    for mask in (ball(6.0), np.zeros(VOI_SHAPE), np.ones(VOI_SHAPE), 1 - ball(6.0)):
        runs = runs_of(mask.astype(bool))
        assert np.array_equal(mask_of(runs), mask != 0)
    assert runs_of(np.zeros(VOI_SHAPE, bool)) == []
    assert runs_of(np.indices(VOI_SHAPE).sum(0) < 1) == [0, 1]
    with pytest.raises(RefusalError):
        mask_of([True, None])


def test_an_edit_is_saved_measured_shown_and_judged(
    server: TriageServer, client: Client, written: Path
) -> None:
    told = client.json("/api/masks/0")
    assert np.array_equal(mask_of(told["runs"]), ball(6.0) != 0)
    assert (told["parts"], told["supervision"], told["asks_full"]) == (6, "full", False)
    client.json("/api/verdicts", {"numbers": [0], "word": "rejected"})
    answer = client.json("/api/edits", body_of(client, SMALLER))
    expected, _ = describe_label(SMALLER, SPACING)
    assert answer["measured"] == expected and answer["verdict_removed"]
    assert answer["sha256"] == sha256_voxels(SMALLER)
    (correction,) = load_overlay(edits_of(server)).corrections
    assert (correction.author, correction.reason) == ("ann", "leaks")
    assert patch_file(edits_of(server), str(correction.patch)).is_file()
    # The new mask is what triage shows and judges from now on.
    voi = client.json("/api/vois/0")
    assert voi["row"]["mask_voxels"] == expected["mask_voxels"]
    assert voi["why"] == ["The mask was edited, see mine-edits.yaml."]
    assert client.json("/api/session")["states"] == ".."
    assert not load_overlay(server.verdicts.path).corrections
    client.json("/api/verdicts", {"numbers": [0, 1], "word": "accepted"})
    overlays = [edits_of(server), server.verdicts.path]
    assert [v.outcome for v in check_errata(overlays, written)] == ["fits"] * 3
    # A second edit follows the first; one of the mask before is refused.
    stale = body_of(client, ball(4.0), before=told["sha256"])
    status, _, data = client.ask("/api/edits", stale)
    assert status == 409 and b"not the current one" in data
    client.json("/api/edits", body_of(client, ball(4.0)))
    assert [c.before for c in load_overlay(edits_of(server)).corrections][1] == answer["sha256"]
    assert np.array_equal(mask_of(client.json("/api/masks/0/original")["runs"]), ball(6.0) != 0)
    # A restart shows it again.
    with triage_server(written, overlay=server.verdicts.path) as again:
        assert again.lesions.subject(0).sha256 == sha256_voxels(ball(4.0))
        assert again.states()["states"] == ".a"


def test_an_edit_is_saved_where_its_verdict_cannot_be_removed(
    server: TriageServer, client: Client
) -> None:
    client.json("/api/verdicts", {"numbers": [0], "word": "accepted"})
    (verdict,) = load_overlay(server.verdicts.path).corrections
    append(server.verdicts.path, verdict.model_copy(update={"evidence": "a picture"}))
    answer = client.json("/api/edits", body_of(client, SMALLER))
    assert (answer["sha256"], answer["verdict_removed"]) == (sha256_voxels(SMALLER), False)
    assert client.json("/api/states")["states"] == "s."


def test_a_patch_that_is_gone_is_told(server: TriageServer, client: Client, written: Path) -> None:
    client.json("/api/edits", body_of(client, SMALLER))
    shutil.rmtree(edits_of(server).parent / "patches")
    with triage_server(written, overlay=server.verdicts.path) as again:
        voi = again.lesions.voi(0)
        assert voi.subject is None and "Edited mask: no patches/" in voi.problems[0]
        assert again.lesions.voi(1).subject is not None


def test_kill_9_loses_no_edit(written: Path, start: Callable[..., Any], tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    for radius in (5.0, 4.0):
        served = start(written, "--overlay", str(overlay), "--author", "ann")
        client = Client(served.address)
        client.json("/api/edits", body_of(client, ball(radius)))
        assert served.end(signal.SIGKILL)[0] == -signal.SIGKILL
    edits = tmp_path / "mine-edits.yaml"
    assert [v.outcome for v in check_errata(edits, written)] == ["fits", "fits"]
    client = Client(start(written, "--overlay", str(overlay)).address)
    assert client.json("/api/masks/0")["sha256"] == sha256_voxels(ball(4.0))


def test_a_weak_mask_becomes_full_if_the_page_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_editable(out, 1, supervision="weak_2d", layer="jury")
    with triage_server(out) as server:
        body: dict[str, Any] = {"number": 0, "reason": "small"}
        body |= {"before": server.lesions.subject(0).sha256, "runs": runs_of(ball(5.0) != 0)}
        with pytest.raises(Exception, match="supervision is weak_2d"):
            server.edit(body)
        server.edit(body | {"full": True})
        assert server.editor.opened(0)["supervision"] == "full"
        assert edits_of(server) == out / "errata" / "edits.yaml"


def test_an_edit_reaches_release_blame_and_training(
    written: Path, server: TriageServer, client: Client, tmp_path: Path
) -> None:
    client.json("/api/edits", body_of(client, SMALLER, reason="too large"))
    out = Path(shutil.copytree(written, tmp_path / "out"))
    assert SOURCE in load_overlay(edits_of(server)).corrections[0].source
    comes_back(out, edits_of(server), 0, SMALLER, "ann", "too large")


def test_the_wall_shows_the_edited_mask_also_after_a_restart(written: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    with running(triage_server(written, overlay=overlay)) as server:
        client = Client(server.address)
        run = client.json("/api/session")["run"]
        built = server.wall.picture(0)
        large = ball(9.0)
        client.json("/api/edits", body_of(client, large))
        sha256 = sha256_voxels(large)
        assert client.json("/api/states")["edited"] == {"0": sha256}
        status, headers, edited = client.ask(f"/thumbnails/{run}/0/{sha256}")
        assert status == 200 and "immutable" in headers["Cache-Control"]
        assert thumbnail_numbers(edited)["voxels"] == large.sum()
        # A page that does not know of the edit yet may not keep what it gets.
        status, headers, data = client.ask(f"/thumbnails/{run}/0")
        assert (headers["Cache-Control"], data) == ("no-store", edited) and edited != built
        (tile,) = client.json("/api/tiles?numbers=0&column=mask_voxels")
        assert tile["value"] == large.sum()
        assert tile["long_axis_mm"] == describe_label(large, SPACING)[0]["long_axis_mm"]
    with running(triage_server(written, overlay=overlay)) as server:
        assert Client(server.address).json("/api/session")["edited"] == {"0": sha256}
        assert server.wall.picture(0) == edited
        assert thumbnail_numbers(server.wall.picture(1))["voxels"] == ball(7.0).sum()
        # The patch is gone: the VOI has no picture, rather than one of another mask.
        patch = load_overlay(edits_of(server)).corrections[0].patch
        patch_file(edits_of(server), str(patch)).unlink()
    with triage_server(written, overlay=overlay) as server:
        with pytest.raises(ErrataError, match="no patches/"):
            server.wall.picture(0)
        assert server.wall.tiles([0])[0]["number"] == 0
