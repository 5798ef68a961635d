import struct

import av
import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.videos import VideosConfig, read_videos

HEIGHT, WIDTH = 48, 64


def colour_frame(t):
    """Red, green, blue and gray quarters, and a white bar that moves two pixels a frame."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:24, :32], frame[24:, :32] = (200, 30, 30), (30, 180, 30)
    frame[:24, 32:], frame[24:, 32:] = (40, 40, 200), (90, 90, 90)
    frame[:, 2 * t : 2 * t + 4] = 240
    return frame


COLOUR = [colour_frame(t) for t in range(12)]
NOISE = list(np.random.default_rng(0).integers(0, 256, (30, HEIGHT, WIDTH, 3), dtype=np.uint8))


def read(**settings):
    return {raw.clip: raw for raw in read_videos(VideosConfig(**{k: str(v) for k, v in settings.items()}))}


def frames_of(path, **settings):
    (raw,) = read_videos(VideosConfig(str(path), **settings))
    return np.stack(list(raw.frames()))


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.mov"])
def test_frames_look_like_those_that_were_filmed(tmp_path, write_video, name):
    frames = frames_of(write_video(tmp_path / name, COLOUR))
    assert frames.shape == (12, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    difference = np.abs(frames.astype(int) - np.stack(COLOUR))
    assert difference.mean() < 6  # chroma is stored at half the size in some of them
    assert np.median(difference) <= 3
    assert frames[3, 12, 16].argmax() == 0  # red where red was: not BGR
    bar = frames[:, 40].sum(axis=-1).argmax(axis=1)
    assert np.all(np.abs(bar - 2 * np.arange(12) - 1.5) <= 2)  # in order, none twice


def test_a_gray_video_keeps_one_channel_and_its_exact_values_at_an_odd_size(tmp_path, write_video):
    gray = [np.ascontiguousarray(frame[:47, :63, 0]) for frame in NOISE[:5]]
    np.testing.assert_array_equal(frames_of(write_video(tmp_path / "a.mkv", gray)), np.stack(gray)[..., None])


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
@pytest.mark.parametrize(("fps", "stride", "expected"), [(25, 1, 25.0), (30, 3, 10.0)])
def test_the_rate_is_the_videos_divided_by_the_stride(tmp_path, write_video, name, fps, stride, expected):
    (raw,) = read_videos(VideosConfig(str(write_video(tmp_path / name, COLOUR, fps=fps)), frame_stride=stride))
    assert raw.fps == pytest.approx(expected)


def test_a_stride_keeps_every_nth_frame_from_the_first(tmp_path, write_video):
    path = write_video(tmp_path / "a.mkv", NOISE)
    every = frames_of(path)
    np.testing.assert_array_equal(frames_of(path, frame_stride=4), every[::4])
    assert len(frames_of(path, frame_stride=100)) == 1


def test_a_stride_of_zero_is_refused():
    with pytest.raises(ValidationError, match="frame_stride"):
        VideosConfig("a.mp4", frame_stride=0)


def test_a_folder_gives_its_videos_by_number_and_a_file_gives_itself(tmp_path, write_video):
    for name in ("10.avi", "2.avi", "1.MP4"):
        write_video(tmp_path / "normal" / name, COLOUR[:2], codec="mpeg4")
    (tmp_path / "normal" / "._2.avi").write_bytes(b"Mac OS X")
    (tmp_path / "normal" / "notes.txt").write_text("x")
    test = write_video(tmp_path / "other" / "Gate 3.avi", COLOUR[:2])
    assert list(read(train=tmp_path / "normal", test=test)) == ["train/1", "train/2", "train/10", "test/Gate 3"]


def test_a_missing_path_says_which_setting_to_correct(tmp_path):
    with pytest.raises(
        SourceError, match=r"nowhere is missing; put your videos there or correct frame_extraction\.vid"
    ):
        read(train=tmp_path / "nowhere")


def test_a_folder_without_videos_is_named(tmp_path):
    with pytest.raises(SourceError, match=rf"{tmp_path} holds no video \(\.avi, .*\); put your videos there"):
        read(train=tmp_path)


def test_two_videos_of_one_name_are_both_named(tmp_path, write_video):
    for name in ("a.mp4", "a.avi"):
        write_video(tmp_path / name, COLOUR[:2])
    with pytest.raises(SourceError, match=r"a\.mp4 and .*a\.avi would be the same clip 'a'; rename one"):
        read(train=tmp_path)


def test_a_video_of_one_name_may_be_in_train_and_in_test(tmp_path, write_video):
    train, test = (write_video(tmp_path / split / "a.avi", COLOUR[:2]) for split in ("train", "test"))
    assert list(read(train=train, test=test)) == ["train/a", "test/a"]


@pytest.mark.parametrize("content", [b"", b"not a video at all " * 500])
@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_an_empty_or_foreign_file_is_named_and_keeping_truncated_videos_is_not_offered(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        SourceError, match=rf"{name}: cannot be opened as a video .*copy it again or remove it$"
    ) as error:
        read(train=tmp_path)
    assert "truncated: keep" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.avi", {}), ("a.mkv", {}), ("a.mp4", {"movflags": "faststart"})],
    ids=["avi", "mkv", "mp4 with its index in front"],
)
def test_a_truncated_video_is_an_error_or_keeps_what_decodes(tmp_path, write_video, cut_in_half, name, options):
    path = write_video(tmp_path / name, NOISE, **options)
    whole = frames_of(path)
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    cut_in_half(path)
    intact = sum(end <= path.stat().st_size for end in ends)
    assert 10 <= intact <= 20
    with pytest.raises(SourceError) as error:
        frames_of(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "copy the file again, or set videos.truncated: keep to use what can be decoded" in str(error.value)
    kept = frames_of(path, truncated="keep")
    assert len(kept) in (intact, intact + 1)  # some decoders make a frame of half a packet
    np.testing.assert_array_equal(kept[:8], whole[:8])


def test_a_truncated_mp4_with_its_index_behind_cannot_be_opened(tmp_path, write_video, cut_in_half):
    cut_in_half(write_video(tmp_path / "a.mp4", NOISE))
    for truncated in ("error", "keep"):
        with pytest.raises(SourceError, match=r"a\.mp4: cannot be opened as a video .*copy it again or remove it$"):
            read(train=tmp_path, truncated=truncated)


def test_a_trimmed_mp4_is_not_taken_for_a_truncated_one(tmp_path, write_video):
    """Trimming without encoding leaves the frames before the cut in the file, and in its header's count."""
    path = write_video(tmp_path / "whole.mp4", NOISE)
    with av.open(str(path)) as whole, av.open(str(tmp_path / "trimmed.mp4"), "w") as trimmed:
        source = whole.streams.video[0]
        stream = trimmed.add_stream_from_template(source)
        for packet in whole.demux(source):
            if packet.dts is not None:
                shift = round(1 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                trimmed.mux(packet)
    with av.open(str(tmp_path / "trimmed.mp4")) as container:
        assert container.streams.video[0].frames == 30
    np.testing.assert_array_equal(frames_of(tmp_path / "trimmed.mp4"), frames_of(path)[10:])


def test_sound_without_pictures_is_named(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match=r"a\.mp4: no video stream; remove the file"):
        read(train=tmp_path)


def with_matrix(path, a, b, c, d):
    """Sets the display matrix in an mp4's track header: the pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2, version 0
    one = 1 << 16
    assert struct.unpack_from(">9i", content, start) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    offset = [side * one * (factor < 0) for side, factor in ((WIDTH, a), (HEIGHT, c), (WIDTH, b), (HEIGHT, d))]
    x, y = offset[0] + offset[1], offset[2] + offset[3]
    struct.pack_into(">9i", content, start, a * one, b * one, 0, c * one, d * one, 0, x, y, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)], ids=["90", "180", "270"])
def test_every_pixel_is_shown_where_the_display_matrix_puts_it(tmp_path, write_video, matrix):
    path = write_video(tmp_path / "a.mp4", COLOUR[:2])
    stored = frames_of(path)[0]
    with_matrix(path, *matrix)
    a, b, c, d = matrix
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    expected = np.zeros((HEIGHT, WIDTH, 3) if b == 0 else (WIDTH, HEIGHT, 3), np.uint8)
    expected[shown_y - shown_y.min(), shown_x - shown_x.min()] = stored
    np.testing.assert_array_equal(frames_of(path)[0], expected)


def test_a_phone_held_upright_films_upright_frames(tmp_path, write_video):
    """Phones store such a video lying on its side with the matrix (0, 1, -1, 0), which turns it clockwise."""
    path = write_video(tmp_path / "a.mp4", COLOUR[:2])
    with_matrix(path, 0, 1, -1, 0)
    frame = frames_of(path)[1]
    assert frame.shape == (WIDTH, HEIGHT, 3)
    corners = [frame[20, 40], frame[50, 40], frame[20, 10]]  # top right, bottom right, top left
    assert [int(corner.argmax()) for corner in corners] == [0, 2, 1]  # red was top left, blue top right, green below


def write_region(write_image, path, shape=(HEIGHT, WIDTH)):
    region = np.full(shape, 255, np.uint8)
    region[:20] = 0
    return write_image(path, region)


@pytest.mark.parametrize("gray", [False, True])
def test_pixels_outside_the_region_of_interest_are_zero_and_the_others_untouched(
    tmp_path, write_video, write_image, gray
):
    path = write_video(tmp_path / "a.mkv", [f[..., 0].copy() for f in NOISE[:4]] if gray else NOISE[:4])
    region = write_region(write_image, tmp_path / "region.png")
    frames, plain = frames_of(path, region_of_interest=str(region)), frames_of(path)
    assert frames.dtype == np.uint8
    assert not frames[:, :20].any()
    np.testing.assert_array_equal(frames[:, 20:], plain[:, 20:])
    assert plain[:, :20].any()


def test_a_region_of_another_size_is_named_with_both_sizes(tmp_path, write_video, write_image):
    path = write_video(tmp_path / "a.avi", COLOUR[:2])
    region = write_region(write_image, tmp_path / "region.png", shape=(48, 60))
    with pytest.raises(SourceError, match=r"region\.png is 60x48, .*a\.avi is 64x48; draw the region"):
        frames_of(path, region_of_interest=str(region))


def test_a_region_is_drawn_on_the_upright_frame(tmp_path, write_video, write_image):
    path = write_video(tmp_path / "a.mp4", COLOUR[:2])
    with_matrix(path, 0, 1, -1, 0)
    region = write_region(write_image, tmp_path / "region.png", shape=(WIDTH, HEIGHT))
    assert not frames_of(path, region_of_interest=str(region))[:, :20].any()


def test_a_missing_region_says_how_to_do_without(tmp_path, write_video):
    path = write_video(tmp_path / "a.avi", COLOUR[:2])
    with pytest.raises(SourceError, match=r"region_of_interest: .*gone\.png is missing; set it to null"):
        read(train=path, region_of_interest=tmp_path / "gone.png")


def test_whatever_changes_the_pixels_changes_the_fingerprint(tmp_path, write_video, write_image):
    path = write_video(tmp_path / "a.avi", COLOUR)
    region = write_region(write_image, tmp_path / "region.png")

    def fingerprint(**settings):
        return read_videos(VideosConfig(str(path), **settings))[0].fingerprint

    plain, strided, masked = fingerprint(), fingerprint(frame_stride=2), fingerprint(region_of_interest=str(region))
    write_image(region, np.zeros((HEIGHT, WIDTH), np.uint8))
    redrawn = fingerprint(region_of_interest=str(region))
    assert len({plain, strided, masked, redrawn, fingerprint(truncated="keep")}) == 5
    assert plain == fingerprint()
    write_video(path, NOISE[:12])
    assert plain != fingerprint()


def test_unlabelled_videos_give_frames_and_no_label_rows(tmp_path, write_video, carry_out):
    path = write_video(tmp_path / "a.avi", COLOUR)
    config = FrameExtraction("videos", videos={"train": str(path), "test": str(path), "frame_stride": 2})
    frames = carry_out(frame_jobs(config))
    assert frames["test/a"].shape == (6, HEIGHT, WIDTH, 3)
    assert frames["test/a"].fps == 5
    assert len(label_table(config, frames)) == 0
