"""Make three sizes from one bank: print what each size needs of its own, and its return before any training.

python examples/three_sizes.py            (any option of weit_rl.train, such as bank=PATH data=PATH)
"""

import sys

from weit_rl import Size, TemplateBank
from weit_rl.common.seeds import VALIDATION_SEED
from weit_rl.core.network_from_bank import network_of_size
from weit_rl.options.command import compose
from weit_rl.tasks.control_options import control_task
from weit_rl.workflows.run_setup import bank_network, bank_of, bank_path

config = compose("train", sys.argv[1:])
bank = TemplateBank.load(bank_path(config))
task = control_task(config, tile=bank.card["config"]["tile"])
bank = bank_of(bank, task)  # of several bodies, as the one of this environment
source = bank_network(bank, task)  # the network the bank was pre-trained with
templates = sum(p.numel() for p in bank.templates.values())
print(f"bank: {templates:,} numbers in templates, sampled sizes {', '.join(bank.card['sizes_sampled'])}")

for size in (Size(64, 2), Size(128, 3), Size(192, 4)):
    net = network_of_size(bank, source, task.build(size), task.plan)
    scalers, free = (sum(p.numel() for p in part.values()) for part in (net.scalers, net.free))
    plain = net.materialize()
    weights = sum(p.numel() for p in plain.parameters())
    result = task.evaluate(plain, episodes=2, seed=VALIDATION_SEED)
    print(
        f"{size!s:>6}: {weights:>9,} weights from {scalers:>6,} scalers and {free:>6,} free parameters, "
        f"return after 0 steps {result['return_mean']:,.0f}"
    )
