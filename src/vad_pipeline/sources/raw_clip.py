"""What every source hands over: raw clips with lazily read frames, and their labels where they exist."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

SAME = 5e-7  # seconds that do not tell two times apart: 0.1 + 0.2 is frame 3 at 10 frames a second


class SourceError(ValueError):
    """Raw data that cannot be used; the message names the thing, the place and the remedy."""


@dataclass(frozen=True)
class Span:
    """An abnormal stretch of a clip: frames ``start`` (0-based) up to, not including, ``stop``.

    Attributes:
        said: how the label file puts it and where, for messages.
    """

    start: int
    stop: int
    kind: str = ""
    said: str = field(default="", compare=False)


@dataclass(frozen=True)
class SecondsSpan:
    """An abnormal stretch in seconds from the clip's first picture: the frames shown from ``start`` up to, not
    including, ``end``."""

    start: float
    end: float
    kind: str = ""
    said: str = field(default="", compare=False)


@dataclass(frozen=True)
class RawClip:
    """One clip of a source, described before anything is decoded.

    Attributes:
        clip: clip id, ``train/01`` or ``test/Test004``.
        fingerprint: changes whenever ``frames()`` would yield other pixels.
        frames: yields the frames in order, each uint8 (H, W, C) with C = 1 (gray) or 3 (RGB).
        source: where the clip comes from, for error messages and the index.
        fps: frames per second, None where the source does not say.
        timed: yields the same frames, each with its second from the first picture; None where frames have no times of
            their own but follow ``fps``.
        spans: abnormal stretches; an empty tuple says the clip is known to be normal, None that nothing is known.
        frame_labels: one label {0, 1} per frame where the source labels frames rather than stretches.
        masks: yields one bool (H, W) mask of the abnormal pixels per frame.
        masks_fingerprint: changes whenever ``masks()`` would yield other pixels; empty where it is ``fingerprint``'s.
    """

    clip: str
    fingerprint: str
    frames: Callable[[], Iterator[np.ndarray]]
    source: str
    fps: float | None = None
    timed: Callable[[], Iterator[tuple[np.ndarray, float]]] | None = None
    spans: tuple[Span | SecondsSpan, ...] | None = None
    frame_labels: tuple[int, ...] | None = None
    masks: Callable[[], Iterator[np.ndarray]] | None = None
    masks_fingerprint: str = ""

    @property
    def labelled(self) -> bool:
        """Whether the source says which frames are abnormal."""
        return self.spans is not None or self.frame_labels is not None

    def labels(self, n_frames: int, seconds: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
        """Labels int8 (n_frames,) and the kind of anomaly per frame ("" where normal or unknown).

        Args:
            n_frames: of the clip as stored.
            seconds: when each is shown; needed where spans are in seconds.

        Raises:
            SourceError: there are more or fewer labels than frames, or a span leaves the clip.
        """
        kinds = [""] * n_frames
        if self.frame_labels is not None:
            if len(self.frame_labels) != n_frames:
                raise SourceError(
                    f"clip {self.clip}: {len(self.frame_labels)} labels for {n_frames} frames ({self.source}); "
                    "the label file and the frames must come from the same release of the data set"
                )
            return np.asarray(self.frame_labels, dtype=np.int8), kinds
        labels = np.zeros(n_frames, dtype=np.int8)
        for span in self.spans or ():
            inside = self._inside(span, n_frames) if isinstance(span, Span) else self._shown(span, seconds)
            labels[inside] = 1
            for t in inside:
                kinds[t] = span.kind
        return labels, kinds

    def _inside(self, span: Span, n_frames: int) -> np.ndarray:
        if not 0 <= span.start < span.stop <= n_frames:
            said = span.said or f"the abnormal span of frames {span.start + 1} to {span.stop} (counted from 1)"
            raise SourceError(
                f"clip {self.clip}: {said} leaves the clip's {n_frames} frames ({self.source}); correct the label file"
            )
        return np.arange(span.start, span.stop)

    def _shown(self, span: SecondsSpan, seconds: np.ndarray | None) -> np.ndarray:
        said = span.said or f"the abnormal span from second {span.start:g} to {span.end:g}"
        if seconds is None:
            raise SourceError(
                f"clip {self.clip}: {said}, but it is not known when its frames are shown ({self.source}); label them "
                "by their numbers"
            )
        # the last frame is shown no longer than any before it, or for as long as the rate says
        last = float(seconds[-1]) + max([0.0, *np.diff(seconds).tolist(), 1 / self.fps if self.fps else 0.0])
        if span.end > last + SAME:
            raise SourceError(
                f"clip {self.clip}: {said} leaves the clip, which ends after {last:.2f} seconds ({self.source}); "
                "correct the label file"
            )
        return np.flatnonzero((seconds >= span.start - SAME) & (seconds < span.end - SAME))


def spans_of(labels: Sequence[int] | np.ndarray) -> tuple[tuple[int, int], ...]:
    """Stretches of ones in a 0/1 vector as (start, stop) pairs, stop exclusive."""
    edges = np.diff(np.concatenate(([0], np.asarray(labels, dtype=np.int8), [0])))
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
