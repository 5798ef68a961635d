"""A detector from a folder: pictures in, scores and events out, the same frame by frame as at once."""

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import stored_clips
from tests.test_every_model import CASES, SIZE, TRAINING, tiny
from tests.training.conftest import moving_square
from vad_pipeline.detection.detector import Detector, at_rate
from vad_pipeline.detection.thresholds import ThresholdError
from vad_pipeline.fitting.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from vad_pipeline.models.build import build
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.training.streams import described_jobs, flow_jobs, recipes_of
from vad_pipeline.training.train import Origin, train

FRAMES = {"pseudo_anomaly_detector": 20}  # of a clip; three parts, one of them a network of frames


def picture_rows(n, phase, speed=1):
    return np.pad(moving_square(n, phase, speed), ((0, 0), (0, 0), (0, 8), (0, 0)), mode="edge")


def streams_of(folder, recipes, frames):
    """What batch pipelines make of the frames, by the recipes of the checkpoint."""
    import torch

    made = {"frames": stored_clips(folder, frames)}
    jobs = {
        name: flow_jobs(made["frames"], recipe)
        if name == "flow"
        else described_jobs(made["frames"], recipe, torch.device("cpu"))
        for name, recipe in recipes.items()
    }
    for name, of_clips in jobs.items():
        made[name] = stored_clips(folder, {clip: np.stack(list(job.rows(0, None))) for clip, job in of_clips.items()})
    return made


def trained(folder, system, held_out=0.34):
    """The system's parts trained on tiny clips, in folders as pipelines leave them; and the streams of each."""
    n = FRAMES.get(system, 40)
    frames = {f"train/{i}": picture_rows(n, 3 * i) for i in range(3)} | {"test/0": picture_rows(n, 2, 4)}
    streams = {}
    for part in SYSTEMS[system].parts:
        name, config = tiny(f"{system}.{part}".rstrip("."))
        recipes = recipes_of(model_class(name).streams(config))
        made = streams_of(folder, recipes, frames)
        first = made[model_class(name).reads[0]]
        twins = {f"{clip}@0": first[clip].array().max() - first[clip].array() for clip in first.split("train")}
        result = train(
            name,
            config,
            SIZE,
            replace(TRAINING, held_out=held_out),
            0,
            made,
            folder / "work",
            stored=stored_clips(folder, twins),
            origin=Origin("tiny", recipes),
        )
        own = folder / SYSTEMS[system].namespace(part)
        own.mkdir()
        write_checkpoint(result.checkpoint, own / "checkpoint.safetensors")
        streams[part] = made
    return streams


@pytest.fixture(scope="module", params=["scene_exemplars", "msti_net", "conv3d_ae", "pseudo_anomaly_detector"])
def system(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, trained(folder, request.param)


def test_a_stream_gets_the_scores_of_the_batch_pipeline_a_stated_delay_later(system):
    name, folder, streams = system
    detector = Detector.load(folder if folder.name == name else folder / name, name)
    pictures = picture_rows(FRAMES.get(name, 40), 2, 4)
    scores, delays = [], []
    for t, picture in enumerate(pictures):
        if (score := detector.push(picture)) is not None:
            scores.append(score)
            delays.append(t - score.frame)
    assert set(delays) == {detector.delay}
    scores += detector.finish()
    table = detector.score(pictures)
    assert (
        [score.frame for score in scores]
        == table["frame"].tolist()
        == list(range(scores[0].frame, scores[-1].frame + 1))
    )
    for part, made in streams.items():
        checkpoint = read_checkpoint(folder / SYSTEMS[name].namespace(part) / "checkpoint.safetensors")
        batch, _ = score_clips(build(checkpoint), made, Scoring(accelerator="cpu"), [["test/0"]], folder)
        joined = batch.merge(table, on="frame", suffixes=("", "_streamed"), validate="one_to_one")
        assert len(joined) == len(table)
        for term in model_class(checkpoint.model).terms:
            assert joined[f"{term}_streamed"].to_numpy() == pytest.approx(joined[term].to_numpy(), abs=2e-4), term
            assert [score.terms[term] for score in scores] == pytest.approx(table[term].tolist(), abs=2e-4)


def test_held_out_footage_has_uniform_p_values_and_does_not_cross_the_lowest_threshold(system):
    name, folder, streams = system
    detector = Detector.load(folder / name, name)
    checkpoint = read_checkpoint(folder / SYSTEMS[name].namespace(next(iter(streams))) / "checkpoint.safetensors")
    (held_out,) = checkpoint.about["held_out"]
    table = detector.score(np.array(next(iter(streams.values()))["frames"][held_out].array()))
    assert not table["alarm"].any()
    assert detector.events(table) == []
    for share in (0.1, 0.25, 0.5, 0.75):
        assert (table["p_value"] <= share).mean() <= share + 1 / len(table)


def test_every_system_of_parts_that_a_folder_lacks_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"lgn_net: no trained model; trained are: none"):
        Detector.load(tmp_path / "lgn_net")
    (tmp_path / "mnad_pred" / "checkpoint.safetensors").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no system is called 'lgnnet'; trained are: mnad_pred"):
        Detector.load(tmp_path / "lgnnet")


def test_without_held_out_footage_there_is_no_threshold(tmp_path):
    trained(tmp_path, "conv3d_ae", held_out=0.0)
    with pytest.raises(ThresholdError, match=r"set training\.held_out above 0"):
        Detector.load(tmp_path / "conv3d_ae")


def test_a_picture_of_another_size_is_refused_and_a_new_stream_takes_it(tmp_path):
    trained(tmp_path, "conv3d_ae")
    detector = Detector.load(tmp_path / "conv3d_ae")
    detector.push(np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r"picture 1 is \(16, 64, 3\), the first was \(32, 64, 3\)"):
        detector.push(np.zeros((16, 64, 3), np.uint8))
    detector.finish()
    assert detector.push(np.zeros((16, 64, 3), np.uint8)) is None
    with pytest.raises(ValueError, match="fewer than the"):
        detector.score(np.zeros((3, 16, 32, 1), np.uint8))


@pytest.mark.parametrize(("given", "fps", "kept"), [(25, 10, 10), (30, 10, 10), (10, 10, 10), (8, 10, 8), (25, 25, 25)])
def test_a_second_of_video_is_scored_at_the_trained_rate(given, fps, kept):
    seconds = [second for _, second in at_rate(((None, n / given) for n in range(given)), fps)]
    assert len(seconds) == kept


def test_the_systems_that_are_tried_read_all_kinds_of_streams():
    assert {"frames", "flow", "features"} == {
        stream
        for case in CASES
        if case.partition(".")[0] in ("scene_exemplars", "msti_net", "conv3d_ae", "pseudo_anomaly_detector")
        for stream in model_class(tiny(case)[0]).streams(tiny(case)[1])
    }
