"""`kedro camera init`: an environment for one's own camera, of settings that follow from its videos."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.project import settings as kedro_settings
from kedro.framework.session import KedroSession
from rich.console import Console
from rich.text import Text

from vad_pipeline.terminal.closing_box import print_box

if TYPE_CHECKING:
    from vad_pipeline.detection.camera_settings import CameraSettings
    from vad_pipeline.detection.camera_survey import CameraSurvey

WRITTEN = "# Written by `kedro camera init`"  # how a globals.yml begins that may be replaced
RESERVED = "base", "local"
ODD = re.compile(r"[*?\[\]{}/\\]")  # Kedro takes some for patterns; a name is one folder
PLAIN = re.compile(r"[\w./ -]+")  # paths that need no quotes within an interpolation


@click.group()
def camera() -> None:
    """Environments for your own cameras."""


@click.command()
@click.argument("name")
@click.option("--train", required=True, help="Normal footage to learn from: a video, or a folder of them.")
@click.option("--test", default=None, help="Footage to score with every run.  [default: none, it is trained only]")
@click.option("--labels", default=None, help="CSV of known events in the test footage, to measure with.")
@click.option("--region", default=None, help="Image of the video's size, black where nothing shall be looked at.")
@click.option("--force", is_flag=True, help="Replace an environment that was written by this command.")
@click.pass_obj
def init(
    metadata: Any, name: str, train: str, test: str | None, labels: str | None, region: str | None, force: bool
) -> None:
    """Look at videos and write conf/NAME: where they lie, and settings that suit them."""
    conf = Path(metadata.project_path) / kedro_settings.CONF_SOURCE
    check_name(name, conf, force)
    # here, so that commands start without what reads videos
    from vad_pipeline.detection.camera_settings import choose_settings, remarks_on
    from vad_pipeline.detection.camera_survey import survey_camera
    from vad_pipeline.sources.event_labels import read_events
    from vad_pipeline.sources.videos import list_videos

    given = {"train": train, "test": test, "labels": labels, "region": region}
    paths = {option: None if path is None else Path(path).expanduser().absolute() for option, path in given.items()}
    for option, path in paths.items():
        if path is not None and not path.exists():
            raise ValueError(f"--{option}: {path} is missing; correct the path")
    if paths["labels"] and not paths["test"]:
        raise ValueError("--labels: they are of events in the test footage; say --test, too")
    assert paths["train"] is not None
    videos = list_videos(paths["train"]), list_videos(paths["test"]) if paths["test"] else []
    with Console(stderr=True).status("looking at the videos"):
        survey = survey_camera(*videos)
    chosen = choose_settings(survey)
    if paths["region"]:
        check_region(paths["region"], survey)
    if paths["labels"]:
        read_events(paths["labels"], [f"test/{video.stem}" for video in videos[1]], chosen.stride)
    stated = {option: stated_path(path, metadata.project_path) for option, path in paths.items()}
    write_environment(conf / name, globals_text(name), parameters_text(name, stated, survey, chosen))
    with KedroSession.create(project_path=metadata.project_path, env=name) as session:
        parameters = session.load_context().config_loader["parameters"]  # type: ignore[attr-defined]
    here = (conf / name).relative_to(Path.cwd()) if conf.is_relative_to(Path.cwd()) else conf / name
    print_box(str(here), [*seen(survey), *decided(chosen)])
    console = Console(highlight=False)
    for remark in remarks_on(survey, chosen, parameters["scene_exemplars"]["training"]["held_out"]):
        console.print(Text("! ", "yellow") + Text(remark))
    env = shlex.quote(name)
    console.print(
        f"\nNext:\n  kedro run --env={env} --pipeline=scene_exemplars   # trains, in minutes\n"
        f"  kedro score new.mp4 --env={env}{'':19}# what is unusual in a new video",
        soft_wrap=True,
        markup=False,
    )


def check_name(name: str, conf: Path, force: bool) -> None:
    """Raises ValueError where an environment cannot, or must not, be written under a name."""
    if name in RESERVED:
        raise ValueError(f"{name}: conf/{name} is read with every environment; choose another name")
    if found := ODD.search(name):
        raise ValueError(f"{name}: a name holds no {found[0]}, which stands for something else in paths; leave it out")
    if not name or not name.isprintable() or name != name.strip() or name.startswith("."):
        raise ValueError(f"{name!r}: a name begins with a letter or digit and ends with one; choose another")
    folder = conf / name
    if not folder.exists():
        return
    if not force:
        raise ValueError(f"{folder} is there already; choose another name, or --force to write it anew")
    globals_file = folder / "globals.yml"
    if not globals_file.is_file() or not globals_file.read_text(encoding="utf-8").startswith(WRITTEN):
        raise ValueError(
            f"{folder} was not written by `kedro camera init`, and --force replaces nothing else; choose another name"
        )


def check_region(region: Path, survey: "CameraSurvey") -> None:
    """Raises SourceError where the image has not the size of every video, or hides all of it."""
    from vad_pipeline.sources.images import read_mask
    from vad_pipeline.sources.raw_clip import SourceError

    mask = read_mask(region)
    if not mask.any():
        raise SourceError(f"--region: {region} is black all over; draw white where to look")
    for video in (*survey.train, *survey.test):
        if mask.shape != (video.height, video.width):
            raise SourceError(
                f"--region: {region} is {mask.shape[1]}x{mask.shape[0]}, {video.path} is "
                f"{video.width}x{video.height}; draw the region of interest on a picture of the video"
            )


def write_environment(folder: Path, globals_yml: str, parameters_yml: str) -> None:
    """Put an environment in place as a whole; what stood there is replaced."""
    partial, old = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    try:
        (partial / "globals.yml").write_text(globals_yml, encoding="utf-8")
        (partial / "parameters.yml").write_text(parameters_yml, encoding="utf-8")
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def stated_path(path: Path | None, project: Path) -> str:
    """A path as YAML: within the project relative to it, so that both move together; otherwise absolute."""
    if path is None:
        return "null"
    if path.is_relative_to(project) and PLAIN.fullmatch(inside := path.relative_to(project).as_posix()):
        return f'"${{absolute:{inside}}}"'
    # OmegaConf reads ${ as an interpolation, but for a backslash before it
    return json.dumps(str(path).replace("${", "\\${"), ensure_ascii=False)


def globals_text(name: str) -> str:
    """The environment's globals.yml."""
    return f"""{WRITTEN}; yours to edit.
dataset: {json.dumps(name, ensure_ascii=False)}    # its data lie below this name, apart from all others
starts_from: laptop    # its widths and epochs hold here, but for what this folder states
"""


def parameters_text(name: str, paths: dict[str, str], survey: "CameraSurvey", chosen: "CameraSettings") -> str:
    """The environment's parameters.yml: what was chosen and why.

    Args:
        name: of the environment.
        paths: train, test, labels and region, as YAML.
        survey, chosen: of the camera.
    """
    facts = "\n".join(f"#   {what:8}  {said}" for what, said in seen(survey))
    height = (
        f"{chosen.height}    # large pictures are read smaller, the width in proportion; null: as they are"
        if chosen.height
        else "null    # pictures are read as they are; 360, say, reads and stores less, the width in proportion"
    )
    return f"""# What `kedro camera init {name}` saw and chose; yours to edit.
{facts}
frame_extraction:
  source: videos
  height: {height}
  videos:
    train: {paths["train"]}    # normal footage: a video, or a folder of them
    test: {paths["test"]}    # footage to score with every run; null trains only
    labels: {paths["labels"]}    # CSV of known events in the test footage, to measure with
    frame_stride: {chosen.stride}    # {_rate(chosen)}; 8 to 10 are what the benchmarks have
    region_of_interest: {paths["region"]}    # image of the video's size, black where nothing shall be looked at
    truncated: error    # keep: read what decodes of a damaged video

# 240 rows in the shape of the picture, in multiples of 8; 360 rows see small things better, at twice the time.
scene_exemplars:
  frames: {_size(chosen.exemplars, chosen.colour)}
  model: {{gap: {chosen.gap}}}    # frames that last a fifth of a second

# LGN-Net's, which the other predictors share: about as many pixels as 96x144, in multiples of 8.
lgn_net:
  frames: {_size(chosen.predictors, "gray")}
msti_net:
  model: {{limit: {chosen.predictors_limit:g}}}    # pixels of flow that stand for 1: some more than the fastest have

# The 3D autoencoders', which optical flow shares: about as many pixels as 128x192, in multiples of 16.
conv3d_ae:
  frames: {_size(chosen.autoencoders, "gray")}
pseudo_anomaly_detector:
  temporal:
    model: {{limit: {chosen.autoencoders_limit:g}}}    # the same at this size

# Patches of 30 pixels.
alps:
  frames: {_size(chosen.alps, "gray")}
"""


def seen(survey: "CameraSurvey") -> list[tuple[str, str]]:
    """What the videos are like, in words: the training footage, what moves in it, the test footage."""
    from vad_pipeline.detection.camera_survey import ROWS

    motion = survey.motion
    said = [("training", _videos(survey.train))]
    if motion.pairs and motion.still < motion.pairs:
        said.append(
            (
                "moving",
                f"{motion.share:.1%} of the picture, things about {motion.height:.0f} high and {motion.width:.0f} wide "
                f"at {motion.speed:.0f} a second, few above {motion.fastest:.0f} (pixels where there are {ROWS} rows)",
            )
        )
    else:
        said.append(("moving", "nothing that was seen"))
    said.append(("test", _videos(survey.test) if survey.test else "none, so it is trained only"))
    return said


def decided(chosen: "CameraSettings") -> list[tuple[str, str]]:
    """What was chosen, in words."""
    rows = f"brought to {chosen.height} rows" if chosen.height else "in full size"
    exemplars, predictors, autoencoders = (
        f"{width}x{height}" for height, width in (chosen.exemplars, chosen.predictors, chosen.autoencoders)
    )
    return [
        ("read", f"{_rate(chosen)}, {rows}"),
        (
            "frames",
            f"{exemplars} {chosen.colour} for scene exemplars, {predictors} and {autoencoders} gray for networks",
        ),
    ]


def _rate(chosen: "CameraSettings") -> str:
    rate = f"{chosen.fps:.3g} a second" if chosen.fps else "at an unknown rate"
    return f"every frame, {rate}" if chosen.stride == 1 else f"one frame of {chosen.stride}, {rate}"


def _videos(videos: Any) -> str:
    from vad_pipeline.detection.thresholds import spell

    count = f"{len(videos)} video{'s' if len(videos) > 1 else ''}"
    seconds = [video.seconds for video in videos]
    length = "of unknown length" if None in seconds else spell(sum(seconds))
    sizes = " and ".join(dict.fromkeys(f"{video.width}x{video.height}" for video in videos))
    rates = " and ".join(dict.fromkeys(f"{video.rate:.4g}" if video.rate else "?" for video in videos))
    colours = " and ".join(dict.fromkeys("gray" if video.gray else "colour" for video in videos))
    return f"{count}, {length}; {sizes}, {rates} frames a second, {colours}"


def _size(size: tuple[int, int], colour: str) -> str:
    return f"{{height: {size[0]}, width: {size[1]}, colour: {colour}}}"
