"""A third person decides where two curators differ, looking at the masks that both edited."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from makers.asking import STRANGE, Client
from makers.browser import Page
from makers.builds import ball
from makers.editable import voi_id, write_editable
from makers.serving import running

from uls_data import open_voi
from uls_data.cli.triage import command
from uls_data.errata import (
    ErrataError,
    apply_errata,
    check_errata,
    compare_errata,
    load_overlay,
    merge_errata,
)
from uls_data.errata.mask import patch_file
from uls_data.measure.overlap import dice
from uls_data.provenance import blame
from uls_data.triage import TriageServer, triage_server
from uls_data.triage.editing import runs_of

BUILT, SMALL, LARGE = (ball(radius) != 0 for radius in (7.0, 5.0, 9.0))


class Desks(NamedTuple):
    """A build of three VOIs, and what two curators made of it."""

    out: Path
    ann: Path
    ben: Path


def curate(out: Path, name: str, mask: Any, reason: str) -> Path:
    """Judge the first VOI, edit the second, accept the third; all of it in one overlay."""
    overlay = out.parent / f"{name}.yaml"
    with triage_server(out, overlay=overlay, author=name) as server:
        server.judge([0], "rejected", reason=reason)
        before = server.lesions.subject(1).sha256
        body = {"number": 1, "before": before, "reason": f"as {name} sees it"}
        server.edit(body | {"runs": runs_of(mask)})
        server.judge([1, 2], "accepted")
    edits = out.parent / f"{name}-edits.yaml"
    return merge_errata([edits, overlay], out.parent / f"{name}-all.yaml").path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adjudication")
    write_editable(folder / "out", 3)
    curate(folder / "out", "ann", SMALL, "leak")
    overlay = curate(folder / "out", "ben", LARGE, "shifted")
    text = overlay.read_text().replace("kind: drop", "kind: note").replace("rejected", "noted")
    before = load_overlay(overlay).corrections[0].before
    # Ben keeps the first one, and says why he is not sure.
    overlay.write_text(text.replace(f"before: {before}", f"before: {before}\n  after: {before}", 1))
    return folder


@pytest.fixture
def desks(written: Path, tmp_path: Path) -> Desks:
    here = Path(shutil.copytree(written, tmp_path / "here"))
    return Desks(here / "out", here / "ann-all.yaml", here / "ben-all.yaml")


@pytest.fixture
def server(desks: Desks) -> Iterator[TriageServer]:
    asked = {"adjudicate": [desks.ann, desks.ben], "author": "chair"}
    with running(triage_server(desks.out, **asked)) as server:
        yield server


def test_only_vois_on_which_they_differ_are_shown_with_their_words(
    server: TriageServer, desks: Desks
) -> None:
    assert len(server.lesions) == 2
    assert server.voi(0)["why"] == ("ann-all: rejected (leak)", "ben-all: noted (shifted)")
    assert server.voi(1)["why"] == (
        "ann-all: edited (as ann sees it)",
        "ben-all: edited (as ben sees it)",
    )
    assert server.verdicts.path == desks.out / "errata" / "decisions.yaml"
    assert server.editor.overlay == desks.out / "errata" / "decisions-edits.yaml"
    (table,) = (desks.out.parent / "differ.csv",)
    compare_errata([desks.ann, desks.ben], to_list=table)
    with triage_server(
        desks.out, listed=table, adjudicate=[desks.ann, desks.ben], sort="-voi_id"
    ) as listed:
        assert listed.voi(0)["why"][0].startswith("disagreement: ann-all: edited"), "its own words"
        assert len(listed.layers(0)["layers"]) == 3


def test_edited_masks_are_layers_with_the_dice_between_them(server: TriageServer) -> None:
    assert server.layers(0) == {"layers": [], "dice": []}, "nobody edited it"
    told = server.layers(1)
    names = [(one["layer"], one["judged"], one["offered"]) for one in told["layers"]]
    assert names == [
        ("annotated", True, None),
        ("ann-all", False, "ann-all"),
        ("ben-all", False, "ben-all"),
    ]
    masks = [BUILT, SMALL, LARGE]
    assert [one["voxels"] for one in told["layers"]] == [int(mask.sum()) for mask in masks]
    assert told["dice"] == [[pytest.approx(dice(a, b)) for b in masks] for a in masks]
    assert told["layers"][1]["annotator"] == "edited (as ann sees it)"
    assert told["layers"][1]["outlines"] != told["layers"][2]["outlines"]


def test_a_mask_that_is_taken_is_judged_and_the_built_one_can_be_had_back(
    server: TriageServer, desks: Desks
) -> None:
    client = Client(server.address)
    client.json("/api/verdicts", {"numbers": [1], "word": "accepted"})
    told = client.json("/api/masks", {"number": 1, "take": "ben-all"})
    assert told["changed"] == [[1, ".", ""]] and told["reload"]
    found = client.json("/api/vois/1/layers")
    assert [one["layer"] for one in found["layers"]] == [
        *("annotated", "annotated, as built", "ann-all", "ben-all"),
    ]
    assert found["dice"][0][3] == 1.0 and found["dice"][0][1] < 1
    assert found["layers"][1]["offered"] == ""
    (correction,) = load_overlay(server.editor.overlay).corrections
    assert (correction.author, correction.reason) == ("chair", "mask of ben-all")
    assert correction.evidence == "chosen in triage, see ben-all: edited (as ben sees it)"
    status, _, data = client.ask("/api/masks", {"number": 1, "take": "ben-all"})
    assert status == 409 and "nothing to save" in json.loads(data)["error"]
    client.json("/api/masks", {"number": 1, "take": ""})
    assert [one["layer"] for one in server.layers(1)["layers"]][1:] == ["ann-all", "ben-all"]
    assert client.json("/api/states")["edited"] == {}
    asked = {"adjudicate": [desks.ann, desks.ben]}
    with triage_server(desks.out, **asked) as again:
        assert again.lesions.edited() == {}


@pytest.mark.parametrize("headers", STRANGE, ids=str)
def test_strangers_take_no_mask(server: TriageServer, headers: dict[str, str | None]) -> None:
    client = Client(server.address)
    assert client.ask("/api/masks", {"number": 1, "take": "ann-all"}, **headers)[0] == 403
    assert not server.editor.overlay.exists()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"number": 2, "take": "ann-all"}),
        (400, {"number": True, "take": "ann-all"}),
        (400, {"number": 1, "take": "../ann-all"}),
        (400, {"number": 1, "take": None}),
        (400, {"number": 1, "take": ["ann-all"]}),
        (409, {"number": 0, "take": "ann-all"}),
        (409, {"number": 1, "take": ""}),
    ],
    ids=str,
)
def test_what_is_no_choice_is_refused(server: TriageServer, status: int, body: Any) -> None:
    assert Client(server.address).ask("/api/masks", body)[0] == status
    assert not server.editor.overlay.exists()


def test_a_mask_that_cannot_be_read_says_why(server: TriageServer, desks: Desks) -> None:
    patch = next(str(c.patch) for c in load_overlay(desks.ann).corrections if c.patch)
    patch_file(desks.ann, patch).write_bytes(b"broken")
    told = server.layers(1)
    assert "is not the file of its name" in told["layers"][1]["problem"]
    assert told["layers"][1]["offered"] is None and told["dice"][0][1] is None
    status, _, data = Client(server.address).ask("/api/masks", {"number": 1, "take": "ann-all"})
    assert status == 409 and "is not the file of its name" in json.loads(data)["error"]


def test_a_mask_of_another_build_says_so(desks: Desks) -> None:
    text = desks.ann.read_text()
    first = next(c for c in load_overlay(desks.ann).corrections if c.patch)
    desks.ann.write_text(text.replace(f"before: {first.before}", f"before: '{'0' * 64}'"))
    with triage_server(desks.out, adjudicate=[desks.ann, desks.ben]) as server:
        assert "another mask" in server.layers(1)["layers"][1]["problem"]
        with pytest.raises(ErrataError, match="ann-all: has corrections of another mask"):
            server.take_mask(1, "ann-all")


def test_who_cannot_adjudicate_is_told_why(desks: Desks) -> None:
    out, ann, ben = desks
    with pytest.raises(ErrataError, match="at least 2 overlays"):
        triage_server(out, adjudicate=[ann])
    with pytest.raises(ErrataError, match=r"ann-all\.yaml: is one of the overlays to adjudicate"):
        triage_server(out, adjudicate=[ann, ben], overlay=ann)
    same = ann.with_name("same.yaml")
    same.write_text(ann.read_text().replace("name: ann-all", "name: same"))
    with pytest.raises(ErrataError, match="ann-all, same differ on no VOI: nothing to adjudicate"):
        triage_server(out, adjudicate=[ann, same])
    told = CliRunner().invoke(command, [str(out), "--draw", "x", "--adjudicate", str(ann)])
    assert told.exit_code == 2 and "--adjudicate is for verdicts" in told.output


def test_the_command_says_how_to_go_on(desks: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    out, ann, ben = desks

    def decide(server: TriageServer) -> None:
        server.take_mask(1, "ann-all")
        server.judge([0, 1], "accepted")

    monkeypatch.setattr(TriageServer, "serve_forever", decide)
    both = ["--adjudicate", str(ann), "--adjudicate", str(ben)]
    told = CliRunner().invoke(command, [str(out), *both])
    decisions = [
        f"--decision {out}/errata/{name}.yaml" for name in ("decisions-edits", "decisions")
    ]
    assert told.exit_code == 0
    assert f"errata merge {ann} {ben} {' '.join(decisions)} --out both.yaml" in told.output


def test_the_decision_is_made_by_looking(
    page: Page, start: Callable[..., Any], desks: Desks
) -> None:
    out, ann, ben = desks
    served = start(out, *("--adjudicate", str(ann), "--adjudicate", str(ben)), "--author", "chair")
    page.open(served.address)
    page.shows(voi_id(0))
    assert page.text("#why") == "ann-all: rejected (leak)ben-all: noted (shifted)"
    assert page.wait("document.querySelector('#layers').hidden")
    page.press("l")
    page.shows(voi_id(1))
    page.wait("document.querySelectorAll('#layer-list li').length === 3")
    second, third = (page.text(f"#layer-list li:nth-child({n})") for n in (2, 3))
    assert second.startswith(f"ann-allDice {dice(BUILT, SMALL):.2f}"), second
    assert third.startswith(f"ben-allDice {dice(BUILT, LARGE):.2f}"), third
    assert page.wait("document.querySelector('#dice-of').open")
    assert f"{dice(SMALL, LARGE):.2f}" in page.text("#dice")
    strokes = """[...document.querySelectorAll('figure:first-child path')]
        .map((path) => path.getAttribute('stroke')).join(' ')"""
    page.wait(f"{strokes} === '#56b4e9 #e69f00 #cc79a7'")
    swatches = """[...document.querySelectorAll('#layer-list i')]
        .map((one) => one.style.background).join(' ')"""
    assert page.wait(swatches) == "rgb(86, 180, 233) rgb(230, 159, 0) rgb(204, 121, 167)"
    page.press("6")  # Ben's away
    page.wait(f"{strokes} === '#56b4e9 #e69f00'")
    page.browser.find_element("css selector", "[aria-label='Take the mask of ann-all']").click()
    page.wait_for("#message", "the mask of ann-all is judged now")
    page.wait("document.querySelectorAll('#layer-list li').length === 4")
    assert page.text("#layer-list li:nth-child(3)").startswith("ann-allDice 1.00")
    page.press("a")
    page.wait_for("#counts", "2 of 2 judged")
    # The wall shows what was taken.
    page.press("g")
    page.wait("document.body.dataset.wall === 'ready'")
    hashes = "[...document.querySelectorAll('.tile img')].map((i) => i.src.split('/').length)"
    assert page.wait(hashes) == [6, 7]
    assert page.errors() == []
    served.end(signal.SIGINT)

    decisions = [out / "errata" / name for name in ("decisions-edits.yaml", "decisions.yaml")]
    merged = merge_errata([ann, ben], out.parent / "both.yaml", decisions=decisions)
    assert merged.conflicts == () and merged.vois == {"decided": 2, "agreed": 1}
    assert {one.outcome for one in check_errata(merged.path, out)} == {"fits"}
    apply_errata(merged.path, out)
    assert np.array_equal(open_voi(voi_id(1), out).mask, SMALL)
    edit, verdict = blame(voi_id(1), out)[-2:]
    assert (edit.kind, edit.author) == ("replace", "chair") and "mask of ann-all" in edit.words
    assert verdict.kind == "note"
