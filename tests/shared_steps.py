"""Run by test_together.py in two processes: steps in float64 of a bank and of a plain network, and what they saw."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from weit_rl.common.process_start import exit_process
from weit_rl.common.sizes import Size
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.data import Trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.storage.tensor_file import write_tensors
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.loop import OptimizerRecipe, fit
from weit_rl.training.pretraining import MaskedLoss

FULL, RECIPE = Size(16, 3, 8), OptimizerRecipe(steps=8, lr=3e-3, save_every=4)


def made_task():
    """Make a task with windows of different lengths, so that the parts of a batch differ in real steps."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(60, 17)).astype(np.float32)
    actions = np.tanh(observations[:, :6] + observations[:, 6:12]).astype(np.float32)
    data = Trajectories(observations, actions, np.ones(60, np.float32), np.arange(0, 61, 3), {})
    task = Control(env_entry("HalfCheetah"), data, ControlConfig(context=4, batch_size=8, tile=8))
    batch = task.batch
    task.batch = lambda step: {k: v.double() if v.is_floating_point() else v for k, v in batch(step).items()}
    return task


def watched(task, facts):
    """Note which actions a process sees, in every step."""
    batch = task.batch

    def noted(step):
        made = batch(step)
        facts.setdefault("seen", []).append(made["actions"].sum((1, 2)).tolist())
        return made

    task.batch = noted


def factors(folder, devices, facts):
    """Pre-train a bank under masks; the profiler counts what its last step sends."""
    task = devices.shard_task(made_task())
    watched(task, facts)
    bank = TemplateBank.from_plan(task.plan, 4, "kronecker", 0).double()
    net = WeiT(task.build(FULL, 0).double(), bank, task.plan, 0)
    masks = SizeSampler([8, 16], [1, 2, 3], FULL)
    facts["sizes"] = [[str(size) for size in masks.draw(step)] for step in range(RECIPE.steps)]
    fit(net, MaskedLoss(net, task, masks), RECIPE, checkpoint=folder / "factors_state.safetensors", devices=devices)
    trained = [p for p in net.parameters() if p.requires_grad]
    facts["factors"], facts["tensors"] = sum(p.numel() for p in trained), len(trained)
    facts["composed"] = sum(w.numel() for w in net.weights().values())
    loss = devices.wrap_loss(net, MaskedLoss(net, task, masks))
    with devices.sharding(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        loss(0).backward()
    facts["sent"] = [[event.name, *event.input_shapes[0]] for event in seen.events() if "gloo" in event.name]
    return net


def plain(folder, devices, facts):
    """Train a plain network, in parts if there are several processes; then again from the state in the middle."""
    task = devices.shard_task(made_task())
    for recipe_end in (4, 8):  # the second part goes on from what the first one wrote
        net = task.build(FULL, 0).double()
        trained = devices.shard_network(net)

        def loss(step, trained=trained):
            return task.loss(trained, task.batch(step))

        fit(trained, loss, RECIPE, checkpoint=folder / "plain_state.safetensors", span=(0, recipe_end), devices=devices)
    if trained is not net:
        facts["part"] = sum(p.to_local().numel() for p in trained.parameters())
    facts["whole"] = sum(p.numel() for p in net.parameters())
    devices.gather(trained, net)
    return net


def run(folder, kinds):
    """Run both kinds of training; write weights and facts to a folder."""
    for kind, devices in kinds.items():
        facts = {}
        net = {"factors": factors, "plain": plain}[kind](folder, devices, facts)
        (folder / f"{kind}{devices.rank}.json").write_text(json.dumps(facts))
        if devices.leads:
            state = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
            write_tensors(folder / f"{kind}.safetensors", state, {})


if __name__ == "__main__":
    from weit_rl.training.ddp_group import DDPGroup
    from weit_rl.training.fsdp_group import FSDPGroup

    torch.set_num_threads(1)
    run(Path(sys.argv[1]), {"factors": DDPGroup("cpu"), "plain": FSDPGroup("cpu")})
    exit_process(0)
