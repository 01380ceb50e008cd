"""Ranks by role: given, and chosen by the spectrum (rank=auto)."""

import os
import signal

import pytest
import torch
from conftest import TINY_PRETRAIN, small_inputs, small_net

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.rank_selection import ranks_of
from weit_rl.core.stacked_weights import stack_weights
from weit_rl.kernels.reference import kronecker_sum as compose
from weit_rl.models import MODELS
from weit_rl.options.command import compose as config
from weit_rl.pretrain import main as pretrain
from weit_rl.training.run_folder import RunFolder

PLAN = MODELS.get("dt").plan(8)


def test_roles_have_the_rank_of_their_spectrum():
    net = small_net().double()
    before, layout = stack_weights(net, PLAN), PLAN.layout(net)
    templates = torch.linalg.qr(torch.randn(64, 40, dtype=torch.float64)).Q.T.view(40, 8, 8)
    after = {key: weight.clone() for key, weight in before.items()}
    wanted = {"qkv": 5, "out": 8, "fc1": 9, "fc2": 40}  # as many equal singular values, and half of them is asked for
    for role, number in wanted.items():
        slot = layout[f"blocks.*.{role}.weight"]
        rows = slot.rule.split * len(slot.names) * slot.grid[0] * slot.grid[1]
        scalers = torch.linalg.qr(torch.randn(rows, min(number, rows), dtype=torch.float64)).Q
        tiles = scalers.view(-1, *slot.grid, scalers.shape[1]).movedim(-1, 1)
        after[slot.name] += compose(tiles, templates[: scalers.shape[1]]).view(slot.full_shape)
    assert ranks_of(before, after, layout, 1.0) == {"qkv": 8, "out": 8, "fc1": 16, "fc2": 32}  # fc2: 32 tiles in all
    assert ranks_of(before, after, layout, 0.5) == {"qkv": 8, "out": 8, "fc1": 8, "fc2": 16}


def test_a_bank_takes_a_rank_for_each_role():
    ranks = {"qkv": 2, "out": 3, "fc1": 4, "fc2": 5}
    bank = TemplateBank.from_plan(PLAN, ranks)
    assert {role: len(templates) for role, templates in bank.templates.items()} == ranks
    assert WeiT(small_net(), bank, PLAN)(*small_inputs()).shape == (3, 4, 2)
    with pytest.raises(UserError, match="rank=0: role 'fc2'"):
        TemplateBank.from_plan(PLAN, {"qkv": 2, "out": 3, "fc1": 4})


@pytest.mark.slow
def test_the_rank_is_chosen_and_a_stopped_run_chooses_the_same(tiny_data, tmp_path, monkeypatch):
    words = [*TINY_PRETRAIN, "rank=auto", "score_sizes=[]", f"data={tiny_data}"]
    card = pretrain(config("pretrain", [*words, f"run_dir={tmp_path / 'whole'}"]))
    whole, log = tmp_path / "whole" / "bank.safetensors", RunFolder.log
    ranks = {role: len(templates) for role, templates in TemplateBank.load(whole).templates.items()}
    assert card["ranks"] == ranks and card["rank_steps"] == 12
    assert len(set(ranks.values())) > 1 and not any(rank % 8 for rank in ranks.values())
    for step in (10, 12, 22):  # in the short training, at its end, in pre-training

        def stop(run, now, values, step=step):
            log(run, now, values)
            if now == step:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(RunFolder, "log", stop)
        with pytest.raises(Interrupted):
            pretrain(config("pretrain", [*words, f"run_dir={tmp_path / str(step)}"]))
        monkeypatch.setattr(RunFolder, "log", log)
        pretrain(config("pretrain", [f"resume={tmp_path / str(step)}"]))
        assert (tmp_path / str(step) / "bank.safetensors").read_bytes() == whole.read_bytes()
