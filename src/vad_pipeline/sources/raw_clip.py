"""What every source hands over: raw clips with lazily read frames, and their labels where they exist."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


class SourceError(ValueError):
    """Raw data that cannot be used; the message names the thing, the place and the remedy."""


@dataclass(frozen=True)
class Span:
    """An abnormal stretch of a clip: frames ``start`` (0-based) up to, not including, ``stop``."""

    start: int
    stop: int
    kind: str = ""


@dataclass(frozen=True)
class RawClip:
    """One clip of a source, described before anything is decoded.

    Attributes:
        clip: clip id, ``train/01`` or ``test/Test004``.
        fingerprint: changes whenever ``frames()`` would yield other pixels.
        frames: yields the frames in order, each uint8 (H, W, C) with C = 1 (gray) or 3 (RGB).
        source: where the clip comes from, for error messages and the index.
        fps: frames per second, None where the source does not say.
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
    spans: tuple[Span, ...] | None = None
    frame_labels: tuple[int, ...] | None = None
    masks: Callable[[], Iterator[np.ndarray]] | None = None
    masks_fingerprint: str = ""

    @property
    def labelled(self) -> bool:
        """Whether the source says which frames are abnormal."""
        return self.spans is not None or self.frame_labels is not None

    def labels(self, n_frames: int) -> tuple[np.ndarray, list[str]]:
        """Labels int8 (n_frames,) and the kind of anomaly per frame ("" where normal or unknown).

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
            if not 0 <= span.start < span.stop <= n_frames:
                raise SourceError(
                    f"clip {self.clip}: the abnormal span of frames {span.start + 1} to {span.stop} (counted from 1) "
                    f"leaves the clip's {n_frames} frames ({self.source}); correct the label file"
                )
            labels[span.start : span.stop] = 1
            kinds[span.start : span.stop] = [span.kind] * (span.stop - span.start)
        return labels, kinds


def spans_of(labels: Sequence[int] | np.ndarray) -> tuple[tuple[int, int], ...]:
    """Stretches of ones in a 0/1 vector as (start, stop) pairs, stop exclusive."""
    edges = np.diff(np.concatenate(([0], np.asarray(labels, dtype=np.int8), [0])))
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
