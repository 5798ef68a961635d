"""`kedro watch`: a live source before a trained detector."""

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import click
from kedro.framework.session import KedroSession


@click.command()
@click.argument("source", required=False)
@click.option("--model", default=None, help="A trained system, or a folder that holds one.  [default: scene_exemplars]")
@click.option("--version", default=None, help="Of the trained system.  [default: the latest]")
@click.option("--env", "-e", default=None, help="Conf environment in which it was trained.")
@click.option(
    "--false-alarms-per-hour",
    type=float,
    default=None,
    help="That normal footage may raise.  [default: the lowest rate that the held-out footage supports]",
)
@click.option("--hold", type=int, default=None, help="Frames for which scores have to stay above the threshold.")
@click.option("--out", default=None, help="Folder for what is found.")
@click.option("--webhook", default=None, help="Web address that alarms and events are posted to.")
@click.option("--mqtt", default=None, help="mqtt://host/topic that they are published to.")
@click.option("--json", "as_json", is_flag=True, help="Print lines of JSON in place of sentences.")
@click.pass_obj
def watch(metadata: Any, env: str | None, out: str | None, as_json: bool, **given: Any) -> None:
    """Watch SOURCE: rtsp://.., http://.., a device (/dev/video0) or a file, which is played as if it were live.

    Alarms and events are printed and written to a folder, with a picture and a short video each; see
    conf/base/parameters_watch.yml for the rest. SIGTERM and Ctrl-C end it cleanly.
    """
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    earlier = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with KedroSession.create(project_path=metadata.project_path, env=env) as session:
            parameters = session.load_context().config_loader["parameters"]  # type: ignore[attr-defined]
        chosen = {name: value for name, value in given.items() if value is not None}
        _watch(parameters, chosen | ({} if out is None else {"folder": out}), as_json, stop)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _watch(parameters: dict[str, Any], chosen: dict[str, Any], as_json: bool, stop: threading.Event) -> None:
    # here, so that commands which do not need torch start without it
    from pydantic import TypeAdapter

    from vad_pipeline.detection.detector import Detector
    from vad_pipeline.detection.live.address import address_of
    from vad_pipeline.detection.live.folder import Folder
    from vad_pipeline.detection.live.json_lines import JsonLines
    from vad_pipeline.detection.live.mqtt import Mqtt
    from vad_pipeline.detection.live.sentences import Sentences
    from vad_pipeline.detection.live.sink import Sink
    from vad_pipeline.detection.live.source import LiveSource
    from vad_pipeline.detection.live.watch import WatchSettings, waiting
    from vad_pipeline.detection.live.watch import watch as watch_source
    from vad_pipeline.detection.live.webhook import Webhook
    from vad_pipeline.detection.reading import reader_of, reading_of
    from vad_pipeline.detection.thresholds import spell
    from vad_pipeline.fitting.devices import torch_threads
    from vad_pipeline.scoring.score import Scoring
    from vad_pipeline.sources.extraction import FrameExtraction

    settings = TypeAdapter(WatchSettings).validate_python(parameters["watch"] | chosen)
    extraction = TypeAdapter(FrameExtraction).validate_python(parameters["frame_extraction"])
    if settings.source is None:
        raise ValueError("watch: no source; say which, `kedro watch rtsp://user:password@host/path`, or watch.source")
    address = address_of(settings.source)
    named = Path(settings.model)
    folder = named if named.is_dir() else Path(settings.models) / settings.model
    options = Scoring(accelerator=settings.accelerator).options()
    detector = Detector.load(folder, None, settings.version, settings.false_alarms_per_hour, settings.hold, options)
    prepare = reader_of(detector.reading or reading_of(extraction))
    source = LiveSource(address, detector.fps, waiting(detector), prepare, settings.patience)
    camera = settings.camera or detector.system.name
    target = Path(settings.folder)
    sinks: list[Sink] = [JsonLines(sys.stdout) if as_json else Sentences(sys.stdout)]
    sinks += [] if settings.webhook is None else [Webhook(settings.webhook)]
    sinks += [] if settings.mqtt is None else [Mqtt(settings.mqtt, camera)]
    threshold = detector.threshold
    sinks.append(Folder(target, threshold, settings.before, settings.longest))
    click.echo(
        f"{detector.system.name} watches {address} at {threshold.fps:.3g} frames a second, scores come "
        f"{detector.delay / threshold.fps:.1f} s late; at most {threshold.per_hour:.3g} false alarms an hour of normal "
        f"footage, by {spell(threshold.seconds)} of it that were held out\nevents go to {target}; Ctrl-C ends it",
        err=True,
    )
    with torch_threads(settings.threads):
        last = watch_source(detector, source, sinks, camera, stop, settings.health)
    click.echo(
        f"{'stopped' if stop.is_set() else 'the end'}: {last.scored} frames scored, {last.dropped} dropped, "
        f"{last.events} events",
        err=True,
    )
