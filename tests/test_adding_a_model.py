"""docs/adding_a_model.md, done: two files make a system, in a copy of the project."""

import json
import os
import re
import shutil
from pathlib import Path

import pandas as pd

from tests.processes import kedro

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "adding_a_model.md"
MODEL, PARAMETERS = Path("src/vad_pipeline/models/next_frame.py"), Path("conf/base/parameters_next_frame.yml")
FRAMES = 24
TINY = {
    **{f"frame_extraction.scenes.{clips}": 2 for clips in ("train_clips", "test_clips")},
    "frame_extraction.scenes.frames": FRAMES,
    "frame_extraction.scenes.height": 32,
    "frame_extraction.scenes.width": 48,
    "next_frame.frames.height": 32,
    "next_frame.frames.width": 48,
    "next_frame.training.epochs": 1,
    "next_frame.training.accelerator": "cpu",
}


def block(language, of_file):
    """The block of the page that follows the heading which names a file."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"`{of_file.as_posix()}`\n")
    found = re.search(rf"^```{language}\n(.*?)^```$", rest, re.DOTALL | re.MULTILINE)
    assert found, f"{PAGE.name} has no block for {of_file}"
    return found[1]


def without_maps(model):
    """The page's model with nothing left of maps and pictures."""
    for pattern, instead in (
        (r"    has_maps = True\n", ""),
        (r"        maps = .*\n", ""),
        (r'return \{"psnr": psnr\}, maps', 'return {"psnr": psnr}, None'),
        (r"    @torch\.inference_mode\(\)\n    def predict\((.*\n)+?\n", ""),
    ):
        model, changes = re.subn(pattern, instead, model)
        assert changes == 1, f"the page has no single {pattern}"
    return model


def contents(root):
    """File -> bytes of what a commit of the project would hold."""
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not {"__pycache__", ".viz", "logs"} & set(path.parts)  # git ignores these
    }


class Copy:
    """A copy of the project with the two files, run by `kedro run` as a user would."""

    def __init__(self, folder):
        self.root, self.data = folder / "project", folder / "data"
        left_out = shutil.ignore_patterns("local", "*.egg-info", MODEL.name, PARAMETERS.name)
        for name in ("src", "conf"):
            shutil.copytree(PROJECT / name, self.root / name, ignore=left_out)
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy2(PROJECT / name, self.root)
        self.before = contents(self.root)
        (self.root / PARAMETERS).write_text(block("yaml", PARAMETERS), encoding="utf-8")

    def run(self, model):
        """Write a model's text and run its pipeline on tiny built-in scenes."""
        (self.root / MODEL).write_text(model, encoding="utf-8")
        environment = os.environ | {
            "PYTHONPATH": str(self.root / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VAD_DATA_ROOT": str(self.data),
        }
        params = ",".join(f"{name}={value}" for name, value in TINY.items())
        command = ["run", "--pipeline=next_frame", f"--params={params}"]
        code, output = kedro(*command, folder=self.root, environment=environment)
        assert code == 0, output

    def newest(self, name):
        """The newest version of a file of the model's, None if there is none."""
        return max(self.data.glob(f"0?_*/scenes/next_frame/{name}/*/{name}"), default=None)


def check_results(copy):
    metrics = json.loads(copy.newest("metrics.json").read_text())
    assert 0 <= metrics["micro_auc"] <= 1
    assert metrics["frames_scored"] == 2 * (FRAMES - 3)
    scores = pd.read_parquet(copy.newest("scores.parquet"))
    assert scores["psnr"].between(0, 100).all()
    assert set(scores["clip"]) == {"test/01", "test/02", "train/02"}, "test clips and the held-out normal one"
    assert "next_frame" in copy.newest("report.html").read_text(encoding="utf-8")


def test_the_page_s_two_files_make_a_system_that_runs_to_a_report(tmp_path):
    copy = Copy(tmp_path)
    copy.run(block("python", MODEL))
    check_results(copy)
    assert copy.newest("maps.clips"), "error maps"
    after = contents(copy.root)
    assert set(after) - set(copy.before) == {MODEL, PARAMETERS}
    assert {path: after[path] for path in copy.before} == copy.before


def test_a_model_without_maps_needs_none(tmp_path):
    copy = Copy(tmp_path)
    copy.run(without_maps(block("python", MODEL)))
    check_results(copy)
    assert copy.newest("maps.clips") is None
