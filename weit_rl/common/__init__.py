"""Common ground: errors, registries, seeds, sizes, output, and what the process may use."""
