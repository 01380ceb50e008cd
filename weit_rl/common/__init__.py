"""Code that all other folders use: errors, registries, seeds, sizes, output, CPU cores and process environment."""
