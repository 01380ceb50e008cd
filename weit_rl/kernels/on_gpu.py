from weit_rl.kernels.by_role import compose, gradients
