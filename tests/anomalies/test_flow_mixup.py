import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.anomalies.flow_mixup import (
    FlowMixup,
    Mixup,
    Rectangle,
    bounding_rectangle,
    draw_mixup,
    mix_flow,
    mixup_clip,
    random_rectangle,
)

T, HEIGHT, WIDTH = 6, 23, 31
FLOW = np.random.default_rng(0).normal(0, 4, (T, HEIGHT, WIDTH, 2)).astype(np.float16)


def walking_masks(n: int = T) -> np.ndarray:
    """A box of 5x7 pixels that moves to the right by two pixels a frame."""
    masks = np.zeros((n, HEIGHT, WIDTH), bool)
    for t in range(n):
        masks[t, 8:13, 3 + 2 * t : 10 + 2 * t] = True
    return masks


def seeded(seed: int):
    return lambda frame: np.random.default_rng([seed, frame])


def mixed(masks: np.ndarray, config: FlowMixup, seed: int = 0, start: int = 0, stop: int | None = None) -> np.ndarray:
    return np.stack(list(mixup_clip(FLOW, masks, config, seeded(seed), start, stop)))


def changed(row: np.ndarray, t: int) -> np.ndarray:
    return (row != FLOW[t]).any(axis=-1)


RECTANGLES = [
    (Rectangle(5, 7, 6, 9), (14, 2)),
    (Rectangle(0, 0, 4, 3), (19, 28)),  # from one corner of the field to the other
    (Rectangle(20, 30, 3, 1), (0, 0)),
    (Rectangle(4, 4, 11, 13), (6, 7)),  # the two overlap
    (Rectangle(0, 0, HEIGHT, WIDTH), (0, 0)),
]


@pytest.mark.parametrize(("rectangle", "source"), RECTANGLES)
def test_flow_mixup_with_weight_one_changes_nothing(rectangle, source):
    np.testing.assert_array_equal(mix_flow(FLOW[0], rectangle, 1.0, source), FLOW[0])


@pytest.mark.parametrize(("rectangle", "source"), RECTANGLES)
def test_flow_mixup_with_weight_zero_copies_the_other_patch(rectangle, source):
    top, left, height, width = rectangle
    row = mix_flow(FLOW[0], rectangle, 0.0, source)
    there = FLOW[0, source[0] : source[0] + height, source[1] : source[1] + width]
    np.testing.assert_array_equal(row[top : top + height, left : left + width], there)


@pytest.mark.parametrize(("rectangle", "source"), RECTANGLES)
def test_mixing_is_the_papers_sum_pixel_by_pixel_and_nothing_outside(rectangle, source):
    expected = FLOW[0].astype(np.float64)
    for y in range(rectangle.height):
        for x in range(rectangle.width):
            own = FLOW[0, rectangle.top + y, rectangle.left + x].astype(np.float64)
            other = FLOW[0, source[0] + y, source[1] + x].astype(np.float64)
            expected[rectangle.top + y, rectangle.left + x] = 0.3 * own + 0.7 * other
    row = mix_flow(FLOW[0], rectangle, 0.3, source)
    np.testing.assert_allclose(row, expected, rtol=2**-10, atol=1e-5)  # float16 has 10 bits behind the leading one
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[rectangle.top : rectangle.top + rectangle.height, rectangle.left : rectangle.left + rectangle.width] = False
    np.testing.assert_array_equal(row[outside], FLOW[0][outside])


def test_mixing_leaves_its_input_alone():
    flow = FLOW[0].copy()
    assert (mix_flow(flow, Rectangle(2, 2, 5, 5), 0.5, (10, 10)) != flow).any()
    np.testing.assert_array_equal(flow, FLOW[0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_type_of_the_flow_stays(dtype):
    flow = FLOW[0].astype(dtype)
    assert mix_flow(flow, Rectangle(2, 2, 5, 5), 0.5, (10, 10)).dtype == np.dtype(dtype)


def test_float16_is_mixed_in_float32():
    own, other = FLOW[0, :8, :8], FLOW[0, 12:20, 12:20]
    in_single = np.float32(0.3) * own.astype(np.float32) + np.float32(0.7) * other.astype(np.float32)
    in_half = np.float16(0.3) * own + np.float16(0.7) * other
    row = mix_flow(FLOW[0], Rectangle(0, 0, 8, 8), 0.3, (12, 12))
    np.testing.assert_array_equal(row[:8, :8], in_single.astype(np.float16))
    assert (row[:8, :8] != in_half).any()


@pytest.mark.parametrize(
    ("rectangle", "source", "name"),
    [
        (Rectangle(20, 5, 4, 4), (0, 0), "the rectangle"),
        (Rectangle(5, -1, 4, 4), (0, 0), "the rectangle"),
        (Rectangle(5, 5, 4, 4), (0, 28), "the patch"),
        (Rectangle(5, 5, 4, 4), (-2, 0), "the patch"),
    ],
)
def test_patches_outside_of_the_field_are_an_error(rectangle, source, name):
    with pytest.raises(ValueError, match=f"{name}.* reaches out of flow of 23x31"):
        mix_flow(FLOW[0], rectangle, 0.5, source)


def test_the_bounding_rectangle_is_the_smallest_one():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4, 9] = mask[11, 2] = True
    assert bounding_rectangle(mask) == (4, 2, 8, 8)
    assert bounding_rectangle(~mask) == (0, 0, HEIGHT, WIDTH)
    mask[:] = False
    assert bounding_rectangle(mask) is None
    mask[-1, -1] = True  # the last pixel belongs to it
    assert bounding_rectangle(mask) == (HEIGHT - 1, WIDTH - 1, 1, 1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (9, 10), (HEIGHT, WIDTH), (256, 255)])
def test_random_rectangles_fit_and_have_a_tenth_to_a_third_of_the_sides(height, width):
    rng = np.random.default_rng(1)
    rectangles = [random_rectangle(rng, height, width) for _ in range(300)]
    for top, left, high, wide in rectangles:
        assert 0 <= top <= height - high
        assert 0 <= left <= width - wide
        assert max(1, height / 10) <= high <= max(1, height / 3)
        assert max(1, width / 10) <= wide <= max(1, width / 3)
    assert min(r.top for r in rectangles) <= 0.05 * height
    assert max(r.left + r.width for r in rectangles) >= 0.95 * width


def test_weights_are_beta_distributed():
    rng = np.random.default_rng(2)
    weights = np.array([draw_mixup(rng, FlowMixup(), Rectangle(0, 0, 2, 2), 9, 9).weight for _ in range(4000)])
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert abs(weights.mean() - 0.5) < 0.02
    assert abs(weights.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.006  # of Beta(a, a); uniform weights have 0.083
    narrow = [draw_mixup(rng, FlowMixup(alpha=50), Rectangle(0, 0, 2, 2), 9, 9).weight for _ in range(200)]
    assert np.var(narrow) < 0.005


def test_the_other_patch_is_equally_likely_at_every_place_where_it_fits():
    rng = np.random.default_rng(3)
    counts = np.zeros((3, 4), int)
    for _ in range(6000):
        counts[draw_mixup(rng, FlowMixup(), Rectangle(1, 1, 5, 4), 7, 7).source] += 1
    assert counts.min() > 400  # 500 each are expected, 21 is the standard deviation
    assert counts.max() < 600


def test_a_mixup_keeps_the_rectangle_it_was_asked_for():
    rectangle = Rectangle(0, 0, HEIGHT, WIDTH)
    drawn = draw_mixup(np.random.default_rng(4), FlowMixup(), rectangle, HEIGHT, WIDTH)
    assert drawn == Mixup(rectangle, drawn.weight, (0, 0))


@pytest.mark.parametrize("per", ["frame", "clip"])
def test_only_the_masks_rectangles_change(per):
    masks = walking_masks()
    rows = mixed(masks, FlowMixup(per=per))
    assert rows.dtype == np.float16
    for t in range(T):
        where = changed(rows[t], t)
        assert where.any()
        assert not (where & ~masks[t]).any()  # these masks are rectangles


def test_each_frame_is_mixed_as_its_own_generator_draws():
    masks = walking_masks()
    rows = mixed(masks, FlowMixup(), seed=5)
    for t in range(T):
        drawn = draw_mixup(seeded(5)(t), FlowMixup(), bounding_rectangle(masks[t]), HEIGHT, WIDTH)
        np.testing.assert_array_equal(rows[t], mix_flow(FLOW[t], *drawn))


def test_per_clip_weight_and_offset_are_those_of_the_first_frame():
    masks = walking_masks()
    rows = mixed(masks, FlowMixup(per="clip"), seed=5)
    first, weight, source = draw_mixup(seeded(5)(0), FlowMixup(), bounding_rectangle(masks[0]), HEIGHT, WIDTH)
    for t in range(T):
        rectangle = bounding_rectangle(masks[t])
        left = min(
            source[1] + 2 * t, WIDTH - rectangle.width
        )  # the masks move by two, until the patch meets the border
        assert rectangle == first._replace(left=first.left + 2 * t)
        np.testing.assert_array_equal(rows[t], mix_flow(FLOW[t], rectangle, weight, (source[0], left)))


@pytest.mark.parametrize("per", ["frame", "clip"])
def test_masks_that_grow_to_the_whole_field_still_have_a_patch_to_mix_with(per):
    masks = walking_masks()
    masks[3:] = True
    rows = mixed(masks, FlowMixup(per=per))
    np.testing.assert_array_equal(rows[3:], FLOW[3:])  # the whole field mixed with itself
    assert (rows[:3] != FLOW[:3]).any()


def test_a_frame_without_a_mask_gets_a_random_rectangle():
    masks = walking_masks()
    masks[2] = False
    rows = mixed(masks, FlowMixup(), seed=6)
    rng = seeded(6)(2)
    drawn = draw_mixup(rng, FlowMixup(), random_rectangle(rng, HEIGHT, WIDTH), HEIGHT, WIDTH)
    np.testing.assert_array_equal(rows[2], mix_flow(FLOW[2], *drawn))
    assert changed(rows[2], 2).any()


def test_per_clip_frames_without_a_mask_share_a_rectangle():
    rows = mixed(np.zeros((T, HEIGHT, WIDTH), bool), FlowMixup(per="clip"), seed=7)
    rectangles = {bounding_rectangle(changed(rows[t], t)) for t in range(T)}
    assert len(rectangles) == 1
    assert None not in rectangles


@pytest.mark.parametrize("per", ["frame", "clip"])
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(per):
    masks, config = walking_masks(), FlowMixup(per=per)
    np.testing.assert_array_equal(mixed(masks, config, seed=8), mixed(masks, config, seed=8))
    assert (mixed(masks, config, seed=8) != mixed(masks, config, seed=9)).any()


@pytest.mark.parametrize("per", ["frame", "clip"])
@pytest.mark.parametrize(("start", "stop"), [(0, 3), (2, 5), (4, None)])
def test_a_chunk_is_mixed_as_the_whole_clip_is(per, start, stop):
    masks, config = walking_masks(), FlowMixup(per=per)
    np.testing.assert_array_equal(mixed(masks, config, start=start, stop=stop), mixed(masks, config)[start:stop])


def test_the_last_frames_mask_may_be_given_too():
    np.testing.assert_array_equal(mixed(walking_masks(T + 1), FlowMixup()), mixed(walking_masks(), FlowMixup()))


def test_rows_are_made_one_at_a_time():
    asked: list[int] = []

    def seed_of(frame: int) -> np.random.Generator:
        asked.append(frame)
        return np.random.default_rng(frame)

    rows = mixup_clip(FLOW, walking_masks(), FlowMixup(), seed_of)
    next(rows)
    assert asked == [0]
    next(rows)
    assert asked == [0, 1]


@pytest.mark.parametrize("n_masks", [0, 1])
@pytest.mark.parametrize("per", ["frame", "clip"])
def test_a_clip_without_flow_has_no_rows(per, n_masks):
    none = mixup_clip(FLOW[:0], walking_masks(1)[:n_masks], FlowMixup(per=per), seeded(0))
    assert list(none) == []


def test_masks_of_another_size_are_an_error_that_names_both():
    with pytest.raises(ValueError, match="masks of 24x31 pixels, flow of 23x31"):
        next(mixup_clip(FLOW, np.zeros((T, 24, 31), bool), FlowMixup(), seeded(0)))


@pytest.mark.parametrize("n", [T - 1, T + 2])
def test_masks_of_another_number_are_an_error(n):
    with pytest.raises(ValueError, match=f"{n} masks for 6 flow fields; give 6 or 7"):
        next(mixup_clip(FLOW, np.zeros((n, HEIGHT, WIDTH), bool), FlowMixup(), seeded(0)))


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"per": "video"}, {"beta": 0.4}])
def test_the_configuration_is_checked(wrong):
    with pytest.raises(ValidationError):
        FlowMixup(**wrong)
