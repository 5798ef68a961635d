"""conf/local on top of whichever environment is run."""

import pytest
from kedro.config import MissingConfigException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from tests.conftest import PROJECT
from vad_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS

FILES = {
    "base/globals.yml": "data_root: data\nseed: 0",
    "base/parameters.yml": "net: {width: 1.0, training: {epochs: 60, batch: 8}}\nseed: ${globals:seed}",
    "base/catalog.yml": "frames: {type: json.JSONDataset, filepath: '${globals:data_root}/${globals:dataset}'}",
    "scenes/globals.yml": "dataset: scenes",
    "scenes/parameters.yml": "net: {width: 0.25, training: {epochs: 6}}",
    "street/globals.yml": "dataset: street",
    "street/parameters.yml": "net: {training: {epochs: 12}}",
    "street/credentials.yml": "shared: {key: a}\nstore: {key: b}",
}


@pytest.fixture
def conf(tmp_path):
    """Writes the files above and further ones; returns what a loader of an environment reads."""

    def load(env, **further):
        for path, text in (FILES | further).items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        return CONFIG_LOADER_CLASS(str(tmp_path), env=env, **CONFIG_LOADER_ARGS)

    return load


@pytest.mark.parametrize(("env", "width"), [(None, 0.25), ("scenes", 0.25), ("street", 1.0)])
def test_local_parameters_win_over_the_environment_and_leave_the_rest(conf, env, width):
    loaded = conf(env, **{"local/parameters.yml": "net: {training: {epochs: 3}}"})["parameters"]
    assert loaded == {"net": {"width": width, "training": {"epochs": 3, "batch": 8}}, "seed": 0}


@pytest.mark.parametrize("local", [{}, {"local/.gitkeep": ""}, {"local/parameters.yml": ""}])
def test_without_anything_in_it_the_environment_is_what_it_says(conf, local):
    assert conf("street", **local)["parameters"]["net"] == {"width": 1.0, "training": {"epochs": 12, "batch": 8}}


@pytest.mark.parametrize("env", [None, "street"])
def test_local_globals_decide_where_data_lie(conf, env):
    loaded = conf(env, **{"local/globals.yml": "data_root: /mnt\nseed: 7"})
    assert loaded["catalog"]["frames"]["filepath"] == f"/mnt/{env or 'scenes'}"
    assert loaded["parameters"]["seed"] == 7


def test_a_local_catalog_entry_replaces_the_whole_entry(conf):
    loaded = conf("street", **{"local/catalog.yml": "frames: {type: text.TextDataset, filepath: a.txt}"})
    assert loaded["catalog"] == {"frames": {"type": "text.TextDataset", "filepath": "a.txt"}}


def test_credentials_may_lie_in_local_alone_and_read_variables(conf, monkeypatch):
    monkeypatch.setenv("STORE_KEY", "secret")
    local = {"local/credentials.yml": "store: {key: '${oc.env:STORE_KEY}'}"}
    assert conf(None, **local)["credentials"] == {"store": {"key": "secret"}}
    assert conf("street", **local)["credentials"] == {"shared": {"key": "a"}, "store": {"key": "secret"}}


def test_credentials_that_lie_nowhere_are_missing_as_in_kedro(conf):
    with pytest.raises(MissingConfigException, match="credentials"):
        conf(None)["credentials"]


def test_local_does_not_stand_in_for_an_environment_that_does_not_exist(conf):
    local = {"local/parameters.yml": "net: {width: 2.0}", "local/catalog.yml": "a: {type: text.TextDataset}"}
    loaded = conf("stret", **local)
    for kind in ("parameters", "catalog"):
        with pytest.raises(MissingConfigException, match="stret"):
            loaded[kind]


def test_what_is_set_by_hand_is_not_read_again(conf):
    loaded = conf(None, **{"local/parameters.yml": "net: {width: 2.0}"})
    loaded["parameters"] = {"net": 1}
    assert loaded["parameters"] == {"net": 1}
    with pytest.raises(KeyError, match="nonsense"):
        loaded["nonsense"]


LAPTOP = {
    "laptop/globals.yml": "threads: 1\nparallel: {backend: loky}",
    "laptop/parameters.yml": (
        "net: {frames: {width: 8, height: 6}, training: {epochs: 2}}\nother: {frames: '${net.frames}'}"
    ),
    "door/globals.yml": "dataset: door\nstarts_from: laptop",
    "door/parameters.yml": "net: {frames: {width: 16}}",
}


def test_an_environment_wins_over_what_it_starts_from_and_what_that_derives_follows(conf):
    loaded = conf("door", **LAPTOP)
    assert loaded["parameters"]["net"] == {
        "width": 1.0,
        "frames": {"width": 16, "height": 6},
        "training": {"epochs": 2, "batch": 8},
    }
    assert loaded["parameters"]["other"] == {"frames": {"width": 16, "height": 6}}
    assert (loaded["globals"]["threads"], loaded["globals"]["dataset"]) == (1, "door")
    local = {"local/parameters.yml": "net: {training: {epochs: 5}}"}
    assert conf("door", **LAPTOP | local)["parameters"]["net"]["training"]["epochs"] == 5
    assert conf("street", **LAPTOP)["parameters"]["net"]["width"] == 1.0


def test_what_an_environment_starts_from_may_start_from_another_and_entries_of_other_files_are_replaced(conf):
    above = {
        "porch/globals.yml": "dataset: porch\nstarts_from: door\nparallel: {n_jobs: 2}",
        "porch/parameters.yml": "net: {training: {epochs: 7}}",
    }
    loaded = conf("porch", **LAPTOP | above)
    assert loaded["parameters"]["net"]["training"]["epochs"] == 7
    assert loaded["parameters"]["other"]["frames"]["width"] == 16
    assert (loaded["globals"]["threads"], loaded["globals"]["parallel"]) == (1, {"n_jobs": 2})


@pytest.mark.parametrize(
    ("env", "changed", "said"),
    [
        ("door", "dataset: door\nstarts_from: laptpo", r"door/globals.yml: starts_from is laptpo, .*mean laptop\?"),
        ("door", "dataset: door\nstarts_from: door", "which starts from this one"),
        ("door", "starts_from: street", r"door/globals.yml names no dataset"),
        ("laptop", "dataset: door", r"laptop/globals.yml names no dataset, .* or start from it"),
    ],
)
def test_a_start_that_is_not_there_or_a_data_set_that_is_not_named_is_refused(conf, env, changed, said):
    with pytest.raises(ValueError, match=said):
        conf(env, **LAPTOP | {"door/globals.yml": changed})


@pytest.mark.parametrize("env", [None, "street"])
def test_parameters_of_the_command_line_win_over_local(conf, tmp_path, env):
    conf(env, **{"local/parameters.yml": "net: {training: {epochs: 3, batch: 2}}"})
    bootstrap_project(PROJECT)
    given = {"net": {"training": {"epochs": 1}}}
    with KedroSession.create(PROJECT, env=env, conf_source=str(tmp_path), runtime_params=given) as session:
        loaded = session.load_context().params
    assert loaded["net"]["training"] == {"epochs": 1, "batch": 2}


def test_a_wrong_environment_names_those_there_are(conf):
    with pytest.raises(MissingConfigException, match=r"environment streat: .*; did you mean street.* scenes, street$"):
        conf("streat")["parameters"]


@pytest.mark.parametrize("value", ["2", "012", "yes", "null", "[a, b]", "1.5"])
@pytest.mark.parametrize("place", ["street", "local"])
def test_a_dataset_that_yaml_takes_for_no_text_is_refused_with_key_and_file(conf, value, place):
    with pytest.raises(ValueError, match=rf"{place}/globals\.yml: dataset is read as .* put it in quotes"):
        conf("street", **{f"{place}/globals.yml": f"dataset: {value}"})
    assert conf("street", **{f"{place}/globals.yml": f"dataset: '{value.strip('[]')}'"})["globals"]["dataset"]


@pytest.mark.parametrize("path", ["/data/[a]", "/data/*", "/data/what?", "/data/{a}"])
def test_what_kedro_would_take_for_a_pattern_is_refused_before_anything_is_read(conf, path):
    with pytest.raises(ValueError, match=r"base/globals\.yml: data_root is .*VAD_DATA_ROOT"):
        conf("street", **{"base/globals.yml": f"data_root: '{path}'"})
    with pytest.raises(ValueError, match=r"street/globals\.yml: dataset is "):
        conf("street", **{"base/globals.yml": "data_root: data", "street/globals.yml": f"dataset: 'a{path}'"})


def test_a_project_that_kedro_cannot_look_into_is_named(tmp_path):
    (tmp_path / "[mine]" / "conf" / "scenes").mkdir(parents=True)
    with pytest.raises(ValueError, match="move the project"):
        CONFIG_LOADER_CLASS(str(tmp_path / "[mine]" / "conf"), env=None, **CONFIG_LOADER_ARGS)


@pytest.mark.parametrize("path", ["/data/a b", "/data/<b>&", "/data/$1", "/data/录像", "/data/#1"])
def test_other_odd_paths_are_as_good_as_any(conf, path):
    assert conf("street", **{"base/globals.yml": f"data_root: '{path}'"})["globals"]["data_root"] == path
