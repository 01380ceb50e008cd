"""The inputs and outputs of layers, recorded with one row per token."""

import pytest
import torch
from torch import nn

from weit_rl.fitting import layer_inputs as activations
from weit_rl.fitting.layer_inputs import Record, can_be_fitted, channels, patches, tokens, watched

LAYERS = {
    "linear": (nn.Linear(4, 3), (2, 5, 4)),
    "conv1d": (nn.Conv1d(4, 3, 3, stride=2, padding=1, dilation=2), (2, 4, 11)),
    "conv2d": (nn.Conv2d(4, 3, (2, 3), stride=(1, 2), padding=(0, 1), dilation=(2, 1)), (2, 4, 6, 7)),
    "one place": (nn.Conv2d(4, 3, 5, bias=False), (2, 4, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_output_is_a_weighted_sum_of_its_patches(name):
    layer, shape = LAYERS[name]
    x = torch.randn(shape)
    said = patches(layer, x) @ layer.weight.flatten(1).T + (0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(said, tokens(layer(x), channels(layer)), rtol=1e-4, atol=1e-5)
    assert can_be_fitted(layer)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 4, 3, groups=4), nn.Conv1d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding_mode="circular")],
    ids=str,
)
def test_a_layer_that_is_no_sum_of_patches_is_not_fitted(layer):
    assert not can_be_fitted(layer)


def test_evenly_spaced_tokens_are_taken_from_many(monkeypatch):
    monkeypatch.setattr(activations, "ROWS", 4)
    x = torch.arange(20.0).view(10, 2)
    assert torch.equal(tokens(x), x[::3]) and tokens(x).untyped_storage().nbytes() < x.untyped_storage().nbytes()
    assert torch.equal(tokens(x.T, 0), x[::3]) and torch.equal(tokens(x[:4]), x[:4])


class Turned(nn.Conv1d):
    """Channels last, as policies have them."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def test_layers_are_recorded_as_they_compute_and_may_be_set_before():
    net = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.LayerNorm(4), Turned(4, 3, 2))
    x, order = torch.randn(2, 5, 4), []
    seen = Record(net, lambda net: net(x))
    assert seen.is_read("0") and not seen.is_read("2")
    assert seen.inputs["3"].shape == (10, 4) and seen.outputs["3"].shape == (8, 3)
    assert torch.equal(seen.inputs["1"], seen.outputs["0"]) and torch.equal(seen.inputs["3"], seen.outputs["2"])

    def zero(name, module, _):
        order.append(name)
        nn.init.zeros_(module.weight)
        nn.init.constant_(module.bias, 7)

    with watched(net, ["1", "3"], before=zero):
        assert (net(x) == 7).all() and order == ["1", "3"]
    with watched(net, ["3"], after=lambda name, module, x, y: order.append(x.shape)):
        net(x)
    net(x)
    assert order[2:] == [(2, 4, 5)]
