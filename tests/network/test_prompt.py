"""The grid about a reader's lines, there and back, and networks that are told them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from makers.vois import ball, tiny_plan, write_voi, write_vois

from uls_data import predict, train
from uls_data.errors import CaseError
from uls_data.manifest.example import read_examples
from uls_data.measure.lines import Lines
from uls_data.measure.overlap import dice
from uls_data.network.checkpoint import load_model, read_checkpoint
from uls_data.network.drawn import respected, votes
from uls_data.network.inference import Rule
from uls_data.network.plan import Intensities, ModelError, Plan, Prompt, load_plan
from uls_data.network.prompt import Drawn, Frame, drawn_of, framed, longest, simulated
from uls_data.network.prompted import Prompted
from uls_data.network.stack_prediction import predict_stack
from uls_data.network.voxels import LESION, SUPERVISED, VALID, Region, channels_of

SHAPE = (16, 32, 32)


def prompted_plan(**training: object) -> Plan:
    plan = tiny_plan(**training)
    return plan.model_copy(update={"crop": SHAPE, "pool": (1, 1, 1), "prompt": Prompt()})


def across(x: float, y: float, long: float, short: float) -> Lines:
    return Lines.of([[x - long / 2, y], [x + long / 2, y], [x, y - short / 2], [x, y + short / 2]])


def region(shape: tuple[int, int, int], lesion: np.ndarray) -> Region:
    marks = np.where(lesion, VALID | LESION | SUPERVISED, VALID | SUPERVISED).astype(np.uint8)
    hu = np.where(lesion, 60, -50).astype(np.int16)
    z, y, x = (n // 2 for n in shape)
    return Region(hu, marks, (z, y, x))


@settings(deadline=None, max_examples=12)
@given(st.floats(6, 30), st.floats(0.4, 1), st.floats(0.5, 2), st.floats(1, 5), st.integers(20, 40))
def test_a_mask_comes_back_from_the_grid(
    long: float, ratio: float, pixel: float, step: float, at: int
) -> None:
    drawn = Drawn(across(31.3, 30.2, long, ratio * long), at, (pixel, pixel, step))
    frame = Frame.about(drawn, Prompt(), (32, 48, 48))
    z, y, x = np.ogrid[:64, :64, :64]
    by_lines = long * np.sqrt(ratio) * pixel / step / 2
    half_z = max(by_lines, 1.5)
    assume(3 * by_lines > half_z + 0.25)  # what lies beyond the grid does not come back
    ellipsoid = (
        ((x - 31.3) / (long / 2)) ** 2
        + ((y - 30.2) / (ratio * long / 2)) ** 2
        + ((z - at) / half_z) ** 2
    ) <= 1
    on_grid = frame.sampled(ellipsoid, 1, 0)
    box = frame.box(ellipsoid.shape)
    back = np.zeros_like(ellipsoid)
    back[box] = frame.spread(on_grid, box) >= 0.5
    assert dice(back, ellipsoid) > 0.8
    # The grid's middle is the ellipse's, on the key slice itself.
    assert frame.centre == pytest.approx((at, 30.2, 31.3))
    assert frame.middle == (at, 30, 31)


def test_channels_show_the_lines() -> None:
    lesion = ball(10.0).T.astype(bool)
    drawn = longest(simulated(lesion, (1.0, 1.0, 1.0)))
    assert drawn.slice_vox == 64 and drawn.lines.long_vox == pytest.approx(20, abs=1)
    seen = framed(region(lesion.shape, lesion), Frame.about(drawn, Prompt(), SHAPE), Prompt())
    assert seen.hu.shape == SHAPE and seen.level_hu == 60
    assert seen.prompt is not None and seen.prompt.shape == (2, *SHAPE)
    radius, key = seen.prompt
    assert radius[8, 16, 16] > 1.8 and radius.min() == -1
    assert (radius > 1).mean() == pytest.approx(np.pi / 6 * (1 / 2) ** 2 / 3, rel=0.2)
    assert set(np.unique(key[8])) == {-1.0, 1.0} and not key[:8].any() and not key[9:].any()
    assert dice(key[8] > 0, (seen.marks[8] & LESION) != 0) > 0.9
    intensities = load_plan("baseline").intensities
    assert isinstance(intensities, Intensities)
    ct, above, *told = channels_of(seen, intensities)
    assert np.array_equal(np.stack(told), seen.prompt)
    # The lesion is at its own level, what lies around it 110 HU below.
    assert above[8, 16, 16] == 0 and above[0, 0, 0] == pytest.approx(-110 / 60)
    assert ct[8, 16, 16] > ct[0, 0, 0]


def test_further_channels_show_what_is_near_the_lines_and_like_the_lesion() -> None:
    lesion = ball(10.0).T.astype(bool)
    drawn = longest(simulated(lesion, (1.0, 1.0, 1.0)))
    prompt = Prompt(channels=("radius", "key", "lines", "ends", "likeness"))
    frame = Frame.about(drawn, prompt, SHAPE)
    seen = framed(region(lesion.shape, lesion), frame, prompt)
    plain = framed(region(lesion.shape, lesion), frame, Prompt())
    assert seen.prompt is not None and plain.prompt is not None
    assert np.array_equal(seen.prompt[:2], plain.prompt)
    _, _, lines, ends, like = seen.prompt
    # The grid's middle lies where the lines cross; half a long axis away both have fallen to 0.
    assert lines[8, 16, 16] == pytest.approx(1, abs=0.05) and lines[8].max() == lines.max()
    assert ends[8, 16, 16] == pytest.approx(0, abs=0.1) and ends.max() > 0.9
    assert (ends <= lines + 1e-6).all() and lines.min() == ends.min() == -1
    per_slice = frame.step[0] / (drawn.lines.long_vox / 2)
    assert lines[10, 16, 16] == pytest.approx(1 - 2 * per_slice, abs=0.02)
    # Away from the edge, which is smoothed; whatever the distance to the lines.
    assert like[seen.prompt[0] > 1.8].min() > 0.9 and like[seen.prompt[0] < 0.5].max() < -0.9


def test_beyond_the_voi_is_padding() -> None:
    lesion = np.zeros((64, 64, 64), bool)
    lesion[0:4, 0:8, 0:8] = True
    drawn = Drawn(across(3, 3, 8, 8), 1, (1.0, 1.0, 1.0))
    seen = framed(region(lesion.shape, lesion), Frame.about(drawn, Prompt(), SHAPE), Prompt())
    valid = (seen.marks & VALID) != 0
    assert not valid[0].any() and not valid[:, 0].any() and valid[8, 16, 16]
    assert ((seen.marks & SUPERVISED) != 0)[~valid].all()


def test_simulated_lines_lie_near_the_longest_slice() -> None:
    lesion = ball(12.0).T.astype(bool)
    found = simulated(lesion, (1.0, 1.0, 1.0))
    lengths = [drawn.lines.long_vox for drawn in found]
    assert len(found) > 3 and min(lengths) >= 0.75 * max(lengths)
    assert simulated(np.zeros((4, 9, 9), bool), (1.0, 1.0, 1.0)) == []


def test_training_parts_hold_every_frame(tmp_path: Path) -> None:
    write_vois(tmp_path, [write_voi(tmp_path, "p1", 10)])
    (example,) = read_examples(tmp_path)
    lesion = ball(10.0).T.astype(bool)
    whole = region(lesion.shape, lesion)
    prompted = Prompted(Prompt(), SHAPE)
    part = prompted.needed(0, example.row, whole)
    assert part.hu.size < whole.hu.size / 20
    for seed in range(5):
        seen = prompted.framed(0, part, np.random.default_rng(seed))
        again = prompted.framed(0, part, np.random.default_rng(seed))
        assert (seen.hu == again.hu).all() and (seen.marks == again.marks).all()
        # All of the lesion is seen, and no padding, which there is none of.
        assert ((seen.marks & VALID) != 0).all()
        marks = (seen.marks & LESION) != 0
        assert marks.any() and not marks[0].any() and not marks[:, 0].any()


def test_rows_without_lines_or_spacing_say_so() -> None:
    row = write_row_of()
    with pytest.raises(CaseError) as caught:
        drawn_of({**row, "recist_points_vox": None})
    assert caught.value.reason == "not_measured"
    with pytest.raises(CaseError) as caught:
        drawn_of({**row, "spacing_z_mm": None})
    assert caught.value.reason == "spacing_unknown"
    with pytest.raises(CaseError) as caught:
        drawn_of({**row, "recist_points_vox": [1.0, 1, 9, 1, 2, 1, 8, 1]})
    assert caught.value.reason == "degenerate_lines"


def test_lines_reach_as_far_as_the_lesion() -> None:
    plain, further = (drawn_of({**write_row_of(), "recist_outward_vox": v}) for v in (None, 0.5))
    assert plain.lines.long_vox == 20.0 and further.lines.long_vox == pytest.approx(21.0)
    assert drawn_of(write_row_of()) == plain  # a manifest that is older than the column


def write_row_of() -> dict[str, object]:
    points = [118.0, 128.0, 138.0, 128.0, 128.0, 118.0, 128.0, 138.0]
    spacing = {f"spacing_{axis}_mm": 1.0 for axis in "xyz"}
    return {"recist_points_vox": points, "key_slice_voi": 64, **spacing}


WEAK = {
    "supervision": "weak_2d", "layer": "jury", "key_slice_voi": 64,
    "recist_long_vox": 20.0, "recist_short_vox": 20.0,
    "recist_points_vox": write_row_of()["recist_points_vox"],
}  # fmt: skip


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weak")
    rows = [write_voi(out, f"w{n}", 10, **WEAK) for n in range(2)]
    rows.append(write_voi(out, "w9", 10, **{**WEAK, "recist_points_vox": None}))
    write_vois(out, rows)
    return out


@pytest.fixture(scope="module")
def teacher(vois: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on full masks with simulated lines: hardly more than the ellipsoid it starts from."""
    out = tmp_path_factory.mktemp("teacher")
    report = train(vois, out, plan=prompted_plan(augment=True), device="cpu", steps=3, workers=1)
    assert report.failed == [] and report.validation[-1]["dice"] > 0.65
    return out


def test_a_prompted_model_predicts_by_the_lines(weak: Path, teacher: Path, tmp_path: Path) -> None:
    masks = []
    for batch, workers in [(1, 1), (3, 2)]:
        out = tmp_path / str(batch)
        report = predict(
            weak,
            teacher,
            out,
            device="cpu",
            batch_size=batch,
            workers=workers,
            jitter=2,
            tta=True,
        )
        assert report.counts == {"ok": 2, "skipped": 1}
        for row in report.rows[:2]:
            assert row["teacher_prompt"] == "lines" and row["layer"] == "pseudo3d-r1"
            measures = {score["measure"] for score in row["candidate_scores"]}
            assert {"click_dice", "view_disagreement"} <= measures
            # The lesion is half as high as its lines would have it.
            assert 0.9 * ball(10.0).sum() < row["mask_voxels"] < 2.3 * ball(10.0).sum()
        assert report.rows[2]["reason"] == "not_measured"
        masks.append([row["label_voxels_sha256"] for row in report.rows[:2]])
    assert masks[0] == masks[1]


def test_image_and_lines_vote_beside_the_network(weak: Path, teacher: Path, tmp_path: Path) -> None:
    truth, found = ball(10.0) != 0, {}
    for vote in (None, True, False):
        report = predict(weak, teacher, tmp_path / str(vote), device="cpu", image_vote=vote)
        (label,) = (tmp_path / str(vote)).rglob("w0*.nii.gz")
        found[vote] = np.asarray(nibabel.load(label).dataobj) != 0
        assert report.rows[0]["predicted_dice"] <= 1
    assert (found[None] == found[True]).all()
    # The lesion is half as high as its lines would have it, and the image shows it.
    assert dice(found[True], truth) > max(0.9, dice(found[False], truth) + 0.02)
    clicks = prompted_plan().model_copy(update={"prompt": None})
    assert not votes(None, clicks) and not votes(False, prompted_plan())
    with pytest.raises(ModelError, match="not told any lines"):
        votes(True, clicks)


def test_the_key_slice_follows_the_rule(weak: Path, teacher: Path, tmp_path: Path) -> None:
    plane = ball(10.0)[:, :, 64] != 0
    found, told = {}, []
    rules: tuple[Rule, ...] = ("leave", "replace", "blend", "auto")
    for rule in rules:
        report = predict(
            weak, teacher, tmp_path / rule, device="cpu", key_slice=rule, image_vote=False
        )
        (label,) = (tmp_path / rule).rglob("w0*.nii.gz")
        found[rule] = np.asarray(nibabel.load(label).dataobj) != 0
        told.append(report.rows[0]["key_slice_dice"])
    assert (found["replace"][:, :, 64] == plane).all()
    assert not (found["leave"][:, :, 64] == plane).all()
    assert (found["auto"] == found["replace"]).all()
    # Columns tell what the network said, whatever the rule.
    assert told == [pytest.approx(dice(found["leave"][:, :, 64], plane))] * len(rules)
    with pytest.raises(ModelError, match="replace, blend, leave"):
        predict(weak, teacher, tmp_path / "x", device="cpu", key_slice="other")  # type: ignore[arg-type]


def test_one_component_no_farther_than_the_long_axis() -> None:
    mask = np.zeros((128, 256, 256), bool)
    mask[30:110, 120:137, 120:137] = True
    mask[64, 10:20, 10:20] = True
    plane = np.zeros((256, 256), bool)
    plane[118:139, 118:139] = True
    drawn = Drawn(across(128, 128, 20, 20), 64, (1.0, 1.0, 1.0))
    made = respected(mask, plane, drawn, "replace")
    assert (made[64] == plane).all()
    slices = np.flatnonzero(made.any(axis=(1, 2)))
    assert slices.min() == 64 - 21 and slices.max() == 64 + 21 and (np.diff(slices) == 1).all()
    assert (respected(mask, plane, drawn, "leave") == mask).all()
    blended = respected(mask, plane, drawn, "blend")
    assert blended[64, 128, 128] and not blended[64, 118, 118]


class KilledError(Exception):
    pass


def test_an_interrupted_training_comes_to_the_same_weights(vois: Path, tmp_path: Path) -> None:
    """Which of a lesion's lines it is told, and how they are moved, depends on the step alone."""
    plan = prompted_plan(augment=True)

    def run(out: Path, kill_after: int = 0) -> dict[str, torch.Tensor]:
        left = [kill_after]

        def progress(_count: int, _loss: float) -> None:
            left[0] -= 1
            if not left[0]:
                raise KilledError

        train(vois, out, plan=plan, device="cpu", seed=7, steps=6, workers=1, progress=progress)
        return dict(read_checkpoint(out / "fold_0" / "checkpoint_final.pth")["network_weights"])

    whole = run(tmp_path / "whole")
    for kill_after in (4, 1):
        with pytest.raises(KilledError):
            run(tmp_path / "out", kill_after)
    again = run(tmp_path / "out")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_what_a_prompted_model_is_no_good_for(teacher: Path, tmp_path: Path) -> None:
    assert not (teacher / "plans.json").exists()
    loaded = load_model(teacher)
    assert loaded.plan.prompt is not None and loaded.plan.channels == 4
    with pytest.raises(ModelError, match="lines"):
        stack = tmp_path / "a.mha"
        predict_stack(stack, teacher, tmp_path / "out", device="cpu")
    with pytest.raises(ModelError, match="prompt differs"):
        clicks = prompted_plan().model_copy(update={"prompt": None})
        train(tmp_path, tmp_path / "m", init=teacher, plan=clicks, device="cpu")
