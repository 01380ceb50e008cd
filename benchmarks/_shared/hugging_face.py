"""Hugging Face's decision transformer as the peer of ours: the same shape and the same weights."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DecisionTransformerConfig, DecisionTransformerModel

from weit_rl import Size
from weit_rl.models import MODELS
from weit_rl.models.decision_transformer import DecisionTransformer

STREAM = {"rtg": "every", "past_actions": True, "positions": "episode"}  # of the original paper and of Hugging Face
MODULES = {  # ours: theirs
    "embed_time": "embed_timestep",
    "embed_observation": "embed_state",
    "embed_return": "embed_return",
    "embed_action": "embed_action",
    "norm_in": "embed_ln",
    "norm_out": "encoder.ln_f",
    "head": "predict_action.0",
}
BLOCK = {
    "norm1": "ln_1",
    "qkv": "attn.c_attn",
    "out": "attn.c_proj",
    "norm2": "ln_2",
    "fc1": "mlp.c_fc",
    "fc2": "mlp.c_proj",
}


def theirs(size: Size, observation_dim: int, action_dim: int, max_steps: int = 1000) -> DecisionTransformerModel:
    """Build their model of a size without dropout, with its own random initialisation."""
    config = DecisionTransformerConfig(
        state_dim=observation_dim,
        act_dim=action_dim,
        max_ep_len=max_steps,
        hidden_size=size.width,
        n_layer=size.depth,
        n_head=size.width // size.head_dim,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    return DecisionTransformerModel(config).eval()


def ours(model: DecisionTransformerModel, context: int = 20, **options: object) -> DecisionTransformer:
    """Build our network with their weights; it predicts the same actions from the same windows."""
    config, weights = model.config, model.state_dict()
    size = Size(config.hidden_size, config.n_layer, config.hidden_size // config.n_head)
    every = {"context": context, "max_steps": config.max_ep_len, **STREAM, **options}
    net = MODELS.get("dt").build(size, config.state_dim, config.act_dim, **every)
    names = dict(MODULES)
    for number in range(size.depth):
        names |= {f"blocks.{number}.{our}": f"encoder.h.{number}.{their}" for our, their in BLOCK.items()}
    state = net.state_dict()
    for our, their in names.items():
        for part in ("weight", "bias"):
            if f"{our}.{part}" in state:
                tensor = weights[f"{their}.{part}"]
                # GPT-2 stores the weights of its linear maps transposed.
                state[f"{our}.{part}"] = tensor.T if part == "weight" and ".h." in their and tensor.ndim > 1 else tensor
    # Their model adds the first row of a position table to every token; the norm's bias does the same.
    state["norm_in.bias"] = state["norm_in.bias"] + weights["encoder.wpe.weight"][0]
    state["return_scale"] = torch.tensor(1.0)
    net.load_state_dict(state)
    return net.eval()


def windows(batch: int, context: int, observation_dim: int, action_dim: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Draw windows in the middle of an episode: observations, actions, returns-to-go, time steps."""
    g = torch.Generator().manual_seed(seed)
    observations = torch.randn(batch, context, observation_dim, generator=g)
    actions = torch.rand(batch, context, action_dim, generator=g) * 2 - 1
    returns = torch.rand(batch, context, generator=g)
    return observations, actions, returns, torch.arange(300, 300 + context).expand(batch, -1).contiguous()


def act(
    model: DecisionTransformerModel, observations: Tensor, actions: Tensor, returns: Tensor, times: Tensor
) -> Tensor:
    """Return their model's action of the last step."""
    seen = torch.ones(observations.shape[:2], dtype=torch.long)
    out = model(
        states=observations,
        actions=actions,
        rewards=None,
        returns_to_go=returns.unsqueeze(-1),
        timesteps=times,
        attention_mask=seen,
        return_dict=False,
    )
    actions_of_all: Tensor = out[1]
    return actions_of_all[:, -1]
