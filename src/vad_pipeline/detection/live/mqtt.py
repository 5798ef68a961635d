"""Alarms, events and health published to an MQTT broker, as home automation and VMS read them."""

import json
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from vad_pipeline.detection.live.address import redacted
from vad_pipeline.detection.live.sink import Health, Report, Sink, jpeg

PORT, TLS_PORT = 1883, 8883
TIMEOUT = 10.0  # seconds for a broker to take a message


class Mqtt(Sink):
    """Publishes below a topic: ``/alarm``, ``/event`` and ``/health`` as JSON, ``/picture`` as JPEG.

    The health is retained, so that who comes later knows; where the connection breaks, the broker says ``{"kind":
    "health", "state": "offline"}`` in our place.

    Args:
        url: ``mqtt://user:password@host:1883/topic``, or mqtts for TLS; user and password are never shown.
        camera: its name, and the topic's where the URL has none.

    Raises:
        ValueError: the URL is of another kind, or the package paho-mqtt is missing.
    """

    def __init__(self, url: str, camera: str):
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"mqtt: {redacted(url)} is no broker; write mqtt://user:password@host/topic")
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise ValueError("mqtt: the package paho-mqtt is missing; pip install 'vad_pipeline[mqtt]'") from error
        self.name, self.topic = f"the broker {redacted(url)}", parts.path.strip("/") or f"vad_pipeline/{camera}"
        self._client = Client(CallbackAPIVersion.VERSION2)
        if parts.username is not None:
            self._client.username_pw_set(
                unquote(parts.username), None if parts.password is None else unquote(parts.password)
            )
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(
            f"{self.topic}/health", json.dumps({"kind": "health", "state": "offline"}), 1, retain=True
        )
        self._client.connect_async(parts.hostname, parts.port or (TLS_PORT if parts.scheme == "mqtts" else PORT))
        self._connected = threading.Event()
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *_: self._connected.clear()
        self._client.loop_start()  # connects, and connects again

    def report(self, report: Report) -> None:
        """Publish it, the picture first.

        Raises:
            OSError: the broker did not take it in time.
        """
        if report.picture is not None:
            self._publish("picture", jpeg(report.picture, report.event.box))
        self._publish(report.kind, json.dumps(report.record()))

    def health(self, health: Health) -> None:
        """Publish it, retained."""
        self._publish("health", json.dumps(health.record()), retain=True)

    def close(self) -> None:
        """Say good-bye to the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: object, data: object, flags: object, reason: Any, properties: object) -> None:
        if not reason.is_failure:
            self._connected.set()

    def _publish(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        if not self._connected.wait(TIMEOUT):
            raise OSError("not connected; is the broker there, and are user and password right?")
        sent = self._client.publish(f"{self.topic}/{topic}", payload, qos=1, retain=retain)
        try:
            sent.wait_for_publish(TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise OSError(str(error)) from error
        if not sent.is_published():
            raise OSError(f"no answer within {TIMEOUT:.0f} seconds")
