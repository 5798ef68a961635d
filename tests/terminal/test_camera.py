"""`kedro camera init`, and what its environment is good for: training without test footage, then scoring."""

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from tests.conftest import PROJECT
from tests.detection.test_camera_survey import street
from vad_pipeline.models.systems import SYSTEMS
from vad_pipeline.pipeline_registry import make_pipeline
from vad_pipeline.pipelines.training_alone import Session, has_test_footage, training_alone
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.terminal.camera import init, stated_path
from vad_pipeline.terminal.score import score

SMALL = {"scene_exemplars": {"frames": {"height": 120, "width": 160}}}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder that Kedro takes for this project, with a configuration and data of its own."""
    bootstrap_project(PROJECT)
    monkeypatch.setenv("VAD_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("VAD_PARALLEL", "sequential")
    folder = tmp_path / "project"
    for name in ("base", "laptop", "scenes"):
        shutil.copytree(PROJECT / "conf" / name, folder / "conf" / name)
    return folder


@pytest.fixture
def videos(tmp_path, write_video):
    """A folder with a video of six seconds, in which something moves to and fro."""
    frames = street(30, 2)
    write_video(tmp_path / "normal" / "one.mp4", frames + frames[::-1])
    return tmp_path / "normal"


def command(project, chosen, *arguments):
    """What a command prints; its errors are raised."""
    given = [str(argument) for argument in arguments]
    return CliRunner().invoke(chosen, given, obj=SimpleNamespace(project_path=project), catch_exceptions=False).output


def parameters(project, env):
    with KedroSession.create(project, env=env) as session:
        loader = session.load_context().config_loader
        return loader["parameters"], loader["globals"]


def test_one_command_trains_without_test_footage_and_says_how_to_go_on(project, videos, capsys):
    said = command(project, init, "entrance", f"--train={videos}")
    assert "1 video, 6 seconds; 160x120, 10 frames a second, colour" in said
    assert "! 6 seconds of normal footage is little for a threshold" in said
    assert "kedro run --env=entrance --pipeline=scene_exemplars" in said
    assert sorted(path.name for path in (project / "conf").iterdir()) == ["base", "entrance", "laptop", "scenes"]
    assert not has_test_footage(parameters(project, "entrance")[0])

    with settings.SESSION_CLASS.create(project, env="entrance", runtime_params=SMALL) as session:
        session.run(pipeline_names=["scene_exemplars"])
    box = capsys.readouterr().out
    assert "false alarms an hour, the lowest rate that" in box
    assert "kedro score new.mp4 --env=entrance " in box
    assert "checkpoint.safetensors" in box
    left = {path.parent.parent.name for path in (project.parent / "data").glob("0*/entrance/**/*") if path.is_file()}
    assert {"checkpoint.safetensors", "data_card.json"} <= left
    assert not {"report.html", "metrics.json", "table.parquet", "scores.parquet", "regularity.png"} & left

    found = command(project, score, videos / "one.mp4", "--env=entrance", "--no-video")
    assert "one.mp4: " in found
    assert list((project.parent / "data" / "08_reporting" / "entrance").glob("score_video/*/one/scores.csv"))

    with (
        Session.create(project, env="entrance") as session,
        pytest.raises(ValueError, match=r"lgn_net_ablation: measures on test footage, and .*videos.test is null"),
    ):
        session.run(pipeline_names=["lgn_net_ablation"])


def test_the_environment_states_paths_sizes_and_what_it_starts_from(project, tmp_path, write_video):
    odd = tmp_path / "${a} 'b' \"c\": #录"
    inside = project / "videos"
    for folder in (odd, inside):
        write_video(folder / "one.mkv", [frame[..., 0] for frame in street(30, 2)], fps=25)
    (tmp_path / "labels.csv").write_text("clip,start_second,end_second\none,0.2,0.5\n")
    region = tmp_path / "region.png"
    cv2.imwrite(str(region), np.full((120, 160), 255, np.uint8))
    given = [f"--train={inside}", f"--test={odd}", f"--labels={tmp_path / 'labels.csv'}", f"--region={region}"]
    said = command(project, init, "2", *given)
    assert "The training footage is gray" in said
    assert "--env=2 " in said
    loaded, shared = parameters(project, "2")
    assert shared["dataset"] == "2"
    assert shared["threads"] == 1
    extraction = loaded["frame_extraction"]["videos"]
    assert extraction["test"] == str(odd)
    assert '"${absolute:videos}"' in (project / "conf" / "2" / "parameters.yml").read_text()
    assert (extraction["frame_stride"], extraction["region_of_interest"]) == (3, str(region))
    assert loaded["scene_exemplars"]["frames"] == {"height": 240, "width": 320, "colour": "gray"}
    assert loaded["mnad_pred"]["frames"] == loaded["lgn_net"]["frames"] != {"height": 96, "width": 144}
    assert loaded["lgn_net"]["training"]["epochs"] == 10, "of conf/laptop"

    before = {path.name: path.read_text() for path in (project / "conf" / "2").iterdir()}
    with pytest.raises(ValueError, match=r"conf/2 is there already; choose another name, or --force"):
        command(project, init, "2", f"--train={odd}")
    assert {path.name: path.read_text() for path in (project / "conf" / "2").iterdir()} == before
    command(project, init, "2", f"--train={odd}", "--force")
    assert parameters(project, "2")[0]["frame_extraction"]["videos"] | {"frame_stride": 3} == {
        "train": str(odd),
        "test": None,
        "labels": None,
        "frame_stride": 3,
        "region_of_interest": None,
        "truncated": "error",
    }


REFUSED = {
    "base --train={videos}": "conf/base is read with every environment",
    "a* --train={videos}": r"a\*: a name holds no \*",
    "a/b --train={videos}": "a name holds no /",
    ".a --train={videos}": "a name begins with a letter",
    "scenes --train={videos} --force": "was not written by `kedro camera init`",
    "a --train={videos}/no.mp4": r"--train: .*no\.mp4 is missing",
    "a --train={videos} --test=no": "--test: .*no is missing",
    "a --train={videos}/../broken": r"broken\.mp4: cannot be opened as a video",
    "a --train={videos} --labels={videos}/one.mp4": "say --test, too",
    "a --train={videos} --region={videos}/../small.png": r"small\.png is 16x12, .*one\.mp4 is 160x120",
}


def test_what_cannot_be_is_refused_in_a_sentence_and_leaves_nothing(project, videos):
    (videos.parent / "broken").mkdir()
    (videos.parent / "broken" / "broken.mp4").write_bytes(b"no video")
    cv2.imwrite(str(videos.parent / "small.png"), np.full((12, 16), 255, np.uint8))
    there = set((project / "conf").rglob("*"))
    for arguments, said in REFUSED.items():
        with pytest.raises((ValueError, SourceError), match=said):
            command(project, init, *arguments.format(videos=videos).split())
        assert set((project / "conf").rglob("*")) == there, arguments


def test_paths_are_stated_so_that_a_project_can_be_moved_with_its_videos(tmp_path):
    assert stated_path(None, tmp_path) == "null"
    assert stated_path(tmp_path / "a b" / "c.mp4", tmp_path) == '"${absolute:a b/c.mp4}"'
    assert stated_path(tmp_path.parent, tmp_path) == f'"{tmp_path.parent}"'


@pytest.mark.parametrize("name", ["lgn_net", "pseudo_anomaly_detector"])
def test_systems_of_one_and_of_several_parts_are_trained_alone(name):
    alone = training_alone(name, make_pipeline(name))
    outputs = alone.all_outputs()
    assert {f"{SYSTEMS[name].namespace(part)}.checkpoint" for part in SYSTEMS[name].parts} <= outputs
    assert not any(output.endswith((".report", ".metrics", ".scores", ".maps")) for output in outputs)
    assert {"data_card", "labels"} <= outputs


def test_a_pipeline_that_trains_no_system_is_left_alone():
    assert training_alone("optical_flow", flow := make_pipeline("optical_flow")) == flow
