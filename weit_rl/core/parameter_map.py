"""A module that maps names to trainable tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from torch import Tensor, nn


class Parameters(nn.Module, Mapping[str, nn.Parameter]):
    """A read-only mapping of names to parameters; unlike ``torch.nn.ParameterDict`` it takes any name.

    Slots and roles are named after a network's own parameters. Such names contain dots, and may be ``values`` or
    ``keys``.

    Args:
        tensors: become parameters, in their order.
        frozen: names of parameters that are not trained (default: none).
    """

    __eq__, __hash__ = object.__eq__, object.__hash__  # modules compare by identity, mappings would by content

    def __init__(self, tensors: Mapping[str, Tensor], frozen: Collection[str] = ()):
        super().__init__()
        # torch allows no dots in names; the slash in front avoids the names of the module's attributes.
        self._keys = {name: "/" + name.replace(".", "/") for name in tensors}
        for name, tensor in tensors.items():
            self.register_parameter(self._keys[name], nn.Parameter(tensor, requires_grad=name not in frozen))

    def __getitem__(self, name: str) -> nn.Parameter:
        parameter = self._parameters[self._keys[name]]  # get_parameter is slow, and every step reads all
        assert parameter is not None
        return parameter

    def tie(self, name: str, parameter: nn.Parameter) -> None:
        """Register another module's parameter under a name, so that both modules train it."""
        self.register_parameter(self._keys[name], parameter)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
