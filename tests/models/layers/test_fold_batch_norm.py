import pytest
import torch
from torch import nn

from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm


@pytest.mark.parametrize(
    ("conv", "norm", "shape"),
    [
        (nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), (2, 3, 8, 8)),
        (nn.ConvTranspose2d(3, 5, 3, stride=2), nn.BatchNorm2d(5), (2, 3, 8, 8)),
        (nn.Conv3d(3, 5, 3, bias=False), nn.BatchNorm3d(5), (2, 3, 4, 8, 8)),
        (nn.ConvTranspose3d(3, 5, 3, stride=2), nn.BatchNorm3d(5), (2, 3, 4, 8, 8)),
    ],
)
def test_a_folded_network_computes_the_same_without_batch_norm(conv, norm, shape):
    torch.manual_seed(0)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.2, 3.0)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    network = nn.Sequential(conv, norm, nn.ReLU()).eval()
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, type(norm)) for module in folded.modules())
    assert isinstance(network[1], type(norm))
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network(x), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(network(x), network[2](conv(x)), atol=0.1)
