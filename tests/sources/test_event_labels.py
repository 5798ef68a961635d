"""Label files say which line is wrong; nothing in them is guessed."""

import numpy as np
import pytest

from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table
from vad_pipeline.sources.raw_clip import SecondsSpan, SourceError, Span
from vad_pipeline.sources.videos import VideosConfig, read_videos

FRAMES = list(np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8))
SECONDS = np.arange(12) / 10


def read(**settings):
    return {raw.clip: raw for raw in read_videos(VideosConfig(**{k: str(v) for k, v in settings.items()}))}


@pytest.fixture
def labelled(tmp_path, write_video):
    """Writes labels for test videos a (12 frames at 10 fps) and b; returns the raw clips."""
    paths = [write_video(tmp_path / "test" / name, FRAMES) for name in ("a.avi", "b.avi")]
    write_video(tmp_path / "train" / "a.avi", FRAMES)

    def read_labels(text, **settings):
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
        config = VideosConfig(
            str(tmp_path / "train"), str(paths[0].parent), labels=str(tmp_path / "labels.csv"), **settings
        )
        return {raw.clip: raw for raw in read_videos(config)}

    return read_labels


def test_labels_in_frames_count_from_zero_with_the_end_inside(labelled):
    clips = labelled("clip,start_frame,end_frame,kind\na,2,4,cart\na,7,7,\n")
    assert clips["test/a"].spans == (Span(2, 5, "cart"), Span(7, 8))
    assert clips["test/b"].spans == ()  # labels were given, none for it: normal
    assert clips["train/a"].spans == ()


def test_labels_in_seconds_hold_for_the_frames_shown_in_that_time(labelled):
    clips = labelled("clip,start_second,end_second\na,0.25,0.5\nb,0,1.1\n")
    assert clips["test/a"].spans == (SecondsSpan(0.25, 0.5),)
    assert clips["test/a"].labels(12, SECONDS)[0].nonzero()[0].tolist() == [3, 4]
    assert clips["test/b"].labels(12, SECONDS)[0].nonzero()[0].tolist() == list(range(11))


def test_rounding_does_not_move_a_second_to_the_next_frame(tmp_path, write_video):
    assert 0.28 * 25 > 7
    path = write_video(tmp_path / "a.avi", FRAMES, fps=25)
    (tmp_path / "labels.csv").write_text("clip,start_second,end_second\na,0.28,0.4\n")
    clip = read(train=path, test=path, labels=tmp_path / "labels.csv")["test/a"]
    seconds = np.array([second for _, second in clip.timed()])
    assert clip.labels(12, seconds)[0].nonzero()[0].tolist() == [7, 8, 9]


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "labels", ["clip,start_frame,end_frame\na,3,4\na,6,11\n", "clip,start_second,end_second\na,0.3,0.5\na,0.55,1.2\n"]
)
def test_strided_labels_are_those_of_the_kept_frames(labelled, stride, labels):
    abnormal = [3, 4, 6, 7, 8, 9, 10, 11]
    kept = range(0, 12, stride)
    found, _ = labelled(labels, frame_stride=stride)["test/a"].labels(len(kept), SECONDS[::stride])
    assert found.tolist() == [int(t in abnormal) for t in kept]


def test_an_event_between_two_kept_frames_is_dropped(labelled):
    assert labelled("clip,start_frame,end_frame\na,1,2\n", frame_stride=4)["test/a"].spans == ()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffclip,start_frame,end_frame,kind\na,2,4,cart\n",
        "clip, start_frame, end_frame , kind\n a , 2, 4, cart\n\n",
        "kind,end_frame,start_frame,clip\r\ncart,4,2,test/a\r\n",
        "clip,start_frame,end_frame,kind\na,2.0,4.0,cart\n,,,\n",
        "clip,start_frame,end_frame,kind\na,2,4,cart,\n",
    ],
    ids=["byte order mark", "blanks", "other order", "as spreadsheets save it", "commas at the end"],
)
def test_label_files_are_read_however_they_were_saved(labelled, text):
    assert labelled(text)["test/a"].spans == (Span(2, 5, "cart"),)


def test_clips_called_by_numbers_keep_their_leading_zeros(tmp_path, write_video):
    path = write_video(tmp_path / "test" / "001.avi", FRAMES)
    (tmp_path / "labels.csv").write_text("clip,start_frame,end_frame\n001,0,1\n")
    clips = read(train=path, test=path, labels=tmp_path / "labels.csv")
    assert clips["test/001"].spans == (Span(0, 2),)


@pytest.mark.parametrize("name", ["c", "a.avi", "train/a", ""])
def test_a_label_for_an_unknown_clip_is_named_by_its_line(labelled, name):
    with pytest.raises(SourceError, match=rf"labels\.csv, line 4: no test video '{name}'; there are: a, b"):
        labelled(f"clip,start_frame,end_frame\na,0,1\n\n{name},0,1\n")


@pytest.mark.parametrize("header", ["clip,start,end", "clip;start_frame;end_frame", "video,start_frame,end_frame"])
def test_wrong_columns_are_listed_beside_the_right_ones(labelled, header):
    with pytest.raises(
        SourceError, match=r"labels\.csv: has columns .*; needs clip, start_frame, end_frame or"
    ) as error:
        labelled(f"{header}\n")
    assert header.split(",")[0] in str(error.value)


@pytest.mark.parametrize("event", ["5,3", "-1,3", "x,3", ",3", "2.5,3", "2,inf"])
def test_an_impossible_event_in_frames_is_named_by_its_line(labelled, event):
    with pytest.raises(SourceError, match=r"labels\.csv, line 3: an event from frame .*counted from 0"):
        labelled(f"clip,start_frame,end_frame\na,0,1\nb,{event}\n")


@pytest.mark.parametrize("event", ["0.5,0.3", "0.5,0.5", "-1,3", "0:05,0:09", "1,", "1,inf"])
def test_an_impossible_event_in_seconds_is_named_by_its_line(labelled, event):
    with pytest.raises(SourceError, match=r"labels\.csv, line 2: an event from second .*must come after the start"):
        labelled(f"clip,start_second,end_second\na,{event}\n")


@pytest.mark.parametrize("text", ["", "\n,,\n", 'clip\n"a', "clip,start_frame,end_frame\na,0,1\nb,\x00,\udcff\n"])
def test_a_file_that_is_no_table_is_named(labelled, text):
    with pytest.raises(SourceError, match=r"labels\.csv: cannot be read as a CSV .*; save it as comma-separated UTF-8"):
        labelled(text)


def test_a_missing_label_file_says_how_to_do_without(tmp_path, write_video):
    path = write_video(tmp_path / "a.avi", FRAMES[:2])
    with pytest.raises(SourceError, match=r"gone\.csv is missing; set videos\.labels to null for unlabelled data"):
        read(train=path, test=path, labels=tmp_path / "gone.csv")


def test_an_event_beyond_the_end_of_the_video_is_found_once_it_is_decoded(tmp_path, write_video, carry_out):
    path = write_video(tmp_path / "a.avi", FRAMES)
    (tmp_path / "labels.csv").write_text("clip,start_frame,end_frame\na,8,12\n")
    settings = {"train": str(path), "test": str(path), "labels": str(tmp_path / "labels.csv")}
    config = FrameExtraction("videos", videos=settings)
    frames = carry_out(frame_jobs(config))
    with pytest.raises(
        SourceError, match=r"test/a: the event from frame 8 to 12 \(.*labels\.csv, line 2\) .*12 frames"
    ):
        label_table(config, frames)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("clip,start_second,end_second,kind", "a,1,2,1,6,cart"),  # decimal commas
        ("clip,start_second,end_second,kind", "a,1.2,1.6,cart, red"),
        ("clip,start_frame,end_frame", "a,1,2,cart"),
        ("clip,start_frame,end_frame", "a,1,2,,cart"),
    ],
)
def test_more_fields_than_the_header_are_refused_by_their_line(labelled, header, line):
    with pytest.raises(
        SourceError, match=r"labels\.csv, line 4: \d fields, the header has \d; write numbers with a po"
    ):
        labelled(f"{header}\na,0,1\n\n{line}\n")


def test_a_kind_in_quotes_may_hold_a_comma(labelled):
    spans = labelled('clip,start_frame,end_frame,kind\na,2,4,"cart, red"\n')["test/a"].spans
    assert spans == (Span(2, 5, "cart, red"),)


def test_lines_are_those_of_the_file_behind_a_text_of_two_lines(labelled):
    with pytest.raises(SourceError, match=r"labels\.csv, line 5: no test video 'c'"):
        labelled('\nclip,start_frame,end_frame,kind\na,2,4,"cart\nred"\nc,0,1,\n')


def test_columns_of_one_name_are_refused(labelled):
    with pytest.raises(SourceError, match=r"labels\.csv, line 1: two columns are called 'start_frame'; remove one"):
        labelled("clip,start_frame,end_frame,start_frame\na,0,1,2\n")


@pytest.mark.parametrize("header", ["start_frame,end_frame,start_second,end_second", "start_frame,end_second"])
def test_frames_and_seconds_together_are_refused(labelled, header):
    with pytest.raises(SourceError, match=r"labels\.csv, line 1: counts frames and seconds; keep the columns of one"):
        labelled(f"clip,{header}\na,0,1\n")


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan", "N/A", "true", "1e3"])
def test_names_are_names(tmp_path, write_video, name):
    path = write_video(tmp_path / f"{name.replace('/', '')}.avi", FRAMES)
    (tmp_path / "labels.csv").write_text(f"clip,start_frame,end_frame,kind\n{path.stem},0,1,{name}\n")
    clips = read(train=path, test=path, labels=tmp_path / "labels.csv")
    assert clips[f"test/{path.stem}"].spans == (Span(0, 2, name),)


@pytest.mark.parametrize("number", ["1_0", "0x1", "١,5", "1;5"])
def test_what_is_no_number_elsewhere_is_none_here(labelled, number):
    with pytest.raises(SourceError, match=r"labels\.csv, line 2: "):
        labelled(f"clip,start_frame,end_frame\na,0,{number}\n")


def test_an_event_beyond_the_end_is_said_as_the_file_says_it(tmp_path, write_video, carry_out):
    """Whatever the stride: frames are the video's own, counted from 0."""
    path = write_video(tmp_path / "a.avi", FRAMES)
    (tmp_path / "labels.csv").write_text("clip,start_frame,end_frame\n\na,3,15\n")
    settings = {"train": str(path), "test": str(path), "labels": str(tmp_path / "labels.csv"), "frame_stride": 3}
    config = FrameExtraction("videos", videos=settings)
    with pytest.raises(SourceError, match=r"the event from frame 3 to 15 \(.*labels\.csv, line 3\) leaves"):
        label_table(config, carry_out(frame_jobs(config)))
