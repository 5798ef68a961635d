"""`kedro hand-over`: a trained system as one folder for others, and as a registered model of MLflow."""

from pathlib import Path
from typing import Any

import click
from kedro.framework.session import KedroSession


@click.command(name="hand-over")
@click.argument("model")
@click.option("--env", "-e", default=None, help="Conf environment in which it was trained.")
@click.option("--out", required=True, help="Folder to write; an earlier hand-over there is replaced.")
@click.option("--version", default=None, help="Of the trained system.  [default: the latest]")
@click.option(
    "--false-alarms-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="That normal footage may raise.  [default: the lowest rate that the held-out footage supports]",
)
@click.option(
    "--hold",
    type=click.IntRange(min=1),
    default=None,
    help="Frames for which scores have to stay above the threshold.  [default: 1]",
)
@click.option("--onnx", is_flag=True, help="Write the networks as ONNX, too.")
@click.option("--register", is_flag=True, help="Register it in the MLflow store of mlflow.yml, by the data set's name.")
@click.option("--champion", is_flag=True, help="Register it, and let the alias champion point to it.")
@click.pass_obj
def hand_over(
    metadata: Any, model: str, env: str | None, out: str, register: bool, champion: bool, **given: Any
) -> None:
    """Write MODEL, a trained system or a folder that holds one, to a folder that runs elsewhere."""
    with KedroSession.create(project_path=metadata.project_path, env=env) as session:
        context = session.load_context()  # type: ignore[attr-defined]
        parameters = context.config_loader["parameters"]
    # here, so that commands which do not need torch start without it
    from pydantic import TypeAdapter

    from vad_pipeline.detection import hand_over as handing_over
    from vad_pipeline.detection.reading import reading_of
    from vad_pipeline.detection.thresholds import spell
    from vad_pipeline.sources.extraction import FrameExtraction

    extraction = TypeAdapter(FrameExtraction).validate_python(parameters["frame_extraction"])
    folder = Path(model) if Path(model).is_dir() else Path(parameters["score_video"]["models"]) / model
    handed = handing_over.hand_over(folder, Path(out), reading_of(extraction), **given)
    threshold = handed.threshold
    click.echo(
        f"{handed.system}, trained on {handed.dataset}, is in {out}: "
        + ", ".join(sorted(path.name for path in Path(out).iterdir()))
    )
    click.echo(
        f"at most {threshold.per_hour:.3g} false alarms an hour of normal footage, by {spell(threshold.seconds)} of it "
        f"that were held out (the lowest that these support is {threshold.lowest_per_hour:.3g})"
    )
    if register or champion:
        _register(context, Path(out), champion)
    click.echo(f"kedro score new.mp4 --model={out}")


def _register(context: Any, folder: Path, champion: bool) -> None:
    from vad_pipeline.detection.served_model import CHAMPION
    from vad_pipeline.detection.served_model import register as register_model
    from vad_pipeline.hooks import one_at_a_time, open_store, tracking_config

    config = tracking_config(context)
    with one_at_a_time(config.tracking_uri):
        _, experiment = open_store(config)
    name, version = register_model(folder, config.tracking_uri, experiment, champion=champion)
    click.echo(f"registered in {config.tracking_uri}: {name}, version {version}{f', {CHAMPION}' * champion}")
