"""The server answers its own page alone, serves VOIs alone, and loses no verdict."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from makers.asking import STRANGE, Client

from uls_data.cli import cli
from uls_data.errata import ErrataError, Kind, check_errata, load_overlay
from uls_data.errors import ManifestError, SourceError
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.triage import TriageServer, Verdicts, triage_server
from uls_data.triage.vois import Voi

EVERYWHERE = [
    ("/", None),
    ("/triage.js", None),
    ("/api/session", None),
    ("/api/vois/0", None),
    ("/api/vois/0/layers", None),
    ("/api/found?where=&sort=predicted_dice", None),
    ("/api/states", None),
    ("/api/views", None),
    ("/api/columns", None),
    ("/api/names?voi_id=c1_lesion_01_sample_0", None),
    ("/api/tiles?numbers=0", None),
    ("/voxels/RUN/0/2/64", None),
    ("/thumbnails/RUN/0", None),
    ("/wall.js", None),
    ("/nothing", None),
    ("/api/verdicts", {"numbers": [0], "word": "rejected"}),
    ("/api/views", {"save": {"name": "mine"}}),
    ("/api/undo", {}),
]


@pytest.mark.parametrize("headers", STRANGE, ids=str)
def test_strangers_get_403_everywhere(
    server: TriageServer, client: Client, headers: dict[str, str | None]
) -> None:
    for path, body in EVERYWHERE:
        path = path.replace("RUN", server.run)
        assert client.ask(path, body, **headers)[0] == 403, path
    assert not server.saved.path.exists()
    assert not server.verdicts.path.exists()


FOLLOWED = {
    "Authorization": None,
    "Sec_Fetch_Site": "cross-site",
    "Sec_Fetch_Mode": "navigate",
    "Sec_Fetch_Dest": "document",
}


def test_a_link_of_another_page_gets_the_page_alone(server: TriageServer, client: Client) -> None:
    status, headers, page = client.ask("/", **FOLLOWED)
    assert status == 200 and "Set-Cookie" not in headers
    assert client.token.encode() not in page and b"c1_lesion" not in page
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    for path, body in EVERYWHERE:
        path = path.replace("RUN", server.run)
        if path != "/":
            assert client.ask(path, body, **FOLLOWED)[0] == 403, path
    for name, value in (("Dest", "iframe"), ("Mode", "no-cors"), ("Site", "same-site")):
        assert client.ask("/", **FOLLOWED | {f"Sec_Fetch_{name}": value})[0] == 403
    assert client.ask("/", Origin="https://example.org", **FOLLOWED)[0] == 403
    assert client.ask("/?token=x", **FOLLOWED)[0] == 403
    assert client.ask(f"/?token={client.token}", **FOLLOWED)[0] == 403
    assert client.ask("/", {}, **FOLLOWED)[0] == 403


def test_it_listens_on_this_machine_alone(server: TriageServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_the_token_becomes_a_cookie_that_no_script_reads(client: Client) -> None:
    assert client.ask("/?token=wrong", Authorization=None)[0] == 403
    status, headers, _ = client.ask(f"/?token={client.token}", Authorization=None)
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    pair = cookie.split(";")[0]
    status, headers, page = client.ask("/", Authorization=None, Cookie=pair)
    assert status == 200 and page.startswith(b"<!doctype html>")
    assert client.token.encode() not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/assets/../server.py",
        "/triage.js/../server.py",
        "/api/vois/-1",
        "/api/vois/4",
        "/api/vois/4/layers",
        "/api/vois/0/layers/x",
        "/api/vois/0/../1",
        "/api/vois/c1_lesion_01_sample_0",
        "/api/vois/٣",
        "/api/vois/99999999999999999999",
        "/api/tiles",
        "/api/tiles?numbers=4",
        "/api/tiles?numbers=0,x",
        "/api/tiles?numbers=0&column=../label_path",
        "/api/tiles?numbers=" + ",".join("0" * 501),
        "/voxels/RUN/0/3/0",
        "/voxels/RUN/0/2/128",
        "/voxels/RUN/0/2/-1",
        "/voxels/RUN/0/2/64/..",
        "/voxels/other/0/2/64",
        "/thumbnails/RUN/4",
        "/thumbnails/RUN/..%2f0",
        "/thumbnails/other/0",
        "/keys.yaml",
        "/s/images/c1_lesion_01_sample_0.nii",
        "/manifest/s.parquet",
        "//[",
    ],
)
def test_no_path_leads_elsewhere(server: TriageServer, client: Client, path: str) -> None:
    answer = client.raw(path.replace("RUN", server.run))
    assert answer.split(b" ")[1] in (b"404", b"400"), answer[:200]
    assert b"root:" not in answer


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (413, b"x" * ((1 << 18) + 1), {}),
        (413, b"{}", {"Content_Length": "999999999999"}),
        (411, b"{}", {"Content_Length": "-1"}),
        (415, b"{}", {"Content_Type": "text/plain"}),
        (400, b"{", {}),
        (400, b"[" * 4000, {}),
        (400, b"[]", {}),
        (400, {"numbers": ["0"], "word": "accepted"}, {}),
        (400, {"numbers": [True], "word": "accepted"}, {}),
        (400, {"numbers": [4], "word": "accepted"}, {}),
        (400, {"numbers": [-1], "word": "accepted"}, {}),
        (400, {"numbers": [0], "word": "deleted"}, {}),
        (400, {"numbers": [0], "word": "noted", "note": 5}, {}),
        (409, {"numbers": [0], "word": "noted", "note": "two\nlines"}, {}),
        (400, {"numbers": 0, "word": "accepted"}, {}),
        (400, {"numbers": [], "word": "accepted"}, {}),
        (400, {"numbers": [0], "word": "accepted", "reason": "leak"}, {}),
        (400, {"numbers": [0], "word": "rejected", "reason": "made up"}, {}),
        (400, {"numbers": [0], "word": "rejected", "reason": 5}, {}),
        (409, {"numbers": [0]}, {}),
    ],
)
def test_wrong_bodies_are_refused(
    server: TriageServer, client: Client, status: int, body: Any, headers: dict[str, str]
) -> None:
    assert client.ask("/api/verdicts", body, **headers)[0] == status
    assert not server.verdicts.path.exists()


def test_other_methods_are_not_served(client: Client) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert client.ask("/api/session", method=method)[0] == 501


def test_a_voi_is_told_and_its_slices_are_drawn(server: TriageServer, client: Client) -> None:
    session = client.json("/api/session")
    assert client.json("/api/names?voi_id=c3_lesion_01_sample_0") == 2
    assert client.json("/api/names?voi_id=c3_lesion_01_sample_0&source=s") == 2
    assert client.json("/api/names?voi_id=c3_lesion_01_sample_0&source=other") is None
    assert client.json("/api/names?voi_id=none") is None
    assert session["states"] == "...." and session["reasons"] == {}
    columns = client.json("/api/columns")
    assert {"predicted_dice", "lesion_type"} < {*columns} and "source" not in columns
    voi = client.json("/api/vois/0")
    assert voi["judgeable"] and voi["has_image"] and voi["problems"] == []
    assert (voi["window"], client.json("/api/vois/1")["window"]) == ("lung", "soft")
    assert voi["box"] == [[118, 118, 59], [139, 139, 70]]
    assert set(voi["outlines"][0]) == {str(z) for z in range(59, 70)}


def test_slices_are_the_voxels_as_they_are_shown(
    out: Path, server: TriageServer, client: Client
) -> None:
    image = np.asarray(nibabel.load(out / "s/images/c1_lesion_01_sample_0.nii").dataobj)
    assert client.json("/api/vois/0")["voxel_bytes"] == 2
    for axis, k, plane in ((2, 70, image[:, :, 70]), (1, 90, image[:, 90]), (0, 3, image[3])):
        status, headers, data = client.ask(f"/voxels/{server.run}/0/{axis}/{k}")
        assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
        assert np.array_equal(
            np.frombuffer(data, "<i2").reshape(plane.T.shape), plane.T[::-1, ::-1]
        )


def test_verdicts_fit_the_data_and_the_page_sees_them(
    out: Path, server: TriageServer, client: Client
) -> None:
    told = client.json("/api/verdicts", {"numbers": [0], "word": "accepted"})
    assert told == {"changed": [[0, "a", ""]], "refused": [], "reload": False}
    client.json("/api/verdicts", {"numbers": [1], "word": "rejected", "note": "into the wall"})
    client.json("/api/verdicts", {"numbers": [1], "word": "rejected", "reason": "leak"})
    client.json("/api/verdicts", {"numbers": [2], "note": "why?"})
    client.json("/api/verdicts", {"numbers": [3], "word": "noted", "reason": "wrong type"})
    assert client.json("/api/states") == {
        "states": "arnf",
        "reasons": {"1": "leak", "3": "wrong type"},
        "edited": {},
    }
    assert client.json("/api/vois/1")["note"] == "into the wall"
    fits = check_errata(server.verdicts.path, out)
    assert [(v.kind, v.outcome) for v in fits] == [
        ("note", "fits"),
        ("drop", "fits"),
        ("note", "fits"),
        ("note", "fits"),
    ]
    reasons = [c.reason for c in load_overlay(server.verdicts.path).corrections]
    assert reasons == ["accepted", "leak: into the wall", "why?", "wrong type"]
    assert client.json("/api/undo", {})["changed"] == [[3, ".", ""]]
    assert client.json("/api/verdicts", {"numbers": [1], "word": "none"})["changed"] == [
        [1, ".", ""]
    ]
    assert server.counts() == {"accepted": 1, "rejected": 0, "noted": 1}


def test_many_are_judged_in_one_write_and_one_step(server: TriageServer, client: Client) -> None:
    client.json("/api/verdicts", {"numbers": [1], "word": "accepted"})
    several = {"numbers": [3, 1, 0, 3], "word": "rejected", "reason": "shifted"}
    told = client.json("/api/verdicts", several)
    assert told["changed"] == [[n, "r", "shifted"] for n in (0, 1, 3)]
    assert client.json("/api/session")["states"] == "rr.r"
    assert {*(n for n, *_ in client.json("/api/undo", {})["changed"])} == {0, 1, 3}
    assert client.json("/api/session")["states"] == ".a.."
    client.json("/api/verdicts", {"numbers": [0, 1, 2], "word": "none"})
    assert client.json("/api/session")["states"] == "...."
    client.json("/api/undo", {})
    assert client.json("/api/session")["states"] == ".a.."


def test_another_process_that_judges_is_seen(server: TriageServer, client: Client) -> None:
    client.json("/api/verdicts", {"numbers": [0], "word": "accepted"})
    Verdicts(server.verdicts.path, "other").give(server.lesions.subject(2), "rejected")
    assert client.json("/api/verdicts", {"numbers": [1], "word": "accepted"})["reload"]
    assert client.json("/api/states")["states"] == "aar."


def test_kill_9_loses_no_verdict(serve: Callable[..., Any], tmp_path: Path) -> None:
    overlay = tmp_path / "o" / "triage.yaml"
    served = serve(overlay)
    client = Client(served.address)
    client.json("/api/verdicts", {"numbers": [0], "word": "accepted"})
    client.json("/api/verdicts", {"numbers": [2, 3], "word": "rejected", "reason": "leak"})
    assert served.end(signal.SIGKILL)[0] == -signal.SIGKILL
    served = serve(overlay)
    client = Client(served.address)
    assert client.json("/api/session")["states"] == "a.rr"
    client.json("/api/undo", {})
    assert client.json("/api/session")["states"] == "a..."
    code, rest = served.end(signal.SIGINT)
    assert code == 0
    summary = json.loads(rest)
    assert (summary["accepted"], summary["rejected"], summary["vois"]) == (1, 0, 4)
    assert [c.kind for c in load_overlay(overlay).corrections] == [Kind.NOTE]


@pytest.fixture
def changed(out: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes an OUT of the first VOI, whose row says something else."""

    def make(**columns: Any) -> Path:
        row = next(iterate_rows(out / "manifest" / "s.parquet"))
        here = tmp_path / "changed"
        for name in ("image_path", "label_path"):
            (here / row[name]).parent.mkdir(parents=True)
            (here / row[name]).hardlink_to(out / row[name])
        write_manifest([row | columns], here / "manifest" / "s.parquet")
        return here

    return make


def first_voi(out: Path) -> Voi:
    with triage_server(out) as server:
        return server.lesions.voi(0)


@pytest.mark.parametrize("column", ["label_path", "image_path"])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside.nii", "s/link.nii", "s/away/passwd", "a\0b", ".", "no.nii"]
)
def test_no_file_outside_of_out_is_read(
    changed: Callable[..., Path], tmp_path: Path, column: str, path: str
) -> None:
    here = changed(**{column: path})
    (tmp_path / "outside.nii").hardlink_to(here / "s" / "images" / "c1_lesion_01_sample_0.nii")
    (here / "s" / "link.nii").symlink_to(tmp_path / "outside.nii")
    (here / "s" / "away").symlink_to("/etc")
    voi = first_voi(here)
    (words,) = voi.problems
    assert any(said in words for said in ("outside of", "no such file", "cannot be read"))
    if column == "label_path":
        assert voi.subject is None and not voi.mask.size and voi.image is not None
    else:
        assert voi.image is None and voi.subject is None and voi.mask.size


def test_a_mask_without_an_image_is_nothing_to_judge(changed: Callable[..., Path]) -> None:
    """As of `predict --out` into a folder of its own: nobody can say yes to a mask on grey."""
    with triage_server(changed(image_path=None)) as server:
        voi = server.lesions.voi(0)
        assert voi.subject is None and voi.mask.size and voi.slice(2, 64) is None
        assert not voi.shown()["judgeable"]
        assert "no image to judge the mask by" in voi.problems[0]
        with pytest.raises(ErrataError, match=r"no verdict: .*\(predict --out\)"):
            server.judge([0], "accepted")


def test_a_folder_that_leads_out_is_refused(out: Path, tmp_path: Path) -> None:
    here = tmp_path / "linked"
    here.mkdir()
    (here / "s").symlink_to(out / "s")
    write_manifest(list(iterate_rows(out / "manifest" / "s.parquet")), here / "manifest/s.parquet")
    voi = first_voi(here)
    assert voi.image is None and voi.subject is None
    assert all("outside of" in words for words in voi.problems)
    link = tmp_path / "out"
    link.symlink_to(out)
    assert first_voi(link).problems == (), "OUT itself may be a link"


@pytest.mark.parametrize("sha256", [None, "0" * 64])
def test_a_mask_that_is_not_the_manifests_cannot_be_judged(
    changed: Callable[..., Path], sha256: str | None
) -> None:
    here = changed(label_voxels_sha256=sha256)
    with triage_server(here) as server:
        assert len(server.lesions.voi(0).problems) == 1
        with pytest.raises(ErrataError, match="no verdict"):
            server.judge([0], "accepted")
        assert not server.verdicts.path.exists()


def test_a_verdict_on_another_mask_is_told_as_such(out: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "triage.yaml"
    with triage_server(out, overlay=overlay) as server:
        server.judge([0], "accepted")
    text = overlay.read_text()
    sha256 = load_overlay(overlay).corrections[0].before
    overlay.write_text(text.replace(sha256, "f" * 64))
    with triage_server(out, overlay=overlay) as server:
        assert server.states()["states"] == "s..."
        server.judge([0], "rejected")
        assert server.states()["states"] == "r..."
    assert len(load_overlay(overlay).corrections) == 1


def test_where_and_sort_choose_and_order(out: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "triage.yaml"
    with triage_server(out, "predicted_dice > 0", sort="predicted_dice", overlay=overlay) as s:
        assert [s.lesions.subject(at).voi_id[:2] for at in range(3)] == ["c2", "c3", "c1"]
        assert len(s.lesions) == 3
    with pytest.raises(ManifestError, match="nothing to look at"):
        triage_server(out, "predicted_dice > 2", overlay=overlay)
    with pytest.raises(ManifestError, match="sort"):
        triage_server(out, sort="qc_flags", overlay=overlay)
    with triage_server(out, overlay=overlay) as s, pytest.raises(SourceError, match="--port"):
        triage_server(out, overlay=overlay, port=s.server_port)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["triage", str(tmp_path / "nothing")])
    assert isinstance(result.exception, ManifestError)
