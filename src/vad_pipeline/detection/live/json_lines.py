"""What is found live as lines of JSON, for other programs to read."""

import json
from typing import TextIO

from vad_pipeline.detection.live.sink import Health, Report, Sink


class JsonLines(Sink):
    """Writes a line for each alarm, event and report of health.

    Args:
        stream: open for writing, such as the terminal's.
    """

    name = "the JSON lines"

    def __init__(self, stream: TextIO):
        self.stream = stream

    def report(self, report: Report) -> None:
        """An alarm or an event."""
        self._write(report.record())

    def health(self, health: Health) -> None:
        """How watching goes."""
        self._write(health.record())

    def _write(self, record: dict[str, object]) -> None:
        self.stream.write(json.dumps(record) + "\n")
        self.stream.flush()
