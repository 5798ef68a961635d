import numpy as np
import pytest

from tests.anomalies.conftest import BACKGROUND, walking_square
from vad_pipeline.anomalies import instance_segmentation, masks
from vad_pipeline.anomalies.masks import (
    PRESETS,
    Masks,
    cleaned,
    components,
    hole_jobs,
    hole_of_objects,
    moving,
    object_jobs,
    object_rows,
    random_mask,
    temporal_median,
)
from vad_pipeline.anomalies.pool import Pool, runs_of


def generator(seed=0):
    return np.random.default_rng(seed)


def truth(t, seed=0):
    mask = np.zeros((50, 70), bool)
    left = (2 * t + 5 * seed) % 61
    mask[20:32, left : left + 9] = True
    return mask


def test_the_median_of_a_clip_is_the_scene_without_what_passes_through_it():
    assert np.abs(temporal_median(walking_square(60)).astype(int) - BACKGROUND).max() <= 2


def test_moving_objects_are_found_where_they_are(clips):
    config = Masks(min_area=30)
    found = list(object_rows(clips["train/01"], config, 0, None))
    assert len(found) == 30
    for t in (0, 7, 29):
        overlap = (found[t] & truth(t, 1)).sum() / (found[t] | truth(t, 1)).sum()
        assert overlap > 0.6  # the smoothing of noise widens it by a pixel or two
        assert (found[t] & truth(t, 1)).sum() > 0.95 * truth(t, 1).sum()


def test_rows_do_not_depend_on_where_a_chunk_begins(clips):
    config = Masks(min_area=30)
    whole = list(object_rows(clips["train/00"], config, 0, None))
    part = list(object_rows(clips["train/00"], config, 11, 17))
    assert np.array_equal(np.stack(whole[11:17]), np.stack(part))


def test_a_change_of_the_light_moves_nothing():
    brighter = (BACKGROUND + 30).astype(np.uint8)
    assert not moving(brighter, BACKGROUND, 20).any()
    brighter[10:20, 10:20] += 60
    assert moving(brighter, BACKGROUND, 20)[12:18, 12:18].all()


def test_specks_and_what_fills_the_picture_are_no_objects():
    mask = np.zeros((40, 60), bool)
    mask[2:5, 2:5] = True
    mask[10:20, 10:20] = True
    assert components(cleaned(mask, 64, 0.3))[0].box == (10, 10, 10, 10)
    assert len(components(cleaned(mask, 64, 0.3))) == 1
    mask[:, 25:] = True
    assert len(components(cleaned(mask, 64, 0.3))) == 1
    assert len(components(cleaned(mask, 64, 1.0))) == 2


def test_a_hole_is_some_objects_grown_by_the_given_number_of_pixels():
    objects = np.zeros((60, 90), bool)
    for left in (5, 30, 55):
        objects[20:30, left : left + 10] = True
    counts = {len(components(hole_of_objects(objects, Masks(dilate=2), generator(seed)))) for seed in range(30)}
    assert counts == {1, 2, 3}
    hole = hole_of_objects(objects, Masks(objects=(3, 3), dilate=4), generator())
    assert [part.box for part in components(hole)] == [(16, 1, 18, 18), (16, 26, 18, 18), (16, 51, 18, 18)]
    alone = hole_of_objects(objects, Masks(objects=(3, 3), dilate=0), generator())
    assert np.array_equal(alone, objects)


@pytest.mark.parametrize("preset", ["thin", "medium", "thick"])
@pytest.mark.parametrize("size", [(256, 256), (31, 57), (128, 192)])
def test_a_random_mask_covers_something_and_at_most_half(preset, size):
    shares = [random_mask(*size, preset, generator(seed)).mean() for seed in range(40)]
    assert min(shares) > 0
    assert max(shares) <= 0.5
    assert np.std(shares) > 0


@pytest.fixture
def only(monkeypatch):
    """Lets a preset draw nothing but boxes, or nothing but chains of strokes."""

    def leave(preset, what):
        weight = {"boxes": 1e9, "chains": 0.0}[what]
        monkeypatch.setitem(PRESETS, preset, PRESETS[preset]._replace(box_weight=weight))

    return leave


def test_a_chain_of_strokes_goes_one_way_and_the_next_chain_the_other(only, monkeypatch):
    """LaMa mirrors every other chain as a whole: no stroke of an even one goes right, none of an odd one left."""
    only("medium", "chains")
    chains, draw = [], masks.cv2.line

    def line(mask, start, end, *others):
        if not mask.any():
            chains.clear()  # of a mask that was refused
        if not chains or chains[-1][-1] != start:
            chains.append([start])
        chains[-1].append(end)
        return draw(mask, start, end, *others)

    monkeypatch.setattr(masks.cv2, "line", line)
    longest = 0
    for seed in range(40):
        random_mask(256, 256, "medium", generator(seed))
        assert 4 <= len(chains) <= 6
        for number, chain in enumerate(chains):
            right = np.diff([x for x, _ in chain]) * (-1 if number % 2 == 0 else 1)
            assert right.min() >= 0
            longest = max(longest, len(chain) - 1)
    assert longest == 5


def test_medium_masks_reach_over_as_much_of_the_picture_as_lama_s():
    """LaMa's own generator gives boxes around its masks of 0.734 of the picture; strokes turned one by one, 0.703."""

    def box(mask):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / mask.size

    shares = [box(random_mask(256, 256, "medium", generator(seed))) for seed in range(2500)]
    assert np.mean(shares) == pytest.approx(0.734, abs=0.012)


@pytest.mark.parametrize(("size", "margin"), [((256, 256), 10), ((128, 192), 5)])
def test_thick_boxes_are_one_to_three_and_keep_a_margin(only, size, margin):
    only("thick", "boxes")
    drawn = [random_mask(*size, "thick", generator(seed)) for seed in range(400)]
    assert {len(components(mask)) for mask in drawn} == {1, 2, 3}
    ((top, left, high, wide),) = (part.box for part in components(np.any(drawn, axis=0)))
    assert (top, left, size[0] - top - high, size[1] - left - wide) == (margin,) * 4


def test_random_masks_are_strokes_and_sometimes_boxes():
    """LaMa weighs strokes 1 and boxes 0.3; only boxes are rectangles whose parts fill their own box."""

    def rectangular(mask):
        return all(part.mask.all() for part in components(mask))

    share = np.mean([rectangular(random_mask(256, 256, "thick", generator(seed))) for seed in range(300)])
    assert 0.08 < share < 0.3


def test_equal_seeds_give_equal_holes_and_frames_differ(clips, store_clips):
    config = Masks(min_area=30, objects=(1, 1))
    objects = store_clips(
        {clip: np.stack(list(object_rows(stored, config, 0, None))) for clip, stored in clips.items()}
    )
    runs = runs_of({clip: len(stored) for clip, stored in objects.items()}, Pool(), 0)
    jobs = hole_jobs(objects, runs, config, 0)
    assert list(jobs) == ["train/00@0", "train/01@0", "train/02@0"]
    whole = np.stack(list(jobs["train/00@0"].rows(0, None)))
    assert np.array_equal(whole, np.stack(list(hole_jobs(objects, runs, config, 0)["train/00@0"].rows(0, None))))
    assert np.array_equal(whole[9:12], np.stack(list(jobs["train/00@0"].rows(9, 12))))
    assert not np.array_equal(whole[0], whole[5])
    per_clip = Masks(min_area=30, per="clip")
    one = np.stack(list(hole_jobs(objects, runs, per_clip, 0)["train/00@0"].rows(0, None)))
    assert (one == one[0]).all()
    random = Masks(kind="random")
    a, b = (np.stack(list(hole_jobs(objects, runs, random, seed)["train/00@0"].rows(0, 3))) for seed in (0, 1))
    assert not np.array_equal(a, b)
    assert not np.array_equal(a[0], a[1])


def test_a_frame_without_objects_gets_a_random_hole(store_clips):
    empty = store_clips({"train/01": np.zeros((4, 40, 60), bool)})
    runs = runs_of({"train/01": 4}, Pool(), 0)
    holes = np.stack(list(hole_jobs(empty, runs, Masks(), 0)["train/01@0"].rows(0, None)))
    assert holes.any(axis=(1, 2)).all()


def test_what_does_not_decide_the_objects_does_not_change_their_fingerprint(clips):
    first = object_jobs(clips, Masks())["train/00"].fingerprint
    assert object_jobs(clips, Masks(dilate=9, preset="thin"))["train/00"].fingerprint == first
    assert object_jobs(clips, Masks(threshold=30))["train/00"].fingerprint != first


def test_mask_r_cnn_s_answers_become_one_mask_of_people_and_vehicles():
    import torch

    masks = torch.zeros(4, 1, 6, 8)
    for i in range(4):
        masks[i, 0, i] = 0.9
    answer = {"scores": torch.tensor([0.9, 0.4, 0.8, 0.95]), "labels": torch.tensor([1, 1, 17, 3]), "masks": masks}
    seen = []

    def network(images):
        seen.append(images[0])
        return [answer]

    found = instance_segmentation.segment_instances(np.full((6, 8, 1), 255, np.uint8), network)
    assert found.tolist() == [[i in (0, 3)] * 8 for i in range(6)]
    assert seen[0].shape == (3, 6, 8)
    assert float(seen[0].max()) == 1


def test_missing_mask_r_cnn_weights_are_named_before_anything_is_computed(clips, tmp_path):
    with pytest.raises(instance_segmentation.SegmentationError, match=r"no Mask R-CNN weights at None; set masks"):
        object_jobs(clips, Masks(segmenter="mask_rcnn"))
    (tmp_path / "weights.pth").write_bytes(b"nothing")
    damaged = Masks(segmenter="mask_rcnn", weights=str(tmp_path / "weights.pth"))
    with pytest.raises(instance_segmentation.SegmentationError, match=r"needs torchvision|is not a state dict"):
        object_jobs(clips, damaged)
