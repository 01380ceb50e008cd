"""Models of images: exactly timm's, of every size."""

import copy

import pytest
import torch
from conftest import IMAGES, small_inputs, small_net
from shared_vision import models, normalised, randomised, timms
from timm.models.convnext import convnextv2_atto, convnextv2_nano, convnextv2_tiny
from timm.models.vision_transformer import vit_tiny_patch16_224

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.models import MODELS, images
from weit_rl.models.convnext import depths, dims


@models
def test_it_is_timms_network_to_the_last_bit(model):
    ours, plain, (pixels,) = small_net(model).double(), timms(model).double(), small_inputs(model)
    assert type(ours) is type(plain)
    own, other = dict(ours.named_parameters()), dict(plain.named_parameters())
    assert list(own) == list(other) and all(torch.equal(own[name], other[name]) for name in own)
    ours.image_mean.uniform_()
    assert torch.equal(ours(pixels), plain(normalised(ours, pixels)))


@models
def test_weights_go_to_timm_and_come_back(model):
    trained, ours = randomised(timms(model)), small_net(model)
    ours.image_mean.fill_(0.3)
    ours.load_state_dict(trained.state_dict())
    assert torch.equal(ours.image_mean, torch.full((3, 1, 1), 0.3))
    copied = copy.deepcopy(ours)
    del ours
    copied.load_state_dict(trained.state_dict())  # a copy's hook is its own
    timms(model).load_state_dict(dict(copied.named_parameters()))
    with pytest.raises(RuntimeError, match="Missing key"):
        copied.load_state_dict({})


@models
def test_bytes_and_floats_are_the_same_images(model):
    net, (pixels,) = small_net(model), small_inputs(model)
    torch.testing.assert_close(net(pixels), net(pixels.float() / 255))
    assert net.half().image_mean.dtype == torch.float16


@models
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (3, 8, 9)])
def test_other_images_are_refused(model, shape):
    with pytest.raises(UserError, match=f"images of {'x'.join(map(str, shape))}: this network takes 3x8x8"):
        small_net(model)(torch.zeros(2, *shape))


@pytest.mark.parametrize(
    ("make", "size"),
    [(convnextv2_atto, (320, 6)), (convnextv2_nano, (640, 8)), (convnextv2_tiny, (768, 9))],
)
def test_one_table_gives_every_rung_of_convnext(make, size):
    with torch.device("meta"):
        plain, ours = make(), MODELS.get("convnext").build(Size(*size), 224, 3, 1000)
    # the smaller of timm's call the linear layers of a block 1 x 1 convolutions
    one, other = ({name: p.squeeze().shape for name, p in net.named_parameters()} for net in (plain, ours))
    assert one == other


def test_the_table_of_convnext_grows_with_the_depth():
    assert depths(Size(1024, 27)) == (3, 3, 27, 3) and dims(Size(1024, 27)) == (128, 256, 512, 1024)
    assert [depths(Size(64, depth)) for depth in (1, 2, 3, 6)] == [
        (1, 1, 1, 1),
        (1, 1, 2, 1),
        (1, 1, 3, 1),
        (2, 2, 6, 2),
    ]


def test_deit_tiny_is_a_size():
    with torch.device("meta"):
        plain, ours = vit_tiny_patch16_224(), MODELS.get("vit").build(Size(192, 12, 64), 224, 3, 1000)
    assert {n: p.shape for n, p in plain.named_parameters()} == {n: p.shape for n, p in ours.named_parameters()}
    assert ours.blocks[0].attn.num_heads == plain.blocks[0].attn.num_heads == 3


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("vit", {"patch_size": 3}, "patch_size=3: does not divide images of 8 pixels"),
        ("convnext", {"patch_size": 2}, "patch_size=2: needs images of 32 pixels or more, these have 8"),
        ("convnext", {"width": 12}, "size.width=12: convnext needs a multiple of 8"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(model, options, says):
    size = Size(options.pop("width", 16), 1, 4)
    with pytest.raises(UserError, match=says):
        MODELS.get(model).build(size, **IMAGES | options)


def test_without_timm_there_is_one_clear_line(monkeypatch):
    def missing(name):
        raise ImportError("No module named 'timm'")

    monkeypatch.setattr(images, "import_module", missing)
    with pytest.raises(UserError, match=r"need timm \(No module named 'timm'\): pip install 'weit_rl\[vision\]'"):
        MODELS.get("vit").build(Size(32, 1), **IMAGES)
