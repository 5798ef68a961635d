"""Systems as trainings leave them, without a training: weights as they begin, scores of held-out footage drawn."""

from dataclasses import asdict

import numpy as np
import torch

from tests.test_every_model import SIZE, tiny
from vad_pipeline.evaluation.normality import quantiles
from vad_pipeline.fitting.checkpoint import Checkpoint, write_checkpoint
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.training.streams import recipes_of

HELD_OUT = 1200  # frames, two minutes at ten a second


def leave(folder, system, flownet=None, clips=("train/0", "train/1")):
    """Checkpoints in ``<folder>/<system>``, as pipelines leave them; the folder of the system."""
    for part in SYSTEMS[system].parts:
        own = folder / SYSTEMS[system].namespace(part)
        own.mkdir(parents=True)
        write_checkpoint(untrained(f"{system}.{part}".rstrip("."), flownet, clips), own / "checkpoint.safetensors")
    return folder / system


def untrained(case, flownet=None, clips=("train/0", "train/1")):
    name, config = tiny(case)
    torch.manual_seed(0)
    model = model_class(name)(config, colours=SIZE.channels)
    rng = np.random.default_rng(0)
    terms = {term: rng.standard_normal(HELD_OUT) for term in model.terms} if clips else {}
    where = {"clip": np.arange(HELD_OUT) % len(clips), "frame": np.arange(HELD_OUT)} if clips else {}
    return Checkpoint(
        model=name,
        config=asdict(config),
        frames=asdict(SIZE),
        about={"dataset": "entrance", "seed": 0, "training": {"epochs": 1}, "held_out": list(clips), "fps": 10.0},
        state=model.state_dict(),
        streams=recipes_of(model_class(name).streams(config), flownet=FlowNetFlow(flownet)),
        normaliser=quantiles(terms),
        held_out_scores={key: torch.from_numpy(values) for key, values in (where | terms).items()},
    )
