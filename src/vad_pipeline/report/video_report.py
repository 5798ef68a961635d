"""What was found in a video: a page beside the annotated video, with a timeline, the events and a tool for regions."""

import base64
import math
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import pandas as pd

from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.events import Event
from vad_pipeline.detection.footage import first_picture, sampling
from vad_pipeline.detection.reasons import in_words
from vad_pipeline.detection.score_video import ANNOTATED, Scored
from vad_pipeline.detection.thresholds import Threshold, spell

POINTS = 4000  # of the timeline at most
SHOWN, THUMBNAIL = 1280, 480  # pixels of the longer side of the picture to draw on, of an event's picture
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]
FILES = {
    ANNOTATED: "the video with heat, boxes, score and threshold",
    "scores.csv": "a row for each frame",
    "scores.parquet": "the same",
    "events.csv": "a row for each event",
}


def write_video_report(found: Scored, detector: Detector, region: Path | None = None) -> None:
    """Write ``report.html`` into the folder of what was found, to a temporary name that is renamed last.

    Args:
        found: in a video; tables, pictures and annotated video are in its folder.
        detector: that found it.
        region: image of the region of interest that was looked at, if any.

    Raises:
        OSError: it cannot be written.
        SourceError: the video cannot be decoded any more.
    """
    page = render_video_report(found, detector, region)
    partial = found.folder / ".report.html.partial"
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(found.folder / "report.html")
    finally:
        partial.unlink(missing_ok=True)


def render_video_report(found: Scored, detector: Detector, region: Path | None = None) -> str:
    """The page; see ``write_video_report``. Nothing is fetched but the annotated video beside it."""
    threshold = detector.threshold
    first = first_picture(found.video)
    environment = jinja2.Environment(loader=jinja2.PackageLoader("vad_pipeline.report", "."), autoescape=True)
    return environment.get_template("video_report.html").render(
        title=found.video.name,
        found=in_sentences(found, threshold, detector.system.name),
        notes=[*found.notes, *([found.missing] if found.missing else [])],
        annotated=ANNOTATED if (found.folder / ANNOTATED).exists() else "",
        events=[_shown(number, event, found.folder) for number, event in enumerate(found.events, start=1)],
        facts=_facts(found, detector, region),
        terms={name: term.meaning for name, term in detector.terms.items()},
        files={name: said for name, said in FILES.items() if (found.folder / name).exists()},
        region=region,
        name=f"{found.video.stem}_region.png",
        height=first.shape[0],
        width=first.shape[1],
        first=_jpeg(first, SHOWN),
        data={
            **timeline(found.scores),
            "level": threshold.level,
            "spans": [[event.start, event.end, event.peak] for event in found.events],
        },
    )


def in_sentences(found: Scored, threshold: Threshold, system: str) -> list[str]:
    """What was found, at which promised rate, and how sure that is.

    >>> from vad_pipeline.detection.thresholds import choose_threshold
    >>> table = pd.DataFrame({"second": [0.0, 60.0]})
    >>> threshold = choose_threshold([np.arange(1200.0)], fps=10, per_hour=360)
    >>> in_sentences(Scored(Path("a.mp4"), Path("a"), table, []), threshold, "lgn_net")[0]
    'Nothing stands out in 60 seconds of video, by lgn_net.'
    """
    seconds = float(found.scores["second"].iloc[-1] - found.scores["second"].iloc[0])
    count = len(found.events)
    events = f"{count} event{'s' * (count > 1)}" if count else "Nothing stands out"
    expected = threshold.per_hour * seconds / 3600
    said = [f"{events} in {spell(seconds)} of video, by {system}."]
    said.append(
        f"Alarms are set so that normal footage raises at most {threshold.per_hour:.3g} false ones an hour, in the "
        f"mean: up to {expected:.2g} in a video of this length. That is judged by {spell(threshold.seconds)} of normal "
        "footage that were held out in training."
    )
    if count and expected >= count:
        said.append(
            "Normal footage alone may raise so many: look at each before you believe it, and hold out more footage for "
            "a stricter alarm."
        )
    elif threshold.blocks < 60:
        said.append(
            "Little footage was held out, so that rate is a rough guide; more of it also supports a stricter alarm."
        )
    return said


def timeline(scores: pd.DataFrame) -> dict[str, list[float]]:
    """Seconds, anomaly scores and p-values to draw: the frames, or of very many the highest of each stretch.

    Args:
        scores: columns second, anomaly, p_value.
    """
    step = math.ceil(len(scores) / POINTS)
    values = scores["anomaly"].to_numpy()
    rows = [start + int(values[start : start + step].argmax()) for start in range(0, len(values), step)]
    chosen = scores.iloc[rows]
    return {
        "seconds": chosen["second"].round(3).tolist(),
        "scores": chosen["anomaly"].round(5).tolist(),
        "p_values": [float(f"{value:.3g}") for value in chosen["p_value"]],
    }


def clock(second: float) -> str:
    """A time in a video.

    >>> clock(75.25), clock(3675.0)
    ('1:15.2', '1:01:15.0')
    """
    minutes, rest = divmod(second, 60)
    hours, minutes = divmod(int(minutes), 60)
    rest = math.floor(rest * 10) / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _shown(number: int, event: Event, folder: Path) -> dict[str, Any]:
    picture = cv2.imread(str(folder / "events" / f"{number}.jpg"))
    return {
        "number": number,
        "start": event.start,
        "peak": event.peak,
        "times": f"{clock(event.start)} to {clock(event.end)}",
        "peak_time": clock(event.peak),
        "reason": event.reason,
        "words": in_words(event.reason),
        "p_value": f"{event.p_value:.2g}",
        "anomaly": f"{event.anomaly:.3g}",
        "picture": None if picture is None else _jpeg(picture[..., ::-1], THUMBNAIL),
    }


def _facts(found: Scored, detector: Detector, region: Path | None) -> dict[str, str]:
    threshold, size = detector.threshold, detector.frames
    held = f"for {threshold.hold} frames in a row " if threshold.hold > 1 else ""
    known = len(detector.known)
    return {
        "video": f"{found.video}, {found.size[1]}x{found.size[0]}",
        "scored": f"{len(found.scores)} frames, {sampling(found.fps, detector.fps)}, brought to "
        f"{size.width}x{size.height} {size.colour}" + (f", seen through {region}" if region else ""),
        "score": "the model's terms, each on the scale of the normal footage that was held out in training (its 5% "
        "quantile is 0, its 95% quantile 1), with the model's weights; nothing is scaled by this video, so a score "
        "means the same in all videos",
        "p-value": f"share of the {known} held-out frames that are at least as anomalous, the frame itself counted in: "
        f"never below {1 / (known + 1):.2g}",
        "alarm": f"where the score stays {held}above {threshold.level:.3g}, a level that {threshold.blocks} "
        f"block{'s' * (threshold.blocks > 1)} of {threshold.block_frames / threshold.fps:.3g} s of held-out footage "
        f"chose; the lowest rate that these support is {threshold.lowest_per_hour:.3g} an hour",
        "event": f"begins with an alarm and ends when the score was not above {threshold.release:.3g} for "
        f"{threshold.block_frames / threshold.fps:.3g} s",
        "reason": "the term that lies highest on its held-out scale",
    }


def _jpeg(picture: np.ndarray, largest: int) -> str:
    """A picture, RGB, as base64 JPEG of at most so many pixels on its longer side."""
    scale = min(1.0, largest / max(picture.shape[:2]))
    size = (max(1, round(scale * picture.shape[1])), max(1, round(scale * picture.shape[0])))
    image = cv2.resize(np.ascontiguousarray(picture[..., ::-1]), size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", image, QUALITY)
    return base64.b64encode(encoded.tobytes()).decode()
