"""What a server of nnInteractive is asked, and what becomes of its answers and failures.

Its weights cannot be had here: a session of the same interface stands in for it, and paints what
is bright in the box's slices. Whether masks of the real one are any good is not told by this.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.certified import ball

from uls_data.ensemble import NnInteractiveMember, Subject
from uls_data.errors import UlsDataError
from uls_data.measure.lines import Lines
from uls_data.voi import VOI_SHAPE

LINES = Lines((120, 128, 136, 128), (128, 120, 128, 136))
PAD = 20
ROW: dict[str, Any] = {
    "source": "s",
    "case_id": "a",
    "lesion_index": 1,
    "voi_id": "a_1",
    **{f"spacing_{axis}_mm": mm for axis, mm in zip("xyz", (0.8, 0.9, 2.0), strict=True)},
    **{f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"},
    "pad_before_x_vox": PAD,
}


class Session:
    """nnInteractive's interface, as its documents have it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, Any]] = []

    def set_image(self, image: np.ndarray) -> None:
        assert image.ndim == 4 and image.dtype == np.float32
        self.image = image[0]

    def set_target_buffer(self, buffer: np.ndarray) -> None:
        assert buffer.shape == self.image.shape
        self.buffer = buffer

    def add_bbox_interaction(
        self, box: list[list[int]], include_interaction: bool, run_prediction: bool = True
    ) -> None:
        self.asked.append(("box", box))

    def add_point_interaction(self, point: list[int], include_interaction: bool) -> None:
        self.asked.append(("point", point))
        assert include_interaction and self.image[tuple(point)] == 60
        self.buffer[self.image == 60] = 1


def subject(**changes: Any) -> Subject:
    hu = np.full(VOI_SHAPE, -100, np.int16)
    hu[:PAD] = -2000
    hu[ball(8, 1.0) == 1] = 60
    return Subject(**{"row": ROW, "image": hu, "lines": LINES, "key_slice": 64, **changes})


def test_it_is_asked_with_the_box_of_the_lines() -> None:
    member = NnInteractiveMember("http://here", connect=Session)
    found = member.mask(subject())
    assert found is not None and (found == (ball(8, 1.0) == 1)).all()
    session = member.session
    assert session.image.shape == (256 - PAD, 256, 128) and session.image.min() == -100
    (_, (x, y, z)), (_, point) = session.asked
    assert z == [64, 65] and point == [128 - PAD, 128, 64]
    assert x[0] + PAD in (120, 121) and x[1] + PAD in (136, 137) and y in ([120, 137], [121, 136])
    assert member.mask(subject(lines=None)) is None
    assert member.mask(subject()) is not None and member.session is session


def test_what_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Expired(Session):
        def set_image(self, image: np.ndarray) -> None:
            raise RuntimeError("lease expired")

    sessions: list[Session] = []

    def connect(url: str) -> Session:
        sessions.append(Expired(url) if not sessions else Session(url))
        return sessions[-1]

    member = NnInteractiveMember("http://here", connect=connect)
    with pytest.raises(UlsDataError, match="a_1: lease expired"):
        member.mask(subject())
    assert member.mask(subject()) is not None and len(sessions) == 2

    def refused(url: str) -> Session:
        raise OSError("connection refused")

    with pytest.raises(UlsDataError, match="no session: connection refused"):
        NnInteractiveMember("http://here", connect=refused).mask(subject())
    monkeypatch.setitem(sys.modules, "nnInteractive", None)
    with pytest.raises(UlsDataError, match="pip install nninteractive-client"):
        NnInteractiveMember("http://here").mask(subject())


def test_the_page_tells_of_it() -> None:
    page = Path(__file__).parents[2] / "docs" / "certificates.md"
    assert "NnInteractiveMember" in page.read_text(encoding="utf-8")
