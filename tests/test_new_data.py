"""Data that a bank was not trained on: how they are known, what is trained, and a bank that is of no use."""

import pytest
import torch
from conftest import TINY

from weit_rl.core.network_from_bank import start_loss
from weit_rl.initializers import INITIALIZERS
from weit_rl.initializers._shared.new_data import fitted_loss, is_new_to
from weit_rl.initializers._shared.stage_rates import FREE_LR
from weit_rl.options.command import compose
from weit_rl.train import main as train
from weit_rl.workflows.train_run import TrainRun

WORDS = ["bank=HalfCheetah", "model=mlp", "size=64x2"]  # the bank was made of data=expert


def stage(run, **options):
    """Run the initialiser's stage without training; return what it would train, and its remarks."""
    trained, remarks = [], []

    def fit(module, loss, recipe, groups=None):
        trained.append((module, recipe.lr, groups))
        return module

    context = run.context(fit)
    context.remark = remarks.append
    make = INITIALIZERS.get("weit").make
    run.net.load_state_dict(make(run.setup.source, run.net, context, **options))
    return trained[0], remarks


@pytest.mark.parametrize(
    ("env", "data", "new"),
    [("HalfCheetah", "expert", False), ("HalfCheetah", "medium", True), ("HalfCheetah", "random", True)],
)
@pytest.mark.parametrize("model", ["mlp", "dt"])
def test_the_data_say_whether_the_bank_was_trained_on_them(env, data, new, model):
    for count in (1, 10):
        words = [*WORDS, f"env={env}", f"data={data}", f"model={model}", f"data_episodes={count}"]
        run = TrainRun(compose("train", words))
        assert is_new_to(run.setup.source.net, run.net, run.context(lambda module, *_: module)) == new


def test_a_fitted_head_leaves_the_network_as_it_was():
    run = TrainRun(compose("train", [*WORDS, "data=medium"]))
    context, net = run.context(lambda module, *_: module), run.setup.source.net
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert fitted_loss(net, context) < start_loss(net, context.loss)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_data_of_the_bank_train_scalers_and_new_data_all_weights():
    (net, _, groups), remarks = stage(TrainRun(compose("train", [*WORDS, "data=expert"])))
    assert len(groups) == 2 and hasattr(net, "scalers") and not remarks
    (net, lr, groups), remarks = stage(TrainRun(compose("train", [*WORDS, "data=medium"])))
    assert groups is None and not hasattr(net, "scalers") and lr == FREE_LR
    assert len(remarks) == 1 and remarks[0].endswith("trains all weights of the source's network")


def test_a_stage_that_is_asked_for_needs_no_decision():
    (_, _, groups), remarks = stage(TrainRun(compose("train", [*WORDS, "data=medium"])), stage="scalers")
    assert len(groups) == 2 and not remarks


def test_a_bank_that_is_worth_nothing_is_left_for_a_fresh_network():
    run = TrainRun(compose("train", [*WORDS, "data=medium"]))
    source, fresh = run.setup.source, {name: tensor.clone() for name, tensor in run.net.state_dict().items()}
    for part in (source.net.state_dict(), source.bank.source):
        for name, tensor in part.items():
            if "embed_observation" in name:  # the network sees nothing any more
                tensor.zero_()
    (net, _, _), remarks = stage(run)
    assert remarks[0].endswith("trains all weights of a fresh network, as init=scratch does")
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in net.state_dict().items())


def test_a_run_prints_what_it_chose(tmp_path, capsys):
    more = ["scaler_steps=2", "train_steps=0", f"run_dir={tmp_path / 'run'}"]
    train(compose("train", [*TINY, *WORDS, "data=medium", *more]))
    assert capsys.readouterr().out.count("the source was not trained on these data") == 1
