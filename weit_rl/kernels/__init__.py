"""The composition as an operation on tensors; one file per implementation."""
