import pytest
import torch
from torch import nn

from vad_pipeline.models.layers.mnad_autoencoder import Decoder, Encoder, head


def test_features_have_an_eighth_of_the_size_and_skips_the_sizes_of_the_levels():
    with torch.device("meta"):
        features, skips = Encoder(12, 1.0).with_skips(torch.zeros(2, 12, 256, 256))
    assert features.shape == (2, 512, 32, 32)
    assert [tuple(skip.shape[1:]) for skip in skips] == [(64, 256, 256), (128, 128, 128), (256, 64, 64)]


@pytest.mark.parametrize(("widened", "channels"), [("no", 64), ("skips", 128), ("up", 128)])
def test_the_decoder_gives_maps_of_the_frame_s_size(widened, channels):
    with torch.device("meta"):
        _, skips = Encoder(12, 1.0).with_skips(torch.zeros(1, 12, 64, 96))
        decoder = Decoder(1024, 1.0, widened)
        maps = decoder(torch.zeros(1, 1024, 8, 12), *(skips if widened == "skips" else ()))
        frame = head(decoder.channels, 1.0, 3)(maps)
    assert maps.shape == (1, channels, 64, 96) == (1, decoder.channels, 64, 96)
    assert frame.shape == (1, 3, 64, 96)


def test_going_by_the_skips_changes_no_features():
    torch.manual_seed(0)
    encoder = Encoder(4, 0.0625).eval()
    x = torch.randn(2, 4, 16, 24)
    torch.testing.assert_close(encoder.with_skips(x)[0], encoder(x), rtol=0, atol=0)


def test_each_skip_reaches_the_decoder_behind_the_map_of_its_own_size():
    torch.manual_seed(0)
    decoder = Decoder(8, 0.0625, "skips").eval()
    skips = [torch.randn(1, c, 8 * s, 8 * s) for c, s in ((4, 4), (8, 2), (16, 1))]
    answer = torch.randn(1, 8, 4, 4)
    maps = decoder(answer, *skips)
    torch.testing.assert_close(maps[:, 4:], skips[0])
    for i in (1, 2):
        others = [skip if j != i else torch.zeros_like(skip) for j, skip in enumerate(skips)]
        assert not torch.allclose(decoder(answer, *others)[:, :4], maps[:, :4])


def test_only_what_leaves_the_encoder_has_neither_batch_norm_nor_relu():
    layers = list(Encoder(3, 0.125))
    convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert convolutions[-1] == len(layers) - 1
    assert all(isinstance(layers[i + 1], nn.BatchNorm2d) for i in convolutions[:-1])
