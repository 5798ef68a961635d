"""The detectors: one file per published system, listed here by name."""

from vad_pipeline.models.contract import Detector
from vad_pipeline.models.conv3d_ae import Conv3dAE
from vad_pipeline.models.lgn_net import LGNNet

MODELS: dict[str, type[Detector]] = {
    "lgn_net": LGNNet,
    "conv3d_ae": Conv3dAE,
}
