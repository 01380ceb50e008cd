from weit_rl.kernels.by_group import compose, gradients
