"""The project's pipelines."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial

from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from vad_pipeline.models.systems import SYSTEMS

# names only: looking them up where they are declared would import torch for every command
EXPERIMENTS = (
    "lgn_net_ablation",
    "msti_net_ablation",
    "valt_gan_ablation",
    "pseudo_anomalies_ablation",
    "lntra_table",
    "mask_table",
)
DEFAULT = ("scene_exemplars", "lgn_net")  # what is fitted in minutes, and a network beside it
PSEUDO_ANOMALIES = ("pseudo_anomalies", "pseudo_anomalies_telea", "pseudo_anomalies_random")
SAME_INPAINTER = {"pseudo_anomalies_random": "pseudo_anomalies"}  # so that Table 4 compares masks and nothing else


# Datasets are called <namespace>.<name>, and what joins several systems reads those of each; Kedro takes the dots of
# other namespaces than a node's own for a slip.
DOTS = "One or more dataset names contain '.' characters"


def register_pipelines() -> dict[str, Pipeline]:
    """Pipelines by name; ``__default__`` is what `kedro run` does on a fresh clone.

    Where the command line names pipelines, only these are made, so that `--pipeline=frame_extraction` starts without
    importing torch.
    """
    requested = getattr(pipelines, "_requested_pipelines", None)
    return {name: make_pipeline(name) for name in pipeline_makers() if not requested or name in requested}


def make_pipeline(name: str) -> Pipeline:
    """One pipeline, whichever were requested."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=DOTS)
        return pipeline_makers()[name]()


def pipeline_makers() -> dict[str, Callable[[], Pipeline]]:
    """What makes each pipeline."""
    return {
        "frame_extraction": _extraction,
        "optical_flow": _optical_flow,
        "flownet_training": _flownet_training,
        **{name: partial(_pseudo_anomalies, name) for name in PSEUDO_ANOMALIES},
        **{system: partial(_system, system) for system in SYSTEMS},
        "transfer": _transfer,
        "clip_comparison": _clip_comparison,
        "model_comparison": _model_comparison,
        "run_time": _run_time,
        "lgn_net_sweeps": _lgn_net_sweeps,
        **{experiment: partial(_experiment, experiment) for experiment in EXPERIMENTS},
        "image_anomalies": _image_anomalies,
        "score_video": _score_video,
        "__default__": _default,
    }


def _extraction() -> Pipeline:
    from vad_pipeline.pipelines import frame_extraction

    return frame_extraction.create_pipeline()


def _optical_flow() -> Pipeline:
    """Everything from raw data to flow and the report on it."""
    from vad_pipeline.pipelines import optical_flow

    return _extraction() + optical_flow.create_pipeline()


def _flownet_training() -> Pipeline:
    """A trained FlowNet; raw data serve as textures where they are asked for."""
    from vad_pipeline.pipelines import flownet_training

    return _extraction() + flownet_training.create_pipeline()


def _pseudo_anomalies(namespace: str) -> Pipeline:
    """Everything from raw data to pseudo-anomalies and their gallery."""
    from vad_pipeline.pipelines import pseudo_anomalies

    whole = _extraction() + _tvl1()
    if inpainter := SAME_INPAINTER.get(namespace, ""):
        whole += _pseudo_anomalies(inpainter).to_outputs(f"{inpainter}.checkpoint", f"{inpainter}.history")
    return whole + pseudo_anomalies.create_pipeline(namespace, inpainter)


def _tvl1() -> Pipeline:
    """TV-L1 flow without the report on it."""
    from vad_pipeline.pipelines import optical_flow

    return optical_flow.create_pipeline().to_outputs("flow_tvl1")


def _system(name: str) -> Pipeline:
    """Everything from raw data to a system's report, the pseudo-anomalies that its parts train on included."""
    from vad_pipeline.pipelines import detector

    wanted = sorted({part.pseudo for part in SYSTEMS[name].parts.values() if part.pseudo})
    return _extraction() + detector.create_pipeline(name) + _pseudo_data(wanted)


def _default() -> Pipeline:
    """Everything from raw data to a page that shows both systems, and a report of each."""
    from vad_pipeline.pipelines import model_comparison

    return sum((_system(name) for name in DEFAULT), model_comparison.create_pipeline(DEFAULT))


def _pseudo_data(wanted: Sequence[str]) -> Pipeline:
    """What makes data sets ``<namespace>.spatial`` and ``.temporal``, without gallery and report."""
    namespaces = dict.fromkeys(dataset.partition(".")[0] for dataset in wanted)
    made = (
        _pseudo_anomalies(namespace).to_outputs(*(name for name in wanted if name.startswith(f"{namespace}.")))
        for namespace in namespaces
    )
    return sum(made, Pipeline([]))


def _transfer() -> Pipeline:
    """Everything from raw data to the table of models that were trained on other data."""
    from vad_pipeline.pipelines import transfer

    return _extraction() + transfer.create_pipeline()


def _clip_comparison() -> Pipeline:
    """A figure of models that were trained before."""
    from vad_pipeline.pipelines import clip_comparison

    return clip_comparison.create_pipeline()


def _image_anomalies() -> Pipeline:
    """Everything from raw images to the tables of their classes."""
    from vad_pipeline.pipelines import image_anomalies

    return image_anomalies.create_pipeline()


def _model_comparison() -> Pipeline:
    """Figures of all systems that were evaluated before."""
    from vad_pipeline.pipelines import model_comparison

    return model_comparison.create_pipeline()


def _run_time() -> Pipeline:
    """Times of a frame of all systems, trained before or not."""
    from vad_pipeline.pipelines import run_time

    return run_time.create_pipeline()


def _score_video() -> Pipeline:
    """Scores and events of new videos by a system that was trained before."""
    from vad_pipeline.pipelines import score_video

    return score_video.create_pipeline()


def _lgn_net_sweeps() -> Pipeline:
    """Curves of an LGN-Net that was trained before."""
    from vad_pipeline.pipelines import sweeps

    return sweeps.create_pipeline()


def _experiment(name: str) -> Pipeline:
    """Everything from raw data to a table of experiments."""
    from vad_pipeline.experiments.experiments import EXPERIMENTS as declared
    from vad_pipeline.pipelines import experiment

    wanted = sorted({f"{row.pseudo}.spatial" for row in declared[name].rows if row.pseudo})
    return _extraction() + experiment.create_pipeline(name) + _pseudo_data(wanted)
