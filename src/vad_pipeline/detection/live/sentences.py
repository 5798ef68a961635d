"""What is found live in sentences, for the person before the terminal."""

from typing import TextIO

from vad_pipeline.detection.live.sink import Health, Report, Sink


class Sentences(Sink):
    """Writes a line for each alarm, event and report of health.

    Args:
        stream: open for writing, such as the terminal's.
    """

    name = "the terminal"

    def __init__(self, stream: TextIO):
        self.stream = stream

    def report(self, report: Report) -> None:
        """An alarm or an event."""
        event = report.event
        found = f"{event.reason}, p {event.p_value:.2g}"
        if report.kind == "alarm":
            self._write(f"{report.time(event.start):%H:%M:%S} ALARM {report.number}: {found}")
        else:
            self._write(
                f"{report.time(event.end):%H:%M:%S} event {report.number} is over, {event.end - event.start:.1f} s "
                f"from {report.time(event.start):%H:%M:%S}; its peak at {report.time(event.peak):%H:%M:%S}: {found}"
            )

    def health(self, health: Health) -> None:
        """How watching goes."""
        self._write(str(health))

    def _write(self, line: str) -> None:
        print(line, file=self.stream, flush=True)
