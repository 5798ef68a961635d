"""Alarms and events sent to a web address, with their picture."""

import base64

import requests

from vad_pipeline.detection.live.address import redacted
from vad_pipeline.detection.live.sink import Report, Sink, jpeg

TIMEOUT = 10.0  # seconds for an answer
TRIES = 3


class Webhook(Sink):
    """Posts a JSON object for each alarm and event: ``Report.record``, and ``picture``, a JPEG in base64.

    Args:
        url: http or https; user and password in it are sent as basic authentication, and never shown.
    """

    def __init__(self, url: str):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"webhook: {redacted(url)} is no web address; write http://.. or https://..")
        self.url, self.name = url, f"the webhook {redacted(url)}"

    def report(self, report: Report) -> None:
        """Post it, up to three times.

        Raises:
            OSError: nobody took it; the text does not hold the address.
        """
        picture = None if report.picture is None else base64.b64encode(jpeg(report.picture, report.event.box)).decode()
        why = ""
        for _ in range(TRIES):
            try:
                answer = requests.post(self.url, json=report.record() | {"picture": picture}, timeout=TIMEOUT)
            except requests.RequestException as error:
                why = type(error).__name__  # its text holds the address
                continue
            if answer.ok:
                return
            why = f"{answer.status_code} {answer.reason}"
            if answer.status_code < 500:
                break
        raise OSError(why)
