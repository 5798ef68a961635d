"""Black enough is black: what JPEG leaves of it does not count, and what is neither black nor not is refused."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.sources.recordings import HEIGHT, WIDTH, record
from vad_pipeline.sources.images import read_mask, read_masks
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.videos import read_video

POLYGON = [(20, 10), (120, 30), (90, 80), (15, 60)]


def drawing(fill=0, ground=255, mode="L"):
    """A polygon, and where it is."""
    image, inside = Image.new(mode, (WIDTH, HEIGHT), ground), Image.new("1", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(image).polygon(POLYGON, fill=fill)
    ImageDraw.Draw(inside).polygon(POLYGON, fill=1)
    return image, np.asarray(inside)


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_nothing_of_a_polygon_in_a_jpeg_is_looked_at(tmp_path, quality, mode):
    image, inside = drawing("black", "white", mode)
    image.save(tmp_path / "region.jpg", quality=quality)
    assert (np.asarray(Image.open(tmp_path / "region.jpg"))[inside] > 0).any()
    (frame,) = read_video(record(tmp_path / "a.mp4", count=1), 1, tmp_path / "region.jpg", "error")
    assert not frame[inside].any()
    assert frame[~inside].all()


@pytest.mark.parametrize("ground", ["red", "blue", "gray", "picture"])
def test_hardly_anything_of_a_polygon_on_colours_or_a_picture_is_looked_at(tmp_path, ground):
    image, inside = drawing("black", "white" if ground == "picture" else ground, "RGB")
    if ground == "picture":
        coarse = np.random.default_rng(0).integers(70, 256, (12, 20, 3), dtype=np.uint8)
        seen = Image.fromarray(coarse).resize(image.size, Image.Resampling.BILINEAR)
        image = Image.composite(image, seen, Image.fromarray(inside))
    image.save(tmp_path / "region.jpg", quality=75)
    region = read_mask(tmp_path / "region.jpg")
    assert region[inside].mean() < 0.005
    assert region[~inside].mean() > 0.995


@pytest.mark.parametrize(("suffix", "options"), [(".jpg", {}), (".webp", {"quality": 75}), (".png", {})])
def test_masks_of_data_sets_are_as_drawn(tmp_path, suffix, options):
    image, inside = drawing(255, 0)
    image.save(tmp_path / f"1{suffix}", **options)
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / f"2{suffix}", **options)
    masks = list(read_masks((tmp_path / f"1{suffix}", tmp_path / f"2{suffix}")))
    assert masks[0].dtype == bool
    assert (masks[0] != inside).mean() < 0.01
    assert not masks[1].any()


def test_one_bright_channel_is_not_black(tmp_path):
    image = np.zeros((4, 5, 3), np.uint8)
    image[1, 2], image[3, 4], image[0, 0] = (0, 0, 64), 255, 63
    Image.fromarray(image).save(tmp_path / "1.bmp")
    assert np.argwhere(read_mask(tmp_path / "1.bmp")).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_transparent_region_is_refused_by_name(tmp_path, mode):
    image, inside = drawing("black", "white", "RGB")
    if mode == "P":
        image.quantize(4).save(tmp_path / "region.png", transparency=0)
    else:
        image.putalpha(Image.fromarray(np.where(inside, 0, 255).astype(np.uint8)))
        image.convert(mode).save(tmp_path / "region.png")
    path = record(tmp_path / "a.mp4", count=1)
    with pytest.raises(SourceError, match=r"region\.png: is transparent in places, .*; save it without"):
        list(read_video(path, 1, tmp_path / "region.png", "error"))


def test_an_alpha_channel_that_hides_nothing_is_no_matter(tmp_path):
    image, inside = drawing()
    image.convert("RGBA").save(tmp_path / "region.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "region.png"), ~inside)


@pytest.mark.parametrize("value", [1, 63])
def test_a_mask_of_numbers_is_not_taken_for_black(tmp_path, value):
    drawing(value, 0)[0].save(tmp_path / "1.png")
    with pytest.raises(SourceError, match=rf"1\.png: its brightest value is {value} of 255, .*draw white"):
        read_mask(tmp_path / "1.png")


def test_a_region_that_is_black_all_over_is_refused(tmp_path):
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "region.png")
    with pytest.raises(SourceError, match=r"region_of_interest: .*region\.png is black all over; draw white where"):
        list(read_video(record(tmp_path / "a.mp4", count=1), 1, tmp_path / "region.png", "error"))


def test_a_black_jpeg_with_noise_is_black(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 8, (HEIGHT, WIDTH), dtype=np.uint8)).save(buffer, "jpeg")
    (tmp_path / "1.jpg").write_bytes(buffer.getvalue())
    assert np.asarray(Image.open(tmp_path / "1.jpg")).max() > 0
    assert not read_mask(tmp_path / "1.jpg").any()
