"""`kedro score`: the pipeline ``score_video`` without Kedro's run around it."""

from pathlib import Path
from typing import Any

import click
from kedro.framework.session import KedroSession


@click.command()
@click.argument("video")
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
@click.option("--no-video", is_flag=True, help="Write no annotated video.")
@click.pass_obj
def score(metadata: Any, video: str, env: str | None, out: str | None, no_video: bool, **given: Any) -> None:
    """Score VIDEO, a file or a folder, with a trained system: scores, events, an annotated mp4 and a report."""
    with KedroSession.create(project_path=metadata.project_path, env=env) as session:
        parameters = session.load_context().config_loader["parameters"]  # type: ignore[attr-defined]
    # here, so that commands which do not need torch start without it
    from pydantic import TypeAdapter

    from vad_pipeline.detection.thresholds import spell
    from vad_pipeline.pipelines.score_video.nodes import ScoreVideo, detect, name_failed
    from vad_pipeline.sources.extraction import FrameExtraction

    chosen = {name: value for name, value in given.items() if value is not None}
    chosen |= {"video": video, "annotated": not no_video} | ({} if out is None else {"folder": out})
    config = TypeAdapter(ScoreVideo).validate_python(parameters["score_video"] | chosen)
    extraction = TypeAdapter(FrameExtraction).validate_python(parameters["frame_extraction"])
    detected = detect(config, extraction)
    detector, threshold = detected.detector, detected.detector.threshold
    click.echo(
        f"{detector.system.name}: at most {threshold.per_hour:.3g} false alarms an hour of normal footage, by "
        f"{spell(threshold.seconds)} of it that were held out (the lowest that these support is "
        f"{threshold.lowest_per_hour:.3g})"
    )
    for each in detected.found:
        click.echo(f"\n{each.video.name}: {len(each.scores)} frames scored, {len(each.events)} events")
        for note in each.notes:
            click.secho(f"  {note}", fg="yellow")
        for number, event in enumerate(each.events, start=1):
            click.echo(
                f"  {number:3d}  {event.start:8.1f} to {event.end:.1f} s, peak at {event.peak:.1f} s: {event.reason}, "
                f"p {event.p_value:.2g}"
            )
        click.echo(f"  {_shown(each.folder)}: " + ", ".join(sorted(path.name for path in each.folder.iterdir())))
    name_failed(detected.failed)


def _shown(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
