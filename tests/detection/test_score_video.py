"""New videos by a trained detector: tables, events with pictures, a video that plays."""

import errno
from fractions import Fraction

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from tests.detection.test_detector import picture_rows, trained
from vad_pipeline.detection.annotated_video import AnnotatedVideo
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.score_video import Scored, score_video
from vad_pipeline.pipelines.score_video.nodes import ScoreVideo, detect, name_failed, score_new_videos
from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.sources.raw_clip import SourceError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    trained(folder, "scene_exemplars")
    return folder


@pytest.fixture(scope="module")
def detector(models):
    return Detector.load(models / "scene_exemplars")


@pytest.fixture
def video(tmp_path, write_video):
    """Four seconds as in training, then one of another square, at 20 frames a second where 10 were learnt."""
    frames = [picture_rows(1, t // 2)[0, ..., 0] for t in range(80)]
    for t in range(80, 120):
        odd = picture_rows(1, t // 2)[0, ..., 0].copy()
        odd[1:5, 2 * (t % 8) : 2 * (t % 8) + 4] = 255
        frames.append(odd)
    return write_video(tmp_path / "new.mkv", frames, fps=20, codec="ffv1")


def test_a_video_becomes_tables_pictures_and_a_video_of_h264(tmp_path, detector, video):
    found = score_video(detector, video, tmp_path / "out" / "new")
    assert found.folder == tmp_path / "out" / "new"
    table = pd.read_csv(found.folder / "scores.csv")
    pd.testing.assert_frame_equal(pd.read_parquet(found.folder / "scores.parquet"), table, check_exact=False)
    assert table["second"].tolist() == pytest.approx([n / 10 for n in table["frame"]], abs=1e-3)
    assert table["anomaly"][table["second"] > 4.2].mean() > table["anomaly"][table["second"] < 3.8].mean()
    events = pd.read_csv(found.folder / "events.csv")
    assert len(events) == len(found.events) > 0
    assert events["peak"].max() >= 4
    for picture in events["picture"]:
        assert (found.folder / picture).stat().st_size > 0
    with av.open(str(found.folder / "annotated.mp4")) as shown:
        stream = shown.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        times = [float(frame.pts * stream.time_base) for frame in shown.decode(video=0)]
    assert times == pytest.approx([n / 10 for n in range(60)], abs=2e-3), "every picture that was scored, at its time"
    pd.testing.assert_frame_equal(found.scores, detector.score(video), check_exact=True)


def test_what_cannot_be_scored_is_named_and_leaves_what_was_there(tmp_path, detector, video, write_video):
    found = score_video(detector, video, tmp_path / "out" / "new", annotated=False)
    assert not (found.folder / "annotated.mp4").exists()
    before = sorted(path.name for path in found.folder.iterdir())
    short = write_video(tmp_path / "short" / "new.mkv", [np.zeros((16, 32), np.uint8)] * 2, fps=10, codec="ffv1")
    with pytest.raises(SourceError, match=r"new\.mkv: 2 frames at 10 a second, a score takes 3 and more"):
        score_video(detector, short, tmp_path / "out" / "new")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        score_video(detector, broken, tmp_path / "out" / "broken")
    assert sorted(path.name for path in found.folder.iterdir()) == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["new"]


def test_where_the_error_is_high_the_picture_glows_and_an_alarm_frames_it(tmp_path, detector):
    from vad_pipeline.detection.events import Score

    picture = np.full((64, 160, 1), 90, np.uint8)
    error = np.zeros((16, 40), np.float16)
    error[4:8, 20:26] = 1
    score = Score(0, 0.0, 1.0, 0.1, {}, "speed", (80, 16, 24, 16), error)
    writer = AnnotatedVideo(tmp_path / "never.mp4", detector.threshold)
    calm, loud = (writer.drawn(picture, 0.0, score, alarm) for alarm in (False, True))
    assert np.abs(calm[:64, :60].astype(int) - 90).max() == 0
    assert np.abs(calm[20:28, 84:100].astype(int) - 90).max() > 40
    assert (loud[0, 5] == loud[16, 85]).all()
    assert (calm[0, 5] == 90).all()
    assert loud.shape[0] % 2 == loud.shape[1] % 2 == 0


def jpegs(path, frames):
    """A video each of whose pictures may have a size of its own, 10 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        for n, frame in enumerate(frames):
            packet = av.Packet(cv2.imencode(".jpg", frame)[1].tobytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, n, n, Fraction(1, 10)
            container.mux(packet)
    return path


def test_a_video_whose_pictures_change_their_size_is_scored_up_to_there(tmp_path, detector):
    small, other = np.full((16, 40, 3), 90, np.uint8), np.full((32, 64, 3), 90, np.uint8)
    found = score_video(detector, jpegs(tmp_path / "new.mkv", 9 * [small] + 3 * [other]), tmp_path / "new")
    assert found.scores["frame"].tolist() == list(range(1, 8))
    assert "frame 9 is 64x32, the first is 40x16" in found.missing
    assert found.missing.endswith("it was scored up to second 0.7")
    assert len(pd.read_csv(found.folder / "scores.csv")) == 7


def test_a_black_video_is_scored_and_said_to_be_black(tmp_path, detector, write_video):
    video = write_video(tmp_path / "night.mkv", 8 * [np.zeros((16, 40), np.uint8)])
    found = score_video(detector, video, tmp_path / "night")
    assert len(found.scores) == 6
    assert "all pictures are black" in found.notes[-1]


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["write", "__exit__"])
def test_where_the_disk_is_full_the_scores_are_kept_without_the_annotated_video(
    tmp_path, detector, video, monkeypatch, what
):
    whole = AnnotatedVideo.__exit__

    def failing(writer, kind, *rest):
        whole(writer, kind or OSError, *rest)
        return full() if kind is None else None

    monkeypatch.setattr(AnnotatedVideo, what, full if what == "write" else failing)
    found = score_video(detector, video, tmp_path / "new")
    assert {path.name for path in found.folder.iterdir()} == {"events", "events.csv", "scores.csv", "scores.parquet"}
    assert len(found.scores) == 58
    assert "no space left for annotated.mp4; kept are events, events.csv, scores.csv" in found.missing


def test_where_tables_find_no_room_the_annotated_video_makes_it_and_without_room_nothing_is_left(
    tmp_path, detector, video, monkeypatch
):
    def once(found):
        if (found.folder / "annotated.mp4").exists():
            full()
        (found.folder / "report.html").write_text("all")

    found = score_video(detector, video, tmp_path / "new", report=once)
    assert "annotated.mp4" in found.missing
    assert not (found.folder / "annotated.mp4").exists()
    assert (found.folder / "report.html").exists()
    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match=r"no space left for what was found in new\.mkv, nothing of it is kept"):
        score_video(detector, video, tmp_path / "new")
    assert (tmp_path / "new" / "report.html").read_text() == "all", "what an earlier run left stays"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.mkv"]


def test_the_report_is_written_before_the_folder_gets_its_name(tmp_path, detector, video):
    seen = []

    def report(found):
        assert isinstance(found, Scored)
        seen.append((found.folder.name, (tmp_path / "new").exists(), sorted(p.name for p in found.folder.iterdir())))

    score_video(detector, video, tmp_path / "new", report=report)
    assert seen == [(".new.partial", False, ["annotated.mp4", "events", "events.csv", "scores.csv", "scores.parquet"])]


def test_of_several_videos_the_others_are_scored_and_the_broken_one_is_named_at_the_end(tmp_path, models, write_video):
    videos, normal = tmp_path / "videos", [picture_rows(1, t)[0, ..., 0] for t in range(12)]
    for name in ("1", "3"):
        write_video(videos / f"{name}.mkv", normal)
    (videos / "2.mp4").write_bytes(b"no video")
    config = ScoreVideo(str(models), str(tmp_path / "out"), str(videos), annotated=False, threads=1)
    detected = detect(config, FrameExtraction("videos"))
    assert [each.video.stem for each in detected.found] == ["1", "3"]
    for each in detected.found:
        assert (each.folder / "report.html").exists()
    with pytest.raises(SourceError, match=r"2\.mp4: cannot be opened as a video"):
        name_failed(detected.failed)
    assert len(detected.failed) == 1
    only = ScoreVideo(str(models), str(tmp_path / "out"), str(videos / "2.mp4"))
    with pytest.raises(SourceError, match=r"2\.mp4: cannot be opened as a video"):
        score_new_videos(only, FrameExtraction("videos"))
