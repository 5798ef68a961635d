"""The parameters of every environment: they load, they have the sizes that are meant, and nothing is stated twice."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from vad_pipeline.anomalies.flow_mixup import FlowMixup
from vad_pipeline.anomalies.masks import Masks
from vad_pipeline.anomalies.pool import Pool
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.detection.camera_settings import choose_settings
from vad_pipeline.detection.camera_survey import CameraSurvey, Motion, VideoFacts
from vad_pipeline.experiments.experiments import EXPERIMENTS, Budget, with_overrides
from vad_pipeline.flow import flownet
from vad_pipeline.flow.dis import DIS
from vad_pipeline.flow.flownet import FlowNet
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.rendered_pairs import RenderedPairs
from vad_pipeline.flow.train_flownet import FlowNetFit
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.inpainting import latent_inpainter
from vad_pipeline.inpainting.filled_clips import Inpainting
from vad_pipeline.inpainting.fit_inpainter import InpainterFit
from vad_pipeline.models import alps
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.pipeline_registry import PSEUDO_ANOMALIES, SAME_INPAINTER
from vad_pipeline.scoring.gamma_sweep import Sweeps
from vad_pipeline.scoring.run_time import RunTime
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS
from vad_pipeline.sources import SOURCES
from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.terminal.camera import WRITTEN, globals_text, parameters_text, stated_path, write_environment
from vad_pipeline.training.train import Training

CONF = Path(__file__).resolve().parents[1] / "conf"
CAMERA = "camera"  # an environment as `kedro camera init` writes it, of videos of 768x576 at 25 frames a second
FOLDERS = sorted(
    file.parent.name
    for file in CONF.glob("*/globals.yml")
    if file.parent.name not in ("base", "local") and not file.read_text().startswith(WRITTEN)  # the developer's own
)
ENVIRONMENTS = [*(name for name in FOLDERS if name != "laptop"), CAMERA]
FUSED = "pseudo_anomaly_detector"
PREDICTORS = ("lgn_net", "frame_pred", "msti_net", "mnad_pred", "mnad_recon")  # of one size in the small environments
TRAINED = {
    system.namespace(part): declared.model for system in SYSTEMS.values() for part, declared in system.parts.items()
}
# a model of no paper has no published size, and its parameters are its own matter
PUBLISHED = tuple(name for name, model in TRAINED.items() if model_class(model).published_parameters)
PUBLISHED_ON_FRAMES = tuple(name for name in PUBLISHED if not name.endswith(".discriminator"))

# Of each system and part: height, width and colour of its frames, width of its network, epochs.
PAPER = {
    "lgn_net": (256, 256, "rgb", 1.0, 60),
    "msti_net": (256, 256, "rgb", 1.0, 60),
    "valt_gan": (160, 160, "rgb", 1.0, 60),
    "mnad_pred": (256, 256, "rgb", 1.0, 60),
    "mnad_recon": (256, 256, "rgb", 1.0, 60),
    "alps": (240, 360, "gray", 1.0, 20),
    "frame_pred": (256, 256, "rgb", 1.0, 60),
    "conv3d_ae": (256, 256, "rgb", 1.0, 25),
    "lntra_patch": (256, 256, "gray", 1.0, 60),
    "lntra_skip_frame": (256, 256, "gray", 1.0, 60),
    "steal_net": (256, 256, "gray", 1.0, 60),
    f"{FUSED}.spatial": (256, 256, "rgb", 1.0, 25),
    f"{FUSED}.temporal": (256, 256, "gray", 1.0, 25),
}


def small(height, width, network, epochs, **others):
    """The baselines share one size, ALPS has the paper's; ``others`` have their own."""
    sizes = dict.fromkeys(PUBLISHED_ON_FRAMES, (height, width, "gray", network, epochs))
    return sizes | {"alps": PAPER["alps"]} | others


OF_IMAGES = ("mnist", "fashion_mnist")
IMAGES = PAPER | {"alps": (28, 28, "gray", 1.0, 10)}
SIZES = {
    "ped2": PAPER,
    "ubnormal": PAPER,
    "mnist": IMAGES,
    "fashion_mnist": IMAGES,
    "ped2_small": small(
        128,
        192,
        0.33,
        5,
        **dict.fromkeys(PREDICTORS, (96, 144, "gray", 0.25, 10)),
        valt_gan=(96, 144, "gray", 0.125, 6),
        **{f"{FUSED}.{part}": (128, 192, "gray", 0.33, 8) for part in ("spatial", "temporal")},
    ),
    CAMERA: small(
        144,
        192,
        0.33,
        10,
        alps=(240, 300, "gray", 1.0, 20),
        valt_gan=(104, 136, "gray", 0.125, 6),
        **dict.fromkeys(PREDICTORS, (104, 136, "gray", 0.25, 10)),
    ),
    "scenes": small(
        64,
        96,
        0.33,
        6,
        alps=(128, 192, "gray", 1.0, 8),
        valt_gan=(64, 96, "gray", 0.125, 6),
        **dict.fromkeys(PREDICTORS, (64, 96, "gray", 0.25, 6)),
        **{f"{FUSED}.temporal": (96, 144, "gray", 0.2, 4)},
    ),
}

# Of each experiment, the epochs of a row.
PAPER_EPOCHS = {
    "lgn_net_ablation": 60,
    "msti_net_ablation": 60,
    "valt_gan_ablation": 60,
    "pseudo_anomalies_ablation": 25,
    "lntra_table": 25,
    "mask_table": 25,
}
FEW_EPOCHS = {
    "lgn_net_ablation": 4,
    "msti_net_ablation": 4,
    "valt_gan_ablation": 3,
    "pseudo_anomalies_ablation": 5,
    "lntra_table": 5,
    "mask_table": 5,
}
EPOCHS = {
    "ped2": PAPER_EPOCHS,
    "ubnormal": PAPER_EPOCHS,
    "mnist": PAPER_EPOCHS,
    "fashion_mnist": PAPER_EPOCHS,
    "ped2_small": {
        "lgn_net_ablation": 2,
        "msti_net_ablation": 2,
        "valt_gan_ablation": 2,
        "pseudo_anomalies_ablation": 4,
        "lntra_table": 3,
        "mask_table": 3,
    },
    CAMERA: FEW_EPOCHS,
    "scenes": FEW_EPOCHS,
}

# Of the inpainter: widest layer of its denoiser, steps of its sampler, epochs; and frames that get a twin.
INPAINTERS = {
    "ped2": (128, 50, 20, None),
    "ubnormal": (128, 50, 20, 20000),
    "mnist": (128, 50, 20, None),
    "fashion_mnist": (128, 50, 20, None),
    "ped2_small": (96, 10, 8, 1280),
    CAMERA: (96, 10, 8, 1280),
    "scenes": (96, 10, 6, 720),
}


@cache
def conf_of(environment):
    """The project's, and for a camera a copy of what it is read over; what a developer keeps in conf/local is not."""
    if environment != CAMERA:
        return CONF
    conf = Path(mkdtemp())
    atexit.register(shutil.rmtree, conf)
    for name in ("base", "laptop"):
        shutil.copytree(CONF / name, conf / name)
    video = VideoFacts(Path("a.mp4"), 768, 576, 25.0, 3600.0, False)
    survey = CameraSurvey((video,), (), Motion(32, 0, 0.04, 13.0, 47.0, 38.0, 24.0))
    paths = {"train": stated_path(Path("/videos"), conf), "test": "null", "labels": "null", "region": "null"}
    text = parameters_text(CAMERA, paths, survey, choose_settings(survey))
    write_environment(conf / CAMERA, globals_text(CAMERA), text)
    return conf


def loader(environment, conf=None):
    """Kedro's own where an environment starts from none: what a developer keeps in conf/local is not looked at."""
    kind = CONFIG_LOADER_CLASS if environment == CAMERA else OmegaConfigLoader
    return kind(str(conf or conf_of(environment)), env=environment, **CONFIG_LOADER_ARGS)


@cache
def parameters(environment):
    return loader(environment)["parameters"]


def section(loaded, system):
    name, _, part = system.partition(".")
    found = loaded[name][part] if part else loaded[name]
    return {"frames": loaded["optical_flow"]["frames"]} | found


def leaves(tree, above=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def test_the_tables_above_tell_of_every_environment_system_and_experiment():
    assert set(SIZES) == set(EPOCHS) == set(INPAINTERS) == set(ENVIRONMENTS)
    assert all(set(systems) == set(PUBLISHED_ON_FRAMES) for systems in SIZES.values())
    assert all(set(epochs) == set(EXPERIMENTS) for epochs in EPOCHS.values())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("system", TRAINED)
def test_the_typed_configurations_accept_the_sections_of_every_system(environment, system):
    given = section(parameters(environment), system)
    assert set(given) == {"frames", "model", "training", "scoring"}
    model = model_class(TRAINED[system])
    training, scoring = Training(**given["training"]), Scoring(**given["scoring"])
    assert training.accelerator == scoring.accelerator == "auto"
    with torch.device("meta"):
        network = model(model.config_class(**given["model"]), colours=FrameSize(**given["frames"]).channels)
    assert sum(p.numel() for p in network.parameters()) > 0 or model.learns_in_one_pass


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("system", PUBLISHED_ON_FRAMES)
def test_every_system_has_the_size_that_is_meant(environment, system):
    given = section(parameters(environment), system)
    frames, training = FrameSize(**given["frames"]), Training(**given["training"])
    size = frames.height, frames.width, frames.colour, given["model"].get("width"), training.epochs
    assert size == SIZES[environment][system]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_clips_are_held_out_but_where_a_paper_trains_on_all_of_them(environment):
    loaded = parameters(environment)
    for system in PUBLISHED:
        given = section(loaded, system)
        held_out = Training(**given["training"]).held_out
        if given["model"].get("gamma", 0.0) is None:
            assert held_out == 0.1, "a memory's threshold is calibrated on held-out clips"
        else:
            paper = environment in ("ped2", "ubnormal") or (environment in OF_IMAGES and system != "alps")
            assert held_out == (0.0 if paper else 0.1)
    for system, gamma in (("lgn_net", 0.009), ("mnad_pred", 0.01), ("mnad_recon", 0.015)):
        assert loaded[system]["model"]["gamma"] == (gamma if environment == "ped2" else None)


def threads_in(tree, above=""):
    """Of every training and scoring in it, where it stands and what it says of threads."""
    for key, value in tree.items():
        if isinstance(value, dict):
            if key in ("training", "scoring"):
                yield f"{above}{key}", value.get("threads", "none stated")
            yield from threads_in(value, f"{above}{key}.")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_training_and_scoring_takes_one_thread_on_a_laptop_and_all_cores_at_the_papers_sizes(environment):
    found = dict(threads_in(parameters(environment)))
    one = 1 if environment in ("scenes", "ped2_small", CAMERA, *OF_IMAGES) else None
    assert found == dict.fromkeys(found, one)
    expected = {f"{system}.{kind}" for system in TRAINED for kind in ("training", "scoring")}
    expected |= {f"{name}.training" for name in (*EXPERIMENTS, "pseudo_anomalies", "flownet_training")}
    assert expected <= set(found)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_experiment_has_the_budget_that_is_meant(environment):
    loaded = parameters(environment)
    for name, experiment in EXPERIMENTS.items():
        budget = Budget(**loaded[name])
        assert budget.training.epochs == EPOCHS[environment][name]
        few = (0, 1) if name == "valt_gan_ablation" else (0,)  # GANs differ by seed
        assert budget.seeds == (few if environment == "ped2_small" else (0, 1, 2))
        own = Training(**loaded[experiment.rows[0].system]["training"])
        assert budget.training.held_out == own.held_out
        for row in experiment.rows:
            model = model_class(SYSTEMS[row.system].parts[ONLY].model)
            config = model.config_class(**loaded[row.system]["model"])
            stored = model.pseudo_anomalies(with_overrides(config, row.overrides))
            assert bool(row.pseudo) == (stored is not None and stored.source == "stored")
            assert not row.pseudo or row.pseudo in PSEUDO_ANOMALIES


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_image_anomalies_load_and_read_the_images_that_are_meant(environment):
    given = parameters(environment)["image_anomalies"]
    assert set(given) == {"images", "frames", "model", "budget", "scoring"}
    images = FrameExtraction(**given["images"])
    assert images.source == ("idx_images" if environment in OF_IMAGES else "digits")
    assert getattr(images, images.source).get("normal_class") is None, "all classes"
    assert alps.Config(**given["model"]) == alps.Config(patch=None)
    assert Scoring(**given["scoring"]).batch == 256
    budget = TypeAdapter(Budget).validate_python(given["budget"])
    assert (budget.seeds, budget.training.epochs) == ((0,), 10 if environment in OF_IMAGES else 50)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_swept_and_compared_loads(environment):
    loaded = parameters(environment)
    assert Sweeps(**loaded["lgn_net_sweeps"]) == Sweeps(weights=11, gammas=None)
    systems = loaded["model_comparison"]["systems"]
    assert {"lgn_net", "frame_pred"} <= set(systems)
    assert len(set(systems)) == len(systems)
    timed = RunTime(**loaded["run_time"])
    assert set(timed.systems) <= set(SYSTEMS)
    assert (timed.frames, timed.warm_up) == (50, 10)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("namespace", PSEUDO_ANOMALIES)
def test_pseudo_anomalies_load_and_have_the_size_that_is_meant(environment, namespace):
    given = parameters(environment)[namespace]
    fitted = namespace not in SAME_INPAINTER
    assert set(given) == {"masks", "pool", "inpainting", "mixup"} | ({"model", "training"} if fitted else set())
    channels, steps, epochs, twins = INPAINTERS[environment]
    assert Masks(**given["masks"]).kind == ("random" if namespace.endswith("random") else "objects")
    assert Pool(**given["pool"]).size == twins
    inpainting = Inpainting(**given["inpainting"])
    assert inpainting.crop is None, "the size that its weights were trained on"
    assert inpainting.source == "telea" or inpainting.steps == steps
    assert FlowMixup(**given["mixup"]).alpha == 0.4
    if fitted:
        assert InpainterFit(**given["training"]).epochs == epochs
        config = latent_inpainter.Config(**given["model"])
        assert max(config.denoiser) == channels
        with torch.device("meta"):
            assert latent_inpainter.new_denoiser(config)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_flow_loads_and_is_estimated_as_meant(environment):
    loaded = parameters(environment)
    flow = loaded["optical_flow"]
    assert set(flow["estimators"]) == {"tvl1", "flownet", "dis"}
    assert DIS(**flow["dis"]).preset == "medium"
    assert TVL1(**flow["tvl1"]).preset == ("accurate" if environment in ("ped2", *OF_IMAGES) else "fast")
    assert FlowNetFlow(**flow["flownet"]).checkpoint is None
    training = loaded["flownet_training"]
    assert RenderedPairs(**training["rendered"]).height == 128
    assert FlowNetFit(**training["training"]).pairs == 6000
    with torch.device("meta"):
        assert FlowNet(flownet.Config(**training["network"]))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_source_of_an_environment_loads(environment):
    extraction = FrameExtraction(**parameters(environment)["frame_extraction"])
    assert TypeAdapter(SOURCES[extraction.source].config).validate_python(getattr(extraction, extraction.source))
    assert extraction.height == (360 if environment in ("ubnormal", CAMERA) else None)


@pytest.mark.parametrize("system", PUBLISHED)
def test_the_paper_s_environment_builds_the_published_number_of_parameters(system):
    given = section(parameters("ped2"), system)
    model, colours = model_class(TRAINED[system]), FrameSize(**given["frames"]).channels
    with torch.device("meta"):
        network = model(model.config_class(**given["model"]), colours=colours)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert millions == pytest.approx(model.published_parameters[colours], abs=0.006)


@pytest.mark.parametrize("environment", FOLDERS)
def test_an_environment_states_nothing_that_base_states_already(environment):
    used = loader("scenes")
    for kind in ("globals", "parameters", "catalog", "mlflow"):
        assert used[kind]  # loaded first: resolvers are registered then
        patterns = used.config_patterns[kind]
        base = dict(leaves(used.load_and_merge_dir_config(str(CONF / "base"), patterns, kind, set())))
        for path in sorted((CONF / environment).glob(f"{kind}*.yml")):
            stated = dict(leaves(OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
            twice = [name for name, value in stated.items() if name in base and base[name] == value]
            assert not twice, f"{path.relative_to(CONF)} repeats what conf/base has; delete it"


def test_every_environment_names_a_data_set_of_its_own_and_base_names_none():
    assert {environment: loader(environment)["globals"]["dataset"] for environment in ENVIRONMENTS} == {
        environment: environment for environment in ENVIRONMENTS
    }
    with pytest.raises(Exception, match="Globals key 'dataset' not found"):
        loader("base")["catalog"]


def test_a_new_environment_gets_the_papers_sizes(tmp_path):
    shutil.copytree(CONF / "base", tmp_path / "base")
    (tmp_path / "avenue").mkdir()
    (tmp_path / "avenue" / "globals.yml").write_text("dataset: avenue\n")
    (tmp_path / "avenue" / "parameters.yml").write_text("frame_extraction: {source: frame_folders}\n")
    loaded = loader("avenue", tmp_path)["parameters"]
    for system, (height, width, colour, network, epochs) in PAPER.items():
        given = section(loaded, system)
        assert given["frames"] == {"height": height, "width": width, "colour": colour}
        assert (given["model"]["width"], given["training"]["epochs"]) == (network, epochs)
    assert {name: loaded[name]["training"]["epochs"] for name in EXPERIMENTS} == PAPER_EPOCHS
    assert loaded["pseudo_anomalies"]["training"]["epochs"] == 20


def test_a_run_without_an_environment_is_one_of_the_built_in_scenes():
    assert loader(None)["parameters"] == parameters("scenes")
    assert parameters("scenes")["frame_extraction"]["source"] == "scenes"
