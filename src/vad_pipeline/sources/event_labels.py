"""Abnormal events of one's own videos, from a CSV; nothing in it is guessed."""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import ceil, inf, nan
from pathlib import Path

from vad_pipeline.sources.raw_clip import SecondsSpan, SourceError, Span

COLUMNS = "clip, start_frame, end_frame or clip, start_second, end_second, and optionally kind, separated by commas"


def read_events(path: Path, clips: Collection[str], stride: int) -> dict[str, tuple[Span | SecondsSpan, ...]]:
    """The events of each clip that has any.

    Args:
        path: CSV with columns clip, start_frame and end_frame (the video's own, counted from 0, end inclusive) or
            start_second and end_second (from the first picture, end exclusive), and optionally kind.
        clips: ids of the test clips.
        stride: every so many frames one is kept; spans count those that are.

    Raises:
        SourceError: the file is missing or no such table, or a line names an unknown clip or no possible event.
    """
    if not path.is_file():
        raise SourceError(f"{path} is missing; set videos.labels to null for unlabelled data")
    (line, header), *rows = list(_rows(path)) or [(1, [])]
    unit = _unit(path, line, header)
    spans: dict[str, list[Span | SecondsSpan]] = {}
    for line, fields in rows:
        place = f"{path}, line {line}"
        if len(fields) > len(header):
            raise SourceError(
                f"{place}: {len(fields)} fields, the header has {len(header)}; write numbers with a point (1.5) and "
                'put a text that holds a comma in "quotes"'
            )
        row = dict(zip(header, fields, strict=False))
        name = row.get("clip", "").removeprefix("test/")
        clip = f"test/{name}"
        if clip not in clips:
            known = ", ".join(c.removeprefix("test/") for c in clips) or "none"
            raise SourceError(f"{place}: no test video {name!r}; there are: {known}")
        event = _Event(place, unit, row.get(f"start_{unit}", ""), row.get(f"end_{unit}", ""), row.get("kind", ""))
        found = spans.setdefault(clip, [])
        span = event.in_frames(stride) if unit == "frame" else event.in_seconds()
        if span is not None:
            found.append(span)
    return {clip: tuple(found) for clip, found in spans.items()}


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line at which it starts, fields without blanks around them) of every row that is not empty.

    Empty fields at the end are left out: spreadsheets write a comma for every column that ever was.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader, line = csv.reader(file, skipinitialspace=True, strict=True), 1
            for row in reader:
                fields = [field.strip() for field in row]
                while fields and not fields[-1]:
                    fields.pop()
                if fields:
                    yield line, fields
                line = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as a CSV ({error}); save it as comma-separated UTF-8") from error


def _unit(path: Path, line: int, header: list[str]) -> str:
    """``frame`` or ``second``: what the columns count."""
    if not header:
        raise SourceError(f"{path}: cannot be read as a CSV (it is empty); save it as comma-separated UTF-8")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise SourceError(f"{path}, line {line}: two columns are called {twice[0]!r}; remove one")
    counted = [unit for unit in ("frame", "second") if {f"start_{unit}", f"end_{unit}"} & set(header)]
    if len(counted) > 1:
        raise SourceError(f"{path}, line {line}: counts frames and seconds; keep the columns of one of them")
    if "clip" not in header or not counted or not {f"start_{counted[0]}", f"end_{counted[0]}"} <= set(header):
        raise SourceError(f"{path}: has columns {', '.join(header)}; needs {COLUMNS}")
    return counted[0]


@dataclass(frozen=True)
class _Event:
    """A line of the file: where it stands, what its columns count, and their texts."""

    place: str
    unit: str
    start: str
    end: str
    kind: str

    @property
    def said(self) -> str:
        return f"the event from {self.unit} {self.start} to {self.end} ({self.place})"

    def in_frames(self, stride: int) -> Span | None:
        """The kept frames of the event; source frame n is stored as frame n / stride where that is whole."""
        start, end = _number(self.start), _number(self.end)
        if not (0 <= start <= end < inf and start.is_integer() and end.is_integer()):
            raise SourceError(
                f"{self.place}: an event from frame {self.start} to {self.end}; both are whole numbers counted from 0, "
                "and the end is not before the start"
            )
        first, stop = ceil(int(start) / stride), int(end) // stride + 1
        return Span(first, stop, self.kind, self.said) if first < stop else None

    def in_seconds(self) -> SecondsSpan:
        start, end = _number(self.start), _number(self.end)
        if not 0 <= start < end < inf:
            raise SourceError(
                f"{self.place}: an event from second {self.start} to {self.end}; the end must come after the start"
            )
        return SecondsSpan(start, end, self.kind, self.said)


def _number(text: str) -> float:
    try:
        return nan if "_" in text else float(text)  # Python reads 1_000
    except ValueError:
        return nan
