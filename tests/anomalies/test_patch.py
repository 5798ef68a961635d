from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.anomalies.patch import (
    Patch,
    draw_centres,
    draw_sides,
    fitted,
    intruder,
    patch_clip,
    patch_mask,
    read_intruders,
)
from vad_pipeline.sources.raw_clip import SourceError

RNG = np.random.default_rng(0)
KINDS = ["smooth_mix_s", "smooth_mix_c", "cutmix", "mixup_patch"]
T, HEIGHT, WIDTH = 5, 51, 70
# Frames are dark and the intruder bright, so that a pixel tells which it is from.
GRAY = RNG.integers(0, 100, (T, HEIGHT, WIDTH, 1), np.uint8)
RGB = RNG.integers(0, 100, (T, HEIGHT, WIDTH, 3), np.uint8)
BRIGHT = RNG.integers(150, 256, (13, 17, 3), np.uint8)


def masks_of(config: Patch, seed: int) -> list[np.ndarray]:
    """The masks that ``patch_clip`` draws from a seed."""
    rng = np.random.default_rng(seed)
    sides = draw_sides(rng, config, HEIGHT, WIDTH)
    centres = draw_centres(rng, config, T, HEIGHT, WIDTH).tolist()
    return [patch_mask(config.kind, (y, x), sides, HEIGHT, WIDTH) for y, x in centres]


def official_smooth_border(cy, cx, high, wide, height, width):
    """LNTRA's SmoothMixS mask, formula for formula, with rows and columns the right way round."""
    mask = np.zeros((height, width))
    left, right = max(cx - wide // 2, 0), min(cx + wide // 2, width)
    top, bottom = max(cy - high // 2, 0), min(cy + high // 2, height)
    for y in range(height):
        for x in range(width):
            outer_x = left - 0.1 * (wide // 2) if x < cx else right + 0.1 * (wide // 2)
            inner_x = left if x < cx else right
            outer_y = top - 0.1 * (high // 2) if y < cy else bottom + 0.1 * (high // 2)
            inner_y = top if y < cy else bottom
            across = min(max((x - outer_x) / (inner_x - outer_x), 0), 1)
            down = min(max((y - outer_y) / (inner_y - outer_y), 0), 1)
            mask[y, x] = across * down
    return mask


PLACES = [
    ((25, 35), (20, 30)),
    ((25, 30), (41, 51)),  # a border of 2.0 and one of 2.5 pixels
    ((0, 0), (20, 30)),
    ((50, 69), (20, 30)),
    ((3, 60), (10, 40)),
    ((25, 35), (51, 70)),
    ((25, 35), (3, 2)),
]


@pytest.mark.parametrize(("centre", "sides"), PLACES)
def test_smooth_mix_s_is_a_rectangle_that_fades_out_linearly(centre, sides):
    mask = patch_mask("smooth_mix_s", centre, sides, HEIGHT, WIDTH)
    assert mask.dtype == np.float32
    np.testing.assert_allclose(mask, official_smooth_border(*centre, *sides, HEIGHT, WIDTH), atol=1e-6)


def test_the_border_of_smooth_mix_s_lies_outside_the_rectangle():
    row = patch_mask("smooth_mix_s", (25, 35), (40, 40), HEIGHT, WIDTH)[25]
    np.testing.assert_allclose(row[12:17], [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(row[54:58], [1, 1, 0.5, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_of_one_pixel_divides_by_nothing(kind):
    with np.errstate(all="raise"):
        mask = patch_mask(kind, (3, 4), (1, 1), 7, 9)
    assert mask[3, 4] == (0.5 if kind == "mixup_patch" else 1)
    assert np.isfinite(mask).all()


@pytest.mark.parametrize(("centre", "sides"), PLACES)
def test_smooth_mix_c_is_a_gaussian(centre, sides):
    mask = patch_mask("smooth_mix_c", centre, sides, HEIGHT, WIDTH)
    for y, x in ((25, 35), (0, 0), (50, 69), (10, 60)):
        squares = ((y - centre[0]) / sides[0]) ** 2 + ((x - centre[1]) / sides[1]) ** 2
        assert mask[y, x] == pytest.approx(np.exp(-squares / 2), rel=1e-5)


@pytest.mark.parametrize(
    ("centre", "sides", "rows", "columns"),
    [
        ((25, 35), (20, 30), (15, 35), (20, 50)),
        ((25, 35), (21, 31), (15, 36), (20, 51)),  # odd sides keep their length
        ((2, 1), (20, 30), (0, 20), (0, 30)),  # moved inside at the top and left
        ((48, 69), (20, 30), (38, 51), (54, 70)),  # cut off at the bottom and right
    ],
)
def test_cutmix_is_a_rectangle(centre, sides, rows, columns):
    expected = np.zeros((HEIGHT, WIDTH))
    expected[slice(*rows), slice(*columns)] = 1
    np.testing.assert_array_equal(patch_mask("cutmix", centre, sides, HEIGHT, WIDTH), expected)
    np.testing.assert_array_equal(patch_mask("mixup_patch", centre, sides, HEIGHT, WIDTH), expected / 2)


@pytest.mark.parametrize("window", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("kind", KINDS)
def test_frame_and_intruder_are_blended_by_the_mask(kind, window):
    config = Patch(kind=kind)
    patched = patch_clip(window, BRIGHT, config, np.random.default_rng(1))
    assert patched.dtype == np.uint8
    assert patched.shape == window.shape
    colours = fitted(BRIGHT, HEIGHT, WIDTH, window.shape[-1]).astype(float)
    for t, mask in enumerate(masks_of(config, 1)):
        for y, x in zip(RNG.integers(HEIGHT, size=200), RNG.integers(WIDTH, size=200), strict=True):
            expected = mask[y, x] * colours[y, x] + (1 - mask[y, x]) * window[t, y, x]
            np.testing.assert_allclose(patched[t, y, x], expected, atol=0.501)


@pytest.mark.parametrize("window", [GRAY, RGB], ids=["gray", "rgb"])
def test_cutmix_shows_exactly_the_intruder_inside_and_the_frame_outside(window):
    patched = patch_clip(window, BRIGHT, Patch(kind="cutmix"), np.random.default_rng(2))
    colours = fitted(BRIGHT, HEIGHT, WIDTH, window.shape[-1])
    for t, mask in enumerate(masks_of(Patch(kind="cutmix"), 2)):
        assert mask.any()
        np.testing.assert_array_equal(patched[t][mask == 1], colours[mask == 1])
        np.testing.assert_array_equal(patched[t][mask == 0], window[t][mask == 0])


@pytest.mark.parametrize("kind", ["smooth_mix_s", "cutmix", "mixup_patch"])
def test_a_patch_changes_every_frame_but_never_all_of_it(kind):
    for seed in range(20):
        patched = patch_clip(GRAY, BRIGHT, Patch(kind=kind), np.random.default_rng(seed))
        share = (patched != GRAY).mean(axis=(1, 2, 3))
        assert (share > 0).all()
        assert (share < 0.5).all()  # sides up to a half, with their soft border


def test_the_window_and_the_intruder_are_left_alone():
    window, image = GRAY.copy(), BRIGHT.copy()
    assert (patch_clip(window, image, Patch(), np.random.default_rng(3)) != window).any()
    np.testing.assert_array_equal(window, GRAY)
    np.testing.assert_array_equal(image, BRIGHT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_clip_and_another_seed_another(kind):
    one, again, other = (patch_clip(RGB, BRIGHT, Patch(kind=kind), np.random.default_rng(s)) for s in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (HEIGHT, WIDTH), (256, 256), (240, 361)])
def test_centres_stay_in_the_frame_and_reach_its_borders(height, width):
    rng = np.random.default_rng(6)
    centres = draw_centres(rng, Patch(beta=200), 3000, height, width)
    assert centres.min(axis=0).tolist() == [0, 0]
    assert centres.max(axis=0).tolist() == [height - 1, width - 1]


@pytest.mark.parametrize(("size", "most"), [((256, 256), 10), ((512, 600), 20), ((128, 192), 5), ((64, 48), 2)])
def test_from_frame_to_frame_the_centre_moves_by_up_to_beta_at_256_pixels(size, most):
    moves = np.diff(draw_centres(np.random.default_rng(7), Patch(), 3000, *size), axis=0)
    assert moves.min(axis=0).tolist() == [-most, -most]
    assert moves.max(axis=0).tolist() == [most, most]


def test_moves_add_up():
    """Steps of up to 10 wander far from the start, which centres drawn around it would not."""
    far = [np.ptp(draw_centres(np.random.default_rng(s), Patch(), 100, 512, 512), axis=0).max() for s in range(10)]
    assert min(far) > 40


def test_without_beta_the_patch_stands_still():
    assert len(np.unique(draw_centres(np.random.default_rng(8), Patch(beta=0), 50, 256, 256), axis=0)) == 1


def test_the_first_centre_is_uniform_over_the_frame():
    rng = np.random.default_rng(9)
    first = np.array([draw_centres(rng, Patch(), 1, 4, 3)[0] for _ in range(6000)])
    counts = np.bincount(first[:, 0] * 3 + first[:, 1], minlength=12)
    assert counts.min() > 400  # 500 each are expected, 21 is the standard deviation
    assert counts.max() < 600


@pytest.mark.parametrize(
    ("height", "width", "smallest"), [(256, 256, 10), (512, 512, 20), (128, 192, 5), (20, 30, 1), (1, 1, 1)]
)
def test_sides_reach_from_the_smallest_to_alpha_of_the_frames(height, width, smallest):
    rng = np.random.default_rng(10)
    sides = np.array([draw_sides(rng, Patch(alpha=0.5), height, width) for _ in range(2000)])
    assert sides.min(axis=0).tolist() == [smallest, smallest]
    most = np.array([max(smallest, height // 2), max(smallest, width // 2)])
    assert (sides <= most).all()
    assert (sides.max(axis=0) >= 0.95 * most - 1).all()


def test_alpha_bounds_the_sides():
    rng = np.random.default_rng(11)
    assert max(max(draw_sides(rng, Patch(alpha=0.2), 256, 256)) for _ in range(500)) <= 51


def test_stretching_aligns_the_corners():
    image = RNG.integers(0, 256, (5, 4, 3), np.uint8)
    stretched = fitted(image, 11, 9, 3)
    for y, x in np.ndindex(11, 9):
        v, u = y * 4 / 10, x * 3 / 8
        top, left = min(int(v), 3), min(int(u), 2)
        down, across = v - top, u - left
        upper = (1 - across) * image[top, left] + across * image[top, left + 1]
        lower = (1 - across) * image[top + 1, left] + across * image[top + 1, left + 1]
        np.testing.assert_allclose(stretched[y, x], (1 - down) * upper + down * lower, atol=0.501)
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        np.testing.assert_array_equal(stretched[y, x], image[y, x])


def test_an_image_that_fits_is_not_changed():
    np.testing.assert_array_equal(fitted(BRIGHT, 13, 17, 3), BRIGHT)


def test_colour_follows_the_window():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert np.unique(fitted(red, 6, 6, 1)).tolist() == [76]  # ITU-R BT.601 luma
    gray = RNG.integers(0, 256, (4, 4, 1), np.uint8)
    np.testing.assert_array_equal(fitted(gray, 6, 6, 3), np.repeat(fitted(gray, 6, 6, 1), 3, axis=-1))


@pytest.mark.parametrize("image", [BRIGHT.astype(np.float32), BRIGHT[..., 0], BRIGHT[..., :2], BRIGHT[:0]])
def test_an_intruder_that_is_no_picture_is_an_error(image):
    with pytest.raises(ValueError, match="an intruder is uint8"):
        patch_clip(GRAY, image, Patch(), np.random.default_rng(0))


@pytest.mark.parametrize("window", [GRAY[0], GRAY.astype(np.float32), RGB[..., :2], GRAY[:0]])
def test_a_window_that_is_none_is_an_error(window):
    with pytest.raises(ValueError, match="a window is uint8"):
        patch_clip(window, BRIGHT, Patch(), np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [{"kind": "smooth"}, {"alpha": 0}, {"alpha": 1.1}, {"beta": -1}, {"gamma": 1}])
def test_the_configuration_is_checked(wrong):
    with pytest.raises(ValidationError):
        Patch(**wrong)


def write_images(folder: Path, *names: str) -> list[np.ndarray]:
    """Plain images of levels 40, 80, ..."""
    images = [np.full((6, 8, 3), 40 * (number + 1), np.uint8) for number in range(len(names))]
    for name, image in zip(names, images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), image)
    return images


def test_intruders_are_found_in_folders_of_folders_in_order(tmp_path):
    write_images(tmp_path, "b/2.png", "a/1.png", "a/0.jpg", "c.tif")
    (tmp_path / "labels.csv").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image either")
    names = [path.relative_to(tmp_path).as_posix() for path in read_intruders(tmp_path)]
    assert names == ["a/0.jpg", "a/1.png", "b/2.png", "c.tif"]


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_images_is_an_error_that_says_what_to_do(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=rf"{name}: no images .*\.png.* name no folder"):
        read_intruders(tmp_path / name)


def test_every_image_is_drawn_and_fitted_to_the_frame(tmp_path):
    write_images(tmp_path, "0.png", "1.png", "2.png")
    paths = read_intruders(tmp_path)
    rng = np.random.default_rng(12)
    drawn = [intruder(rng, 12, 10, 1, paths) for _ in range(60)]
    assert {image.shape for image in drawn} == {(12, 10, 1)}
    assert {int(level) for image in drawn for level in np.unique(image)} == {40, 80, 120}


def test_a_damaged_image_is_an_error_that_names_the_file(tmp_path):
    noise = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / "half.jpg"
    encoded = cv2.imencode(".jpg", noise)[1].tobytes()
    path.write_bytes(encoded[: len(encoded) // 2])
    with pytest.raises(SourceError, match=r"half\.jpg: cannot be decoded"):
        intruder(np.random.default_rng(0), 12, 10, 1, [path])


@pytest.mark.parametrize("channels", [1, 3])
def test_without_images_an_intruder_is_a_texture_that_is_not_flat(channels):
    for seed in range(10):
        image = intruder(np.random.default_rng(seed), 41, 57, channels, None)
        assert image.dtype == np.uint8
        assert image.shape == (41, 57, channels)
        assert image.std() > 2


def test_textures_follow_the_generator():
    one, again, other = (intruder(np.random.default_rng(s), 41, 57, 3, None) for s in (13, 13, 14))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
