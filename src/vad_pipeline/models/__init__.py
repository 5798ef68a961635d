"""The detectors: one file per published architecture, listed here by the names of the systems."""

from vad_pipeline.models.contract import Detector
from vad_pipeline.models.conv3d_ae import Conv3dAE
from vad_pipeline.models.flow_conv3d_ae import FlowConv3dAE
from vad_pipeline.models.lgn_net import LGNNet
from vad_pipeline.models.semantic_discriminator import SemanticDiscriminator

MODELS: dict[str, type[Detector]] = {
    "lgn_net": LGNNet,
    "conv3d_ae": Conv3dAE,
    "lntra_patch": Conv3dAE,
    "lntra_skip_frame": Conv3dAE,
    "steal_net": Conv3dAE,
    "flow_conv3d_ae": FlowConv3dAE,
    "semantic_discriminator": SemanticDiscriminator,
}
