"""An annotated video: the picture, where the error is high, the score and the alarm; H.264, which browsers play."""

from collections import deque
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np

from vad_pipeline.detection.events import Score
from vad_pipeline.detection.thresholds import Threshold
from vad_pipeline.scoring.regions import enlarged

ALARM, ALARM_INK, CALM, INK, GROUND = (230, 40, 40), (255, 110, 100), (70, 160, 110), (245, 245, 245), 24
WORDS, CURVE = 20, 40  # rows under the picture: of the words, and of the curve of the last seconds
HEAT = 0.55  # opacity of the hottest place
TRACE = 20.0  # seconds of the curve
CLOCK = 1000  # ticks a second of the file's times
SMALLEST_WIDTH = 160
COLOURS = np.ascontiguousarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1])


class AnnotatedVideo:
    """Writes pictures with their scores, one after the other, to a temporary name; the file is there once it is closed.

    Args:
        path: of the mp4.
        threshold: of the alarm.
    """

    def __init__(self, path: Path, threshold: Threshold):
        self.path, self.threshold = path, threshold
        self._partial = path.with_name(f".{path.name}.partial")
        self._container: av.container.OutputContainer | None = None
        self._trace: deque[tuple[float, float]] = deque()
        self._hottest = 1e-9

    def __enter__(self) -> "AnnotatedVideo":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if kind is None:
                container.mux(self._stream.encode(None))
            container.close()
            if kind is None:
                self._partial.replace(self.path)
        except (av.FFmpegError, OSError):
            with suppress(av.FFmpegError, OSError):
                container.close()
            if kind is None:  # otherwise what stopped the writing is what counts
                raise
        finally:
            self._partial.unlink(missing_ok=True)

    def write(self, picture: np.ndarray, second: float, score: Score | None, alarm: bool) -> None:
        """Add a picture.

        Args:
            picture: uint8 (H, W, 1|3), RGB.
            second: when it is shown.
            score: None where it has none, at the ends of a clip.
            alarm: whether an event goes on.
        """
        drawn = self.drawn(picture, second, score, alarm)
        if self._container is None:
            self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "faststart"})
            self._stream = self._container.add_stream(
                "libx264", rate=Fraction(self.threshold.fps).limit_denominator(1000)
            )
            self._stream.height, self._stream.width = drawn.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, CLOCK)
            self._stream.options = {"crf": "23", "preset": "veryfast"}
            self._last = -1
        frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
        self._last = frame.pts = max(self._last + 1, round(second * CLOCK))
        frame.time_base = Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(frame))

    def drawn(self, picture: np.ndarray, second: float, score: Score | None, alarm: bool) -> np.ndarray:
        """The picture with heat, box, frame and curve, uint8 (H', W', 3), both even."""
        image = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture.copy()
        if score is not None and score.error is not None:
            image = self._heated(image, score.error.astype(np.float32))
        scale = max(1, -(-SMALLEST_WIDTH // image.shape[1]))
        if scale > 1:
            image = np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)
        height, width = (side - side % 2 for side in image.shape[:2])
        image = np.ascontiguousarray(image[:height, :width])
        thick = max(1, width // 240)
        if alarm:
            cv2.rectangle(image, (0, 0), (width - 1, height - 1), ALARM, 2 * thick)
            if score is not None and score.box is not None:
                x, y, w, h = (scale * side for side in score.box)
                cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), ALARM, thick)
        return np.concatenate([image, self._words(width, second, score, alarm), self._curve(width, second, score)])

    def _heated(self, image: np.ndarray, error: np.ndarray) -> np.ndarray:
        error = np.minimum(error, np.finfo(np.float16).max)  # as which it is stored
        self._hottest = max(self._hottest * 0.995, float(error.max()))
        if not error.any():
            return image
        share = np.clip(enlarged(error, (image.shape[0], image.shape[1])) / self._hottest, 0, 1)
        x, y, width, height = cv2.boundingRect((share > 0).astype(np.uint8))
        warm = np.s_[y : y + height, x : x + width]
        colours = cv2.LUT(np.repeat((255 * share[warm]).astype(np.uint8)[..., None], 3, axis=-1), COLOURS)
        opacity = HEAT * share[warm]
        image[warm] = cv2.blendLinear(np.ascontiguousarray(image[warm]), colours, 1 - opacity, opacity)
        return image

    @staticmethod
    def _words(width: int, second: float, score: Score | None, alarm: bool) -> np.ndarray:
        bar = np.full((WORDS, width, 3), GROUND, np.uint8)
        said = [f"{second:.1f} s", *([] if score is None else [f"p {score.p_value:.2g}"])]
        said += [f"ALARM {'' if score is None else score.reason}"] if alarm else []
        colour = ALARM_INK if alarm else INK
        cv2.putText(bar, "   ".join(said), (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
        return bar

    def _curve(self, width: int, second: float, score: Score | None) -> np.ndarray:
        """The score over the last seconds; the dotted line is the threshold, at two thirds of the height."""
        bar = np.full((CURVE, width, 3), GROUND, np.uint8)
        line = CURVE // 3
        if score is not None:
            self._trace.append((second, score.anomaly))
        while self._trace and self._trace[0][0] < second - TRACE:
            self._trace.popleft()
        level, floor = self.threshold.level, min(0.0, self.threshold.level - 1)
        if self._trace:
            when, value = np.array(self._trace).T
            share = (value - floor) / (level - floor)
            x = np.round((width - 1) * (1 + (when - second) / TRACE)).astype(int)
            y = np.clip(CURVE - 1 - share * (CURVE - 1 - line), 1, CURVE - 1).astype(int)
            top = np.full(width, CURVE)
            thick = max(1, width // 200)
            for beside in range(-(thick // 2), thick - thick // 2):
                np.minimum.at(top, np.clip(x + beside, 0, width - 1), y)
            columns = np.arange(CURVE)[:, None] >= top
            bar[columns] = CALM
            bar[columns & (top < line)] = ALARM
        bar[line, ::4] = INK
        return bar
