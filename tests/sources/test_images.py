import io

import cv2
import numpy as np
import pytest
from PIL import Image

from vad_pipeline.clips.names import natural_key
from vad_pipeline.sources.images import list_images, read_frames, read_image
from vad_pipeline.sources.raw_clip import SourceError

NOISE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
GRAY = NOISE[..., 0]


@pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp"])
def test_a_gray_image_has_one_channel_and_its_exact_values(tmp_path, write_image, suffix):
    image = read_image(write_image(tmp_path / f"001{suffix}", GRAY))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, GRAY[..., None])


@pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp"])
def test_a_colour_image_is_read_as_rgb(tmp_path, write_image, suffix):
    np.testing.assert_array_equal(read_image(write_image(tmp_path / f"001{suffix}", NOISE)), NOISE)


def test_a_palette_image_is_read_as_its_colours_not_as_its_indices(tmp_path):
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 1), 1)
    image.save(tmp_path / "001.png")
    read = read_image(tmp_path / "001.png")
    assert read.shape == (2, 4, 3)
    assert read[0, 0].tolist() == [10, 20, 30]
    assert read[1, 3].tolist() == [200, 100, 50]


def test_a_one_bit_image_is_read_as_black_and_white(tmp_path):
    Image.fromarray(np.eye(9, dtype=bool)).save(tmp_path / "001.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "001.bmp"), np.eye(9, dtype=np.uint8)[..., None] * 255)


def test_gray_with_transparency_is_gray(tmp_path):
    Image.merge("LA", [Image.fromarray(GRAY), Image.new("L", (50, 40), 9)]).save(tmp_path / "001.png")
    np.testing.assert_array_equal(read_image(tmp_path / "001.png"), GRAY[..., None])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)], ids=["gray", "colour"])
def test_sixteen_bits_a_channel_are_refused(tmp_path, suffix, shape):
    path = tmp_path / f"001{suffix}"
    cv2.imwrite(str(path), np.full(shape, 40_000, np.uint16))
    with pytest.raises(SourceError, match=rf"001\{suffix}: more than 8 bits a channel; convert"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0, 0.02, 0.5, 0.95])
def test_a_truncated_image_is_named_in_the_error(tmp_path, write_image, suffix, kept):
    path = write_image(tmp_path / f"007{suffix}", NOISE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(SourceError, match=rf"007\{suffix}: cannot be decoded .*truncated.*fetch it again"):
        read_image(path)


def test_a_text_file_called_jpg_is_named_in_the_error(tmp_path):
    (tmp_path / "001.jpg").write_text("404: not found")
    with pytest.raises(SourceError, match=r"001\.jpg: cannot be decoded"):
        read_image(tmp_path / "001.jpg")


def test_images_are_ordered_by_number_and_hidden_or_other_files_passed_over(tmp_path, write_image):
    for name in ("10.jpg", "9.jpg", "1.jpg", "._1.jpg", "11.JPG"):
        write_image(tmp_path / name, GRAY)
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in list_images(tmp_path)] == ["1.jpg", "9.jpg", "10.jpg", "11.JPG"]


def test_a_folder_without_images_is_named_in_the_error(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"no images \(\.bmp, .*\); remove the folder or put"):
        list_images(tmp_path)


def test_a_frame_that_lies_there_in_two_formats_is_not_read_twice(tmp_path, write_image):
    for name in ("001.tif", "002.tif", "002.jpg"):
        write_image(tmp_path / name, GRAY)
    with pytest.raises(SourceError, match=r"002\.jpg and 002\.tif would be the same frame; keep one"):
        list_images(tmp_path)


@pytest.mark.parametrize(
    ("odd", "said"), [(NOISE[:30], "50x30 colour"), (GRAY, "50x40 gray")], ids=["other size", "other colour"]
)
def test_a_frame_unlike_the_first_is_named_with_both_sizes(tmp_path, write_image, odd, said):
    paths = (write_image(tmp_path / "001.png", NOISE), write_image(tmp_path / "002.png", odd))
    with pytest.raises(SourceError, match=rf"clip test/03: .*002\.png is {said}, 001\.png is 50x40 colour; .*resize"):
        list(read_frames(paths, "test/03"))


def test_progressive_jpegs_are_checked_for_truncation_too(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "jpeg", progressive=True)
    (tmp_path / "001.jpg").write_bytes(buffer.getvalue()[:-20])
    with pytest.raises(SourceError, match="truncated"):
        read_image(tmp_path / "001.jpg")


def test_names_sort_by_the_numbers_in_them():
    names = ["Test010", "Test2", "Test001", "a²", "Test1"]
    assert sorted(names, key=natural_key) == ["Test001", "Test1", "Test2", "Test010", "a²"]
    assert sorted(["01", "1"], key=natural_key) == sorted(["1", "01"], key=natural_key)
