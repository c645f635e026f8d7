"""The desk: queries, views, the wall's pictures, and verdicts on many."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from makers.asking import Client
from makers.vois import ball

from uls_data.errata import ErrataError
from uls_data.errors import ManifestError
from uls_data.io import sha256_file
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.measure.overlap import dice
from uls_data.pictures.thumbnail import thumbnail_numbers, thumbnail_path
from uls_data.triage import TriageServer, triage_server


def test_a_query_finds_and_orders(client: Client) -> None:
    def found(**asked: str) -> Any:
        return client.json(f"/api/found?{urlencode(asked)}")["numbers"]

    assert found(sort="predicted_dice") == [1, 2, 0, 3]
    assert found(sort="predicted_dice", descending="1") == [0, 2, 1, 3]
    assert found(where="predicted_dice > 0.6") == [0, 2]
    assert found(where="predicted_dice > 0.6", sort="predicted_dice") == [2, 0]
    assert found(where='flagged("single_slice")') == [0]
    assert found(where="predicted_dice > 2") == []
    hints = client.json("/api/found?where=lesion_type%3D%3D%22lungs%22")["hints"]
    assert hints == ["No lesion_type is 'lungs'. Did you mean lung?"]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("predicted_dise > 1", "no column 'predicted_dise'. Did you mean predicted_dice?"),
        ("predicted_dice >", "not an expression"),
        ("__import__('os').system('id')", "cannot be used"),
        ("@pd.read_pickle('x')", "not an expression"),
        ("x" * 10_001, "at most 10,000"),
    ],
)
def test_what_is_no_query_is_refused_in_plain_words(client: Client, where: str, words: str) -> None:
    status, _, data = client.ask(f"/api/found?{urlencode({'where': where})}")
    assert status == 409 and words in json.loads(data)["error"]


def test_views_are_kept_with_their_counts(server: TriageServer, client: Client) -> None:
    assert client.json("/api/views") == []
    client.json("/api/verdicts", {"numbers": [0], "word": "rejected", "reason": "leak"})
    view = {"name": "good", "where": "predicted_dice > 0.6", "sort": "predicted_dice"}
    whole = {**view, "descending": False, "show": "all", "count": 2, "judged": 1}
    assert client.json("/api/views", {"save": view}) == [whole]
    client.json("/api/views", {"save": {"name": "leaks", "show": "reason:leak"}})
    client.json("/api/views", {"save": {"name": "open", "show": "open"}})
    client.json("/api/views", {"save": {"name": "old", "where": "no_column > 1"}})
    counts = [(v["name"], v["count"], v["judged"]) for v in client.json("/api/views")]
    assert counts == [("good", 2, 1), ("leaks", 1, 1), ("open", 3, 0), ("old", 0, 0)]
    client.json("/api/views", {"remove": "old"})
    with triage_server(server.lesions.root, overlay=server.verdicts.path) as again:
        assert [v["name"] for v in again.views()] == ["good", "leaks", "open"]


@pytest.mark.parametrize(
    "body",
    [
        {"save": {"name": ""}},
        {"save": {"name": "x", "path": "/etc/passwd"}},
        {"save": {"name": "x", "where": "y" * 10_001}},
        {"save": ["x"]},
        {"save": {"name": "x", "descending": "perhaps"}},
    ],
    ids=str,
)
def test_what_is_no_view_is_not_kept(server: TriageServer, client: Client, body: Any) -> None:
    status, _, data = client.ask("/api/views", body)
    assert status == 409 and "no view" in json.loads(data)["error"]
    assert not server.saved.path.exists()


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, '[{"name": "x"}]' * 2, "\xff"])
def test_views_that_somebody_spoilt_are_told(
    server: TriageServer, client: Client, text: str
) -> None:
    server.saved.path.write_text(text)
    status, _, data = client.ask("/api/views")
    assert status == 409 and "no saved views" in json.loads(data)["error"]
    assert client.ask("/api/session")[0] == 200


@pytest.fixture
def archive(out: Path, tmp_path: Path) -> Path:
    """The VOIs of `out`, with hashes of their files, and the pictures that a build makes."""
    here = tmp_path / "archive"
    rows = [*iterate_rows(out / "manifest" / "s.parquet")]
    for row in rows:
        for name in ("image_path", "label_path"):
            (here / str(row[name])).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(out / str(row[name]), here / str(row[name]))
        row["label_sha256"] = sha256_file(here / str(row["label_path"]))
    write_manifest(rows, here / "manifest" / "s.parquet")
    return here


def test_the_wall_shows_pictures_of_the_build_or_draws_them(archive: Path) -> None:
    with triage_server(archive) as server:
        drawn = server.wall.picture(0)
        assert thumbnail_numbers(drawn) is not None
        assert server.wall.picture(0) is drawn, "kept in memory"
        assert not (archive / "s" / "thumbnails").exists(), "nothing is written"
        label = server.lesions.rows([1], ["label_path"])[1]["label_path"]
        other = server.wall.picture(1)
    path = archive / thumbnail_path(str(label))
    path.parent.mkdir(parents=True)
    path.write_bytes(other + b"the build's own")
    (archive / "s" / "thumbnails" / "c1_lesion_01_sample_0.jpg").write_bytes(b"no picture")
    with triage_server(archive) as server:
        assert server.wall.picture(1).endswith(b"the build's own")
        assert server.wall.picture(0) == drawn
        path.unlink()
        path.symlink_to(archive / "manifest" / "s.parquet")
        assert server.wall.picture(1) == other


def test_no_picture_comes_from_outside_of_out(archive: Path, tmp_path: Path) -> None:
    with triage_server(archive) as server:
        label = server.lesions.rows([0], ["label_path"])[0]["label_path"]
        away = tmp_path / "away.jpg"
        away.write_bytes(server.wall.picture(0) + b"outside")
        path = archive / thumbnail_path(str(label))
        path.parent.mkdir(parents=True)
        path.symlink_to(away)
    with triage_server(archive) as server:
        assert not server.wall.picture(0).endswith(b"outside")
        other = server.lesions.rows([1], ["label_path"])[1]["label_path"]
        (archive / str(other)).unlink()
        with pytest.raises(ManifestError, match="no such file"):
            server.wall.picture(1)


def test_a_mask_without_an_image_has_a_picture_and_one_with_a_broken_image_has_none(
    archive: Path,
) -> None:
    path = archive / "manifest" / "s.parquet"
    rows = [*iterate_rows(path)]
    (archive / str(rows[1]["image_path"])).write_bytes(b"broken")
    rows[0]["image_path"] = None
    write_manifest(rows, path)
    with triage_server(archive) as server:
        assert thumbnail_numbers(server.wall.picture(0)) is not None
        with pytest.raises(ManifestError, match="not a NIfTI file"):
            server.wall.picture(1)


def test_tiles_say_what_stands_below_the_pictures(client: Client) -> None:
    first, second = client.json("/api/tiles?numbers=3,1&column=predicted_dice")
    assert (first["number"], first["voi_id"], first["value"]) == (3, "c4_lesion_01_sample_0", None)
    assert (second["lesion_type"], second["long_axis_mm"], second["value"]) == ("liver", 12.0, 0.5)


def test_of_many_those_that_can_be_judged_are(archive: Path) -> None:
    labels = [archive / "s" / "labels" / f"c{n}_lesion_01_sample_0.nii" for n in range(1, 5)]
    labels[0].write_bytes(labels[1].read_bytes())
    labels[2].unlink()
    with triage_server(archive) as server:
        told = server.judge([0, 1, 2, 3], "rejected", None, "leak")
        assert [number for number, *_ in told["changed"]] == [1, 3]
        (first, why), (second, other) = told["refused"]
        assert (first, second) == (0, 2)
        assert "not the one that the manifest describes" in why and "no such file" in other
        assert server.states()["states"] == ".r.r"
        with pytest.raises(ErrataError, match="no verdict"):
            server.judge([0, 2], "rejected")


def test_many_of_an_archive_without_hashes_of_files_are_looked_at(
    out: Path, tmp_path: Path
) -> None:
    with triage_server(out, overlay=tmp_path / "triage.yaml") as server:
        assert len(server.judge([0, 1], "accepted")["changed"]) == 2


def test_layers_of_a_voi_and_what_they_share(layered: Path, tmp_path: Path) -> None:
    with triage_server(layered, 'layer == "jury"', overlay=tmp_path / "t.yaml") as server:
        told = server.layers(0)
        names = [one["layer"] for one in told["layers"]]
        assert names == ["jury", "annotated", "ellipsoid"], "the judged one first, then the best"
        masks = [ball(radius) for radius in (10.0, 12.0, 14.0)]
        assert [one["voxels"] for one in told["layers"]] == [int(m.sum()) for m in masks]
        assert told["dice"] == [[pytest.approx(dice(a, b)) for b in masks] for a in masks]
        assert [one["judged"] for one in told["layers"]] == [True, False, False]
        assert told["layers"][0]["outlines"] == server.lesions.voi(0).shown()["outlines"]
        assert len(server.layers(1)["layers"]) == 2


def test_a_voi_with_one_mask_has_no_layers_to_compare(client: Client) -> None:
    assert client.json("/api/vois/0/layers") == {"layers": [], "dice": []}


def test_a_layer_that_cannot_be_read_says_why(layered: Path, tmp_path: Path) -> None:
    here = tmp_path / "out"
    shutil.copytree(layered, here)
    path = here / "s/labels/jury/c1_lesion_01_sample_0.nii"
    path.unlink()
    path.symlink_to("/etc/passwd")
    with triage_server(here) as server:
        told = server.layers(0)
        (problem,) = (one["problem"] for one in told["layers"] if one["layer"] == "jury")
        assert "outside of" in problem
        assert told["dice"][0][1] is None and told["dice"][0][2] > 0
