"""SVD (FINE) and Tucker (SWEET): exact in closed form, trainable, tied to one width, cropped and repeated."""

import pytest
import torch
from conftest import small_inputs, small_net

from weit_rl.common.errors import UserError
from weit_rl.core.bank import TemplateBank
from weit_rl.core.composed_network import WeiT
from weit_rl.core.constraints import CONSTRAINTS
from weit_rl.core.constraints.kronecker import Kronecker
from weit_rl.core.constraints.svd import sides
from weit_rl.core.network_from_bank import candidate_starts, network_of_size
from weit_rl.core.plan import Rule, Slot
from weit_rl.models import MODELS

FAMILY = ["svd", "tucker"]
PLAN = MODELS.get("dt").plan(8)
SIZE = {"width": 16, "depth": 2}


def slot_of(shape, tile, layers, split=1):
    rule = Rule("w", "w", tile, split, ("a",) * len(shape))
    return Slot("w", rule, tuple(f"w{i}" for i in range(layers)), shape, True)


def by_svd(stack):
    """Represent each matrix of the stack by its own part of one basis: U and V side by side, s[l] zero elsewhere."""
    u, s, vt = torch.linalg.svd(stack, full_matrices=False)
    shared = torch.cat([torch.cat([ul.T, vl], dim=1) for ul, vl in zip(u, vt, strict=True)])
    return shared, torch.block_diag(*s[:, None])


def by_hosvd(stack):
    """Return the left singular vectors of the three unfoldings and the core, padded with zeros to one rank."""
    layers, p, q = stack.shape
    rank = max(stack.shape)
    unfoldings = stack.flatten(1), stack.transpose(0, 1).flatten(1), stack.permute(2, 0, 1).flatten(1)
    c, a, b = (torch.linalg.svd(x, full_matrices=False).U for x in unfoldings)
    core = torch.zeros(rank, rank, rank, dtype=stack.dtype)
    core[: c.shape[1], : a.shape[1], : b.shape[1]] = torch.einsum("lpq,ln,pa,qb->nab", stack, c, a, b)
    own = torch.zeros(layers, rank, dtype=stack.dtype)
    own[:, : c.shape[1]] = c
    maps = torch.zeros(rank, p + q, dtype=stack.dtype)
    maps[: a.shape[1], :p], maps[: b.shape[1], p:] = a.T, b.T
    return torch.cat([core.flatten(1), maps], dim=1), own


@pytest.mark.parametrize(("name", "factorise"), [("svd", by_svd), ("tucker", by_hosvd)])
@pytest.mark.parametrize(("shape", "split"), [((6, 5), 1), ((12, 4), 3), ((3, 7), 1), ((4, 2, 3, 3), 1)])
def test_full_rank_is_any_stack_exactly(name, factorise, shape, split):
    part = (shape[0] // split, *shape[1:])
    slot, weights = slot_of(shape, part, 3, split), torch.randn(3, split, *part, dtype=torch.float64)
    shared, own = factorise(weights.reshape(3 * split, *sides(part)))
    own = own.reshape(3, split, -1, *[1] * len(part))
    full = CONSTRAINTS.get(name).compose(own, shared, slot)
    torch.testing.assert_close(full, weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(("shape", "tile"), [((7, 5), (4, 2)), ((9,), (4,)), ((4, 3, 2, 2), (4, 3, 2, 2))])
def test_it_is_the_kronecker_form_of_its_templates_with_gradients_to_both_factors(name, shape, tile):
    constraint, slot, generator = CONSTRAINTS.get(name), slot_of(shape, tile, 2), torch.Generator().manual_seed(0)
    shared = constraint.shared(3, tile, 1.0, generator).double().requires_grad_()
    own = constraint.own(slot, shared, torch.randn(slot.full_shape).double(), generator).detach().requires_grad_()
    full = constraint.compose(own, shared, slot)
    expected = Kronecker().compose(own, constraint.templates(shared, tile), slot)
    torch.testing.assert_close(full, expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda s, t: constraint.compose(s, t, slot), (own, shared))
    for grad in torch.autograd.grad(full.square().sum(), (own, shared)):
        assert (grad != 0).all()


@pytest.mark.parametrize("name", FAMILY)
def test_weights_that_start_at_zero_do(name):
    constraint, slot, generator = CONSTRAINTS.get(name), slot_of((8, 6), (8, 6), 2), torch.Generator().manual_seed(0)
    own = constraint.own(slot, constraint.shared(4, (8, 6), 0.02, generator), torch.zeros(slot.full_shape), generator)
    assert not own.any()


# --- whole weights: a bank of one width


@pytest.fixture(params=FAMILY)
def bank(request):
    """Return a bank whose tiles are the whole weights of a 16 x 2 network, which also sampled width 8."""
    plan = PLAN.whole(small_net(**SIZE))
    bank = TemplateBank.from_plan(plan, 5, request.param)
    bank.source = {f"own.{k}": v.detach() for k, v in WeiT(small_net(**SIZE), bank, plan).own().items()}
    bank.card |= {"size": [16, 2, 8], "sizes_sampled": ["8x2", "16x2"]}
    return bank


def of_size(bank, **size):
    return network_of_size(bank, small_net(**SIZE), small_net(seed=3, **size), PLAN.with_tiles(bank.tiles))


def test_a_layer_s_own_factors_are_one_vector_and_the_file_knows_the_tiles(bank, tmp_path):
    net = of_size(bank, **SIZE)
    assert {key: tuple(own.shape) for key, own in net.scalers.items()} == {
        f"blocks.*.{name}.weight": (2, 3 if name == "qkv" else 1, 5, 1, 1) for name in ("qkv", "out", "fc1", "fc2")
    }
    again = TemplateBank.load(bank.save(tmp_path / "bank.safetensors"))
    assert again.tiles == bank.tiles == {"qkv": (16, 16), "out": (16, 16), "fc1": (64, 16), "fc2": (16, 64)}
    assert torch.equal(of_size(again, **SIZE)(*small_inputs()), net(*small_inputs()))
    with pytest.raises(UserError, match="tiles are 16x16, the plan asks for 8x8"):
        WeiT(small_net(**SIZE), bank, PLAN)


def test_narrower_is_the_first_rows_of_the_maps(bank):
    full, narrow = of_size(bank, **SIZE).compose(), of_size(bank, width=8, depth=2).compose()
    assert torch.equal(narrow["blocks.1.fc1.weight"], full["blocks.1.fc1.weight"][:32, :8])
    for part in range(3):
        rows = slice(16 * part, 16 * part + 8)
        torch.testing.assert_close(
            narrow["blocks.0.qkv.weight"][8 * part : 8 * part + 8], full["blocks.0.qkv.weight"][rows, :8]
        )


def test_a_multiple_of_the_width_keeps_the_function_and_nothing_between_can_be_made(bank):
    full, wide = of_size(bank, **SIZE), of_size(bank, width=48, depth=2)
    torch.testing.assert_close(wide(*small_inputs()), full(*small_inputs()), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match=r"24 entries along axis 1 do not divide into tiles of 16"):
        of_size(bank, width=24, depth=2)
    plan = PLAN.with_tiles(bank.tiles)  # the sampled width of 8 is part of a tile: no way to wider ones
    assert len(candidate_starts(bank, small_net(**SIZE), small_net(width=32, depth=3), plan)) == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [(["constraint=svd", "score_sizes=[32x1, 96x1]"], "score_sizes: 96x1 cannot be made of 64x2: "),
     (["constraint=svd", "rank=auto"], "rank=auto: chooses templates of constraint=kronecker, not svd"),
     (["rank=many"], "rank=many: must be an integer or auto"), (["rank=-1"], "rank=-1: must be 1 or more")],
)  # fmt: skip
def test_pretraining_refuses_what_would_fail_in_the_end(refused, words, more, says):
    assert says in refused("pretrain", *words["pretrain"], *more)
