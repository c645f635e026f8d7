"""VOIs for your own training: in torch's and MONAI's loaders, the same for any worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from makers.vois import ball, write_voi, write_vois
from torch.utils.data import DataLoader

from uls_data import VoiDataset, open_voi
from uls_data.errors import ManifestError

CROP = (16, 32, 48)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(
        torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
        for name, value in one.items()
    )


def test_an_item_is_the_voi_about_its_click(vois: Path) -> None:
    data = VoiDataset(vois, crop=CROP)
    assert len(data) == 5 and {data.row(i)["case_id"] for i in range(5)} == {
        f"p{n}" for n in range(5)
    }
    item = data[1]
    voi = open_voi(item["voi_id"], vois)
    box = (slice(104, 152), slice(112, 144), slice(56, 72))
    assert item["image"].shape == item["lesion"].shape == (1, *CROP)
    assert (item["image"][0].numpy() == voi.image[box].T).all()
    assert (item["lesion"][0].numpy() == voi.mask[box].T).all()
    assert item["known"].all() and item["valid"].all()
    whole = VoiDataset(vois)[1]
    assert whole["image"].shape == (1, 128, 256, 256)
    outside = whole["valid"][0].numpy() == 0
    assert (outside == ~voi.valid.T).all() and outside.any()
    assert (whole["image"][0].numpy()[outside] == voi.image[voi.valid].min()).all()
    assert [VoiDataset(vois, split="heldout").row(0)["case_id"]] == ["p9"]


@pytest.mark.parametrize("pads", ["known", "by value"])
def test_padding_holds_the_smallest_value_of_the_scan(tmp_path: Path, pads: str) -> None:
    """Padding is a box at the edge, or, where a row does not say how much, anything."""
    unknown = dict.fromkeys(f"pad_{side}_x_vox" for side in ("before", "after"))
    row = write_voi(tmp_path, "p1", pad_z=60, **(unknown if pads == "by value" else {}))
    path = tmp_path / row["image_path"]
    image = np.asarray(nibabel.load(path).dataobj).copy()
    if pads == "by value":
        image[100, 100, 60] = row["pad_value_hu"]
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), path)
    write_vois(tmp_path, [row])
    item = VoiDataset(tmp_path, crop=(64, 64, 64))[0]
    part = image[96:160, 96:160, 32:96].T
    valid = part != row["pad_value_hu"]
    assert (item["valid"][0].numpy() == valid).all() and (part[valid] > part.min()).all()
    expected = np.where(valid, part, part[valid].min())
    assert (item["image"][0].numpy() == expected).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_items_for_any_worker(vois: Path, workers: int) -> None:
    options: dict[str, Any] = {"crop": CROP, "reclick": 0.5, "window_hu": (-100, 200), "seed": 4}
    alone = VoiDataset(vois, augment=True, **options)
    plain = VoiDataset(vois, **options)
    loader = DataLoader(
        VoiDataset(vois, augment=True, **options), batch_size=2, num_workers=workers
    )
    batches = list(loader)
    assert [len(batch["voi_id"]) for batch in batches] == [2, 2, 1]
    augmented, before = ([data[i] for i in range(5)] for data in (alone, plain))
    for n, batch in enumerate(batches):
        for slot, name in enumerate(batch["voi_id"]):
            item = {key: values[slot] for key, values in batch.items()}
            assert item["voi_id"] == name and same(augmented[2 * n + slot], item)
    assert not all(torch.equal(augmented[i]["image"], before[i]["image"]) for i in range(5))
    assert all(item["image"].abs().max() <= 1 for item in before)
    # A click lies on the lesion, and another epoch draws others.
    assert all(item["lesion"][0, 8, 16, 24] == 1 for item in before)
    plain.set_epoch(1)
    assert not all(torch.equal(plain[i]["lesion"], before[i]["lesion"]) for i in range(5))


def test_it_trains_a_network_of_ones_own(vois: Path) -> None:
    """Plain torch, as in docs/training.md: a bright ball is soon told from noise."""
    torch.manual_seed(0)
    data = VoiDataset(vois, crop=CROP, window_hu=(-150, 150))
    network = torch.nn.Conv3d(1, 1, 3, padding=1)
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    losses = []
    for epoch in range(6):
        data.set_epoch(epoch)
        for batch in DataLoader(data, batch_size=5):
            wrong = torch.nn.functional.binary_cross_entropy_with_logits(
                network(batch["image"]), batch["lesion"], weight=batch["known"]
            )
            optimizer.zero_grad()
            wrong.backward()
            optimizer.step()
            losses.append(wrong.item())
    assert losses[-1] < 0.7 * losses[0]


def test_monai_takes_it(vois: Path) -> None:
    from monai.data import CacheDataset, ThreadDataLoader
    from monai.losses import DiceLoss

    data = CacheDataset(VoiDataset(vois, crop=CROP), progress=False, num_workers=1)
    batch = next(iter(ThreadDataLoader(data, batch_size=3, num_workers=0)))
    assert batch["image"].shape == (3, 1, *CROP)
    assert 0 < DiceLoss(sigmoid=True)(batch["image"], batch["lesion"]).item() < 1


def test_one_slice_is_known_and_certified_masks_are_asked_for(tmp_path: Path) -> None:
    weak = write_voi(tmp_path, "p1", supervision="weak_2d", key_slice_voi=64)
    solid = write_voi(tmp_path, "p2", supervision="pseudo_3d", layer="pseudo3d-r1")
    sure = write_voi(tmp_path, "p3", supervision="pseudo_3d", layer="pseudo3d-r1", certified=True)
    write_vois(tmp_path, [weak, solid, sure, write_voi(tmp_path, "p4")])
    known = VoiDataset(tmp_path, crop=CROP)[0]["known"][0]
    assert known[8].all() and known.sum() == known[8].numel()
    assert VoiDataset(tmp_path, crop=CROP, weak="background")[0]["known"].all()
    data = VoiDataset(tmp_path, crop=CROP, certified=True)
    assert [data.row(i)["case_id"] for i in range(len(data))] == ["p3", "p4"]
    assert data[0]["lesion"].sum() == np.count_nonzero(ball(10.0))


def test_numbers_of_numpy(vois: Path) -> None:
    options: dict[str, Any] = {"reclick": 1.0, "augment": True}
    expected = VoiDataset(vois, crop=CROP, window_hu=(-30_000, 30_000), seed=3, **options)
    window = (np.int16(-30_000), np.int16(30_000))
    data = VoiDataset(vois, crop=np.array(CROP), window_hu=window, seed=np.int64(3), **options)
    for one in (expected, data):
        one.set_epoch(np.int64(2))
    assert same(expected[4], data[np.uint8(4)]) and same(expected[4], data[-1])
    with pytest.raises(TypeError, match="slice"):
        data[:2]


def test_patients_of_a_test_set_alone(tmp_path: Path) -> None:
    write_vois(tmp_path, [write_voi(tmp_path, "p1", split="heldout")])
    assert len(VoiDataset(tmp_path, split="heldout", crop=CROP)) == 1
    with pytest.raises(ManifestError, match="no row to train on: 1 of held-out patients"):
        VoiDataset(tmp_path, crop=CROP)


def test_rows_edited_by_hand(tmp_path: Path) -> None:
    row = write_voi(tmp_path, "p1", supervision="weak_2d", key_slice_voi=500)
    write_vois(tmp_path, [row])
    with pytest.raises(ManifestError, match="key_slice_voi: expected slices 0 to 127, found 500"):
        VoiDataset(tmp_path, crop=CROP)
    # A reader may have measured beyond the VOI.
    write_vois(tmp_path, [row | {"supervision": "pseudo_3d"}])
    assert VoiDataset(tmp_path, crop=CROP)[0]["lesion"].any()
    write_vois(tmp_path, [row | {"sample_index": None, "key_slice_voi": 64}])
    with pytest.raises(ManifestError, match=f"s {row['voi_id']}: a row of a mask without"):
        VoiDataset(tmp_path, crop=CROP)


def test_a_layer_is_not_part_of_another_ones_name(tmp_path: Path) -> None:
    layers = ("pseudo3d-r1", "pseudo3d-r10")
    rows = [
        write_voi(tmp_path, f"p{n}", supervision="pseudo_3d", layer=layer)
        for n, layer in enumerate(layers)
    ]
    write_vois(tmp_path, rows)
    assert len(VoiDataset(tmp_path, layers="pseudo3d-r10", crop=CROP)) == 1


def test_what_is_asked_in_vain(vois: Path) -> None:
    for options, words in [
        ({"crop": (15, 32, 32)}, "crop"),
        ({"crop": (16, 32, 300)}, "crop"),
        ({"split": "test"}, "expected train or heldout"),
        ({"weak": "maybe"}, "expected one of"),
        ({"augment": True}, "window_hu"),
        ({"window_hu": (3, 3)}, "the lower first"),
        ({"window_hu": (-np.inf, 3)}, "expected two numbers"),
        ({"reclick": 2}, "expected a share"),
        ({"reclick": np.nan}, "expected a share"),
    ]:
        with pytest.raises(ManifestError, match=words):
            VoiDataset(vois, **options)
