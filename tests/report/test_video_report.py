"""The page of a scored video: what it says, and in a browser its timeline and the regions that are drawn in it."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.detection.events import Event
from vad_pipeline.detection.score_video import Scored
from vad_pipeline.detection.thresholds import choose_threshold
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.models.systems import SYSTEMS
from vad_pipeline.report.video_report import POINTS, in_sentences, timeline, write_video_report
from vad_pipeline.sources.videos import read_timed_video

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Taps three corners of the left half, seeks by the timeline, then leaves in the page what was downloaded and shown.
VISIT = """<script>
addEventListener("error", (event) => { document.body.dataset.failed = event.message; });
HTMLAnchorElement.prototype.click = () => {};
URL.createObjectURL = (blob) => {
  const reader = new FileReader();
  reader.onload = () => { document.body.dataset.png = reader.result; };
  reader.readAsDataURL(blob);
  return "blob:none";
};
addEventListener("load", () => setTimeout(() => {
  const canvas = document.getElementById("region"), box = canvas.getBoundingClientRect();
  canvas.setPointerCapture = () => {};
  const tap = (x, y) => ["pointerdown", "pointerup"].forEach((kind) => canvas.dispatchEvent(new PointerEvent(kind,
    {clientX: box.left + x * box.width, clientY: box.top + y * box.height, pointerId: 1})));
  for (const [x, y] of [[0, 0], [0.5, 0], [0.5, 1], [0, 1], [0.9, 0.9]]) tap(x, y);
  document.getElementById("undo").click();
  document.getElementById("download").click();
  const line = document.getElementById("timeline"), at = line.getBoundingClientRect();
  line.dispatchEvent(new MouseEvent("click", {clientX: at.left + at.width / 2}));
  document.body.dataset.said = document.getElementById("said").textContent;
  document.body.dataset.over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
}, 300));
</script>"""


class Detector:
    system, fps, native, frames = SYSTEMS["scene_exemplars"], 10.0, None, FrameSize(32, 64)
    terms = {"speed": Term(True, "how <fast> it is")}  # noqa: RUF012
    known = np.arange(600.0)
    threshold = choose_threshold([np.arange(600.0)], fps=10)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    import av

    path = tmp_path_factory.mktemp("film") / "a <b>.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 30, 50, "gray"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((30, 50), 120, np.uint8), format="gray")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def found(tmp_path, video):
    scores = pd.DataFrame({"second": np.arange(101) / 10, "anomaly": np.linspace(0, 700, 101), "p_value": 0.25})
    (tmp_path / "events").mkdir()
    cv2.imwrite(str(tmp_path / "events" / "1.jpg"), np.full((30, 50, 3), 90, np.uint8))
    event = Event(4.0, 6.0, 5.0, 40, 60, 50, 650.0, 0.0017, "speed", (1, 2, 3, 4))
    return Scored(video, tmp_path, scores, [event], (30, 50), 10.0, ("trained on something else",))


def test_the_page_says_what_was_found_at_which_rate_and_fetches_nothing(found):
    write_video_report(found, Detector())
    page = (found.folder / "report.html").read_text()
    assert "a &lt;b&gt;.mkv" in page
    assert "how &lt;fast&gt; it is" in page
    said = " ".join(page.split())
    assert "1 event in 10 seconds of video, by scene_exemplars." in said
    assert "at most 55.4 false ones an hour, in the mean: up to 0.15 in a video of this length" in said
    assert "60 seconds of normal footage that were held out" in said
    assert "trained on something else" in page
    assert "0:04.0 to 0:06.0" in page
    assert "speed: faster than things were there in training" in said
    assert "p 0.0017" in said
    assert "No annotated video was written." in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert [path.name for path in found.folder.glob(".*")] == []
    (found.folder / "annotated.mp4").touch()
    write_video_report(found, Detector())
    assert '<video id="video" src="annotated.mp4"' in (found.folder / "report.html").read_text()


def test_as_many_events_as_normal_footage_may_raise_prove_nothing(found):
    assert not any("Normal footage alone" in said for said in in_sentences(found, Detector.threshold, "x"))
    long = pd.DataFrame({"second": [0.0, 3600.0]})
    rare = Scored(found.video, found.folder, long, found.events)
    assert any("Normal footage alone may raise so many" in said for said in in_sentences(rare, Detector.threshold, "x"))


def test_a_long_timeline_keeps_its_peaks():
    scores = np.zeros(10 * POINTS + 7)
    scores[12345] = 9.0
    table = pd.DataFrame({"second": np.arange(len(scores)) / 10, "anomaly": scores, "p_value": 0.5})
    drawn = timeline(table)
    assert POINTS / 2 < len(drawn["scores"]) <= POINTS
    assert drawn["seconds"][drawn["scores"].index(9.0)] == 1234.5


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_in_a_browser_a_region_is_drawn_that_the_reader_takes_and_the_timeline_is_clicked(found, video):
    write_video_report(found, Detector())
    page = found.folder / "report.html"
    page.write_text(page.read_text().replace("<script", VISIT + "<script", 1))
    profile = f"--user-data-dir={found.folder / 'profile'}"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", profile, "--window-size=390,900"]
    command += ["--virtual-time-budget=3000", "--enable-logging=stderr", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    body = re.search(r"<body[^>]*>", done.stdout)[0]
    assert "data-failed" not in body
    assert re.search(r'data-said="(4\.9|5\.0) s: score 3[45]\d, p 0\.25, event 1"', body)
    png = Path(found.folder / "region.png")
    png.write_bytes(base64.b64decode(re.search(r'data-png="data:image/png;base64,([^"]+)"', body)[1]))
    mask = cv2.imread(str(png), cv2.IMREAD_UNCHANGED)
    assert mask.shape[:2] == (30, 50)
    assert set(np.unique(mask[..., :3])) == {0, 255}
    ((picture, _),) = read_timed_video(video, 1, png, "error")
    expected = np.zeros((30, 50), np.uint8)
    expected[:, :25] = 120
    np.testing.assert_array_equal(picture[..., 0], expected)
    assert 'data-over="0"' in body, "nothing sticks out of a narrow page"
