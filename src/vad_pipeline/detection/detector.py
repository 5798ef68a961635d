"""A trained system as people use it: pictures in, scores and events out, whole videos or frame by frame.

Everything comes from the checkpoints: the size of the frames, how flow and features are made, the scale of the terms,
and the scores of held-out normal footage, from which p-values and the alarm threshold are taken. Nothing is scaled by
the video itself, so a score means the same in all of them.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from vad_pipeline.clips.resize import FrameSize, resize
from vad_pipeline.detection.events import Event, Score, find_events
from vad_pipeline.detection.held_out import fps_of, held_out_anomalies, normaliser_of, weights_of
from vad_pipeline.detection.overlap import ahead
from vad_pipeline.detection.reading import Reading, reader_of
from vad_pipeline.detection.thresholds import Threshold, choose_threshold
from vad_pipeline.detection.trained_system import find_trained
from vad_pipeline.evaluation.normality import HIGH, LOW, anomaly_score
from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError
from vad_pipeline.models.build import build
from vad_pipeline.models.scorer import ScoredBatch, ScoringOptions
from vad_pipeline.models.systems import SYSTEMS, terms_of
from vad_pipeline.scoring.regions import region_in_picture
from vad_pipeline.sources.videos import read_timed_video
from vad_pipeline.training.streams import features_of_frames, flow_of_pairs

Picture = np.ndarray  # uint8 (H, W, 1|3), RGB
Rows = dict[str, dict[str, np.ndarray]]  # part -> stream -> rows
Found = tuple[int, dict[str, float], np.ndarray | None]  # of one part: frame, raw terms, error map
Shown = TypeVar("Shown")
TOLERANCE = 1e-6  # seconds by which a picture may come early to be the next one to score


class Detector:
    """A trained system, for videos and live streams.

    >>> detector = Detector.load("data/06_models/scenes/scene_exemplars")     # doctest: +SKIP
    >>> table = detector.score("new.mp4")                                     # doctest: +SKIP
    >>> detector.events(table)                                                # doctest: +SKIP

    Args:
        system: its name.
        checkpoints: part -> its trained model.
        false_alarms_per_hour: that normal footage may raise; None takes the lowest rate that held-out footage supports.
        hold: frames for which scores have to stay above the threshold.
        options: how to run the models.
        threshold: chosen before; None chooses it by the rate.
        reading: how ``score`` reads the camera's pictures; None takes them as they are.

    Attributes:
        threshold: for alarms.
        known: anomaly scores of the held-out normal frames, in order, which p-values are ranks among.
        reading: as given; what is pushed or streamed has been read so, see ``reader_of``.
        fps: frames a second that the system was trained on, None where that is not known.
        native: rows, columns and colours of the footage before it was brought to ``frames``, None where that is not
            known.
        frames: size and colour of what the system reads; of several parts the first one's.
        delay: frames after which a frame's score is there.
        shortest: frames of a video that a score takes.

    Raises:
        CheckpointError: a part is missing, or was trained by a version that kept no held-out scores.
        ThresholdError: no normal footage was held out, or too little of it for the rate.
    """

    def __init__(
        self,
        system: str,
        checkpoints: Mapping[str, Checkpoint],
        false_alarms_per_hour: float | None = None,
        hold: int = 1,
        options: ScoringOptions | None = None,
        threshold: Threshold | None = None,
        reading: Reading | None = None,
    ):
        self.system = SYSTEMS[system]
        if missing := sorted(set(self.system.parts) - set(checkpoints)):
            raise CheckpointError(f"{system}: its part {missing[0]} is missing; train the whole system")
        options = options or ScoringOptions()
        self.parts = {name: _Part(checkpoints[name], options) for name in self.system.parts}
        self.terms, self.weights = terms_of(self.system), weights_of(self.system, checkpoints)
        self.normaliser = normaliser_of(checkpoints)
        self.fps = fps_of(self.system, checkpoints)
        first = checkpoints[next(iter(self.system.parts))]
        self.native: tuple[int, ...] | None = tuple(first.about.get("native") or ()) or None
        self.frames = next(iter(self.parts.values())).size
        self.reading = reading
        self.delay = max(part.delay for part in self.parts.values())
        self.shortest = max(part.scorer.window.length for part in self.parts.values())
        clips = held_out_anomalies(self.system, checkpoints)
        self.threshold = threshold or choose_threshold(clips, self.fps, false_alarms_per_hour, hold)
        self.known = np.sort(np.concatenate([np.zeros(0), *clips]))
        self._batch = options.batch
        self._forget()

    @classmethod
    def load(
        cls,
        folder: str | Path,
        system: str | None = None,
        version: str | None = None,
        false_alarms_per_hour: float | None = None,
        hold: int | None = None,
        options: ScoringOptions | None = None,
    ) -> "Detector":
        """The trained system in a folder, ``data/06_models/<data set>/<system>``, or one that was handed over.

        Args:
            folder: holds ``checkpoint.safetensors``, a file or Kedro's folder of versions; of a system of parts, one
                folder beside it for each, ``<system>.<part>``. Or it was written by ``hand_over``, and says threshold
                and reading itself.
            system: its name, where that is not the folder's.
            version: Kedro's; None is the latest.
            false_alarms_per_hour, hold: see the class; None takes what was handed over, or the lowest rate and 1.
            options: see the class.

        Raises:
            CheckpointError: nothing is trained there, a file is missing, damaged or of another version.
            ThresholdError: see the class.
        """
        found = find_trained(Path(folder), system, version)
        threshold, rate = None, false_alarms_per_hour
        if found.handed is not None:
            kept = found.handed.threshold, found.handed.false_alarms_per_hour
            rate, hold = kept[1] if rate is None else rate, kept[0].hold if hold is None else hold
            threshold = kept[0] if (rate, hold) == (kept[1], kept[0].hold) else None
        return cls(found.system, found.checkpoints, rate, hold or 1, options, threshold, found.reading)

    def push(self, picture: Picture, second: float | None = None) -> Score | None:
        """Take the next picture of a stream; the score of an earlier one, ``delay`` frames late, if it is there.

        Args:
            picture: uint8 (H, W, 1|3), RGB, of any size; it is brought to the model's.
            second: when it is shown; by default the pictures before it at the trained rate.
        """
        self._take([second], self._rows([picture]))
        return self._ready.popleft() if self._ready else None

    def finish(self) -> list[Score]:
        """End the stream: the scores that are still to come; the next push begins another one."""
        for name, part in self.parts.items():
            self._wait(name, part.finish())
        self._match()
        rest = list(self._ready)
        self._forget()
        return rest

    def stream(self, pictures: Iterable[tuple[Picture, float]]) -> Iterator[Score]:
        """Scores of timed pictures, a few at a time; memory is bounded by the window and the batch.

        Pictures are taken, resized and their flow estimated by a thread while the models are at the batch before.
        A stream that was pushed and not finished ends, without its last scores.
        """
        self.finish()
        for seconds, rows in ahead(self._batches(iter(pictures)), 1):
            self._take(seconds, rows)
            yield from self._drain()
        yield from self.finish()

    def score(self, video: str | Path | np.ndarray) -> pd.DataFrame:
        """Score a video.

        Args:
            video: a file, at its own times and at the trained rate; or frames uint8 (T, H, W, 1|3) at that rate. Both
                are the camera's, and are brought to what ``reading`` says.

        Returns:
            Columns frame, second, anomaly, p_value, alarm, reason and the raw terms.

        Raises:
            SourceError: the file cannot be decoded.
            ValueError: it has too few frames.
        """
        if isinstance(video, np.ndarray):
            rate = self.threshold.fps
            pictures: Iterable[tuple[Picture, float]] = ((frame, n / rate) for n, frame in enumerate(video))
        else:
            pictures = at_rate(read_timed_video(Path(video), 1, None, "keep"), self.fps)
        read = reader_of(self.reading or Reading())
        scores = list(self.stream((read(picture), second) for picture, second in pictures))
        if not scores:
            raise ValueError(
                f"{'the frames' if isinstance(video, np.ndarray) else video}: fewer than the {self.shortest} that a "
                "score takes; give a longer video"
            )
        return score_table(scores, self.threshold)

    def events(self, scores: Iterable[Score] | pd.DataFrame) -> list[Event]:
        """Events among the scores of one video, by the detector's threshold.

        Args:
            scores: of all frames in order, or the table that ``score`` gives, which has no boxes.
        """
        if isinstance(scores, pd.DataFrame):
            columns = [scores[name] for name in ("frame", "second", "anomaly", "p_value", "reason")]
            scores = [
                Score(int(frame), float(second), float(anomaly), float(p_value), {}, str(reason))
                for frame, second, anomaly, p_value, reason in zip(*columns, strict=True)
            ]
        return find_events(scores, self.threshold)

    def _forget(self) -> None:
        self._waiting: dict[str, dict[int, tuple[dict[str, float], np.ndarray | None]]] = {n: {} for n in self.parts}
        self._ready: deque[Score] = deque()
        self._seconds: dict[int, float] = {}
        self._size: tuple[int, ...] | None = None
        self._seen = self._taken = 0  # pictures that rows were made of, that went through the models

    def _batches(self, pictures: Iterator[tuple[Picture, float]]) -> Iterator[tuple[list[float | None], Rows]]:
        """What the models read of batches of pictures; pictures themselves are let go one by one."""
        while True:
            seconds: list[float | None] = []
            rows = self._rows(_noted(islice(pictures, self._batch), seconds))
            if not seconds:
                return
            yield seconds, rows

    def _rows(self, pictures: Iterable[Picture]) -> Rows:
        for picture in pictures:
            if self._size is None:
                self._size = picture.shape
            if picture.shape != self._size:
                raise ValueError(
                    f"picture {self._seen} is {picture.shape}, the first was {self._size} (rows, columns, colours); "
                    "finish the stream and begin another"
                )
            self._seen += 1
            for part in self.parts.values():
                part.see(picture)
        return {name: part.rows() for name, part in self.parts.items()}

    def _take(self, seconds: list[float | None], rows: Rows) -> None:
        for second in seconds:
            self._seconds[self._taken] = self._taken / self.threshold.fps if second is None else second
            self._taken += 1
        for name, part in self.parts.items():
            self._wait(name, part.push(rows[name]))
        self._match()

    def _wait(self, name: str, scored: Iterable[Found]) -> None:
        self._waiting[name].update({frame: (terms, error) for frame, terms, error in scored})

    def _match(self) -> None:
        """Move frames that all parts have scored to those that are ready."""
        common = sorted(set.intersection(*(set(waits) for waits in self._waiting.values())))
        if not common:
            return
        found = [[waits[frame] for waits in self._waiting.values()] for frame in common]
        table = pd.DataFrame([{k: v for terms, _ in parts for k, v in terms.items()} for parts in found])
        table = table.assign(clip="stream")
        anomalies = self._anomaly(table).to_numpy()
        at_least = len(self.known) - np.searchsorted(self.known, anomalies, side="left")
        p_values = (at_least + 1) / (len(self.known) + 1)
        reasons = self._reasons(table)
        assert self._size is not None
        for n, frame in enumerate(common):
            error = next((error for _, error in found[n] if error is not None), None)
            box = None
            if error is not None and error.any():
                box = region_in_picture(error.astype(np.float32), (self._size[0], self._size[1]))
            terms = {term: float(table[term].iloc[n]) for term in self.terms if term in table}
            second = self._seconds[frame]
            self._ready.append(
                Score(frame, second, float(anomalies[n]), float(p_values[n]), terms, reasons[n], box, error)
            )
        for waits in self._waiting.values():
            for frame in [frame for frame in waits if frame <= common[-1]]:
                del waits[frame]
        self._seconds = {frame: second for frame, second in self._seconds.items() if frame > common[-1]}

    def _drain(self) -> Iterator[Score]:
        while self._ready:
            yield self._ready.popleft()

    def _anomaly(self, table: pd.DataFrame) -> pd.Series:
        return anomaly_score(table, self.terms, self.weights, "held_out", self.normaliser)

    def _reasons(self, table: pd.DataFrame) -> list[str]:
        """The term of each frame that lies highest on held-out footage's scale: of the fused ones, or where one is
        fused, of those that it is made of."""
        fused = [term for term, weight in self.weights.items() if weight > 0]
        asked = fused if len(fused) > 1 else [term for term in self.terms if term not in fused] or fused
        known = [t for t in asked if not self.terms[t].bounded and self._spread(t) > 0] or fused
        if len(known) == 1:
            return known * len(table)
        places = np.stack([anomaly_score(table, self.terms, {t: 1.0}, "held_out", self.normaliser) for t in known])
        return [known[n] for n in places.argmax(axis=0)]

    def _spread(self, term: str) -> float:
        levels = self.normaliser.get(term, [0.0] * (HIGH + 1))
        return levels[HIGH] - levels[LOW]


class _Part:
    """One model of a system: native pictures in, raw terms and error maps out."""

    def __init__(self, checkpoint: Checkpoint, options: ScoringOptions):
        model = build(checkpoint)
        self.scorer = model.scorer(options)
        self.size = TypeAdapter(FrameSize).validate_python(checkpoint.frames)
        reads, recipes = self.scorer.streams, checkpoint.streams
        self.flow = flow_of_pairs(recipes["flow"]) if "flow" in reads else None
        self.features = features_of_frames(recipes["features"], options.device) if "features" in reads else None
        window = self.scorer.window
        last = max(stream.rows.stop + (name == "flow") for name, stream in reads.items())
        self.delay = max(window.length, last) - 1 - (0 if window.apart else window.target)
        self._earlier: np.ndarray | None = None
        self._frames = 0
        self._made: dict[str, list[np.ndarray]] = {}  # stream -> of each picture since the last rows

    def see(self, picture: Picture) -> None:
        """Make of a picture what the model reads."""
        frame = resize(picture, self.size)
        if "frames" in self.scorer.streams:
            self._made.setdefault("frames", []).append(frame)
        if self.flow is not None:
            if self._earlier is not None:
                flow = self.flow(self._earlier, frame, self._frames - 1)
                self._made.setdefault("flow", []).append(flow)
            self._earlier, self._frames = frame, self._frames + 1
        if self.features is not None:
            self._made.setdefault("features", []).append(picture)

    def rows(self) -> dict[str, np.ndarray]:
        """What was made since the last call, by stream."""
        rows = {stream: np.stack(made) for stream, made in self._made.items()}
        if self.features is not None and "features" in rows:
            rows["features"] = self.features(rows["features"])
        self._made = {}
        return rows

    def push(self, rows: dict[str, np.ndarray]) -> Iterator[Found]:
        return _unpacked(self.scorer.push(rows)) if rows else iter(())

    def finish(self) -> Iterator[Found]:
        self._forget()
        return _unpacked(self.scorer.finish())

    def _forget(self) -> None:
        self._earlier = None
        self._frames = 0
        self._made = {}


def at_rate(
    pictures: Iterable[tuple[Shown, float]], fps: float | None, early: float = TOLERANCE
) -> Iterator[tuple[Shown, float]]:
    """Pictures at a rate: of each 1 / fps of a second the first; all of them where they come more slowly.

    Args:
        pictures: and the second at which each is shown.
        fps: wanted; None takes all.
        early: seconds by which a picture may come before its part of a second and still be its first.

    >>> [second for _, second in at_rate(((None, n / 25) for n in range(8)), 10)]
    [0.0, 0.12, 0.2]
    """
    due = 0.0
    for picture, second in pictures:
        if fps is not None and second < due - early:
            continue
        yield picture, second
        if fps is not None:
            due = max(due, np.floor((second + early) * fps) / fps) + 1 / fps


def score_table(scores: Iterable[Score], threshold: Threshold) -> pd.DataFrame:
    """Columns frame, second, anomaly, p_value, alarm, reason and the raw terms, a row for each frame."""
    rows = [
        {
            "frame": score.frame,
            "second": score.second,
            "anomaly": score.anomaly,
            "p_value": score.p_value,
            "alarm": score.anomaly > threshold.level,
            "reason": score.reason,
            **score.terms,
        }
        for score in scores
    ]
    return pd.DataFrame(rows)


def _noted(pictures: Iterable[tuple[Picture, float]], seconds: list[float | None]) -> Iterator[Picture]:
    for picture, second in pictures:
        seconds.append(second)
        yield picture


def _unpacked(batch: ScoredBatch | None) -> Iterator[Found]:
    if batch is None:
        return
    for n, frame in enumerate(batch.frames):
        terms = {term: float(values[n]) for term, values in batch.terms.items()}
        yield int(frame), terms, None if batch.maps is None else batch.maps[n]
