"""Composition of weights from scalers and templates, ``W[b] = sum_n kron(S[b, n], T[n])``, as one PyTorch operator.

Start with :mod:`weit_rl.kernels.operator`: it defines ``weit_rl::compose`` and picks a backend by device.

- The operator: ``operator``, ``operator_autograd`` (derivatives), ``operator_flops`` (cost).
- The reference backend: ``reference``, plain PyTorch, for any device and for function transforms.
- The CPU backend: ``cpu_chunked``, with ``cpu_chunked_products`` and ``cpu_chunked_pieces``.
- The NVIDIA backend: ``triton``, with ``triton_kernels``, ``triton_constants`` and ``triton_tables``. ``gpu_backend``
  picks it for a GPU on which it works.
- What the backends share: ``entry_groups`` (entries of one shape) and ``tiling`` (tiles in memory).
"""
