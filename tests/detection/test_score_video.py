"""New videos by a trained detector: tables, events with pictures, a video that plays."""

import av
import numpy as np
import pandas as pd
import pytest

from tests.detection.test_detector import picture_rows, trained
from vad_pipeline.detection.annotated_video import AnnotatedVideo
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.score_video import score_video
from vad_pipeline.sources.raw_clip import SourceError


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    trained(folder, "scene_exemplars")
    return Detector.load(folder / "scene_exemplars")


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
