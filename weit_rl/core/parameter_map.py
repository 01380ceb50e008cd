"""Trainable tensors by name, as a module."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from torch import Tensor, nn


class Parameters(nn.Module, Mapping[str, nn.Parameter]):
    """A read-only mapping of names to parameters; unlike ``torch.nn.ParameterDict`` it takes any name.

    Slots and roles are called after a network's own parameters: such names hold dots and may be ``values`` or ``keys``.

    Args:
        tensors: become parameters, in their order.
        frozen: names of those that are not trained.
    """

    __eq__, __hash__ = object.__eq__, object.__hash__  # a module is itself, whatever it holds

    def __init__(self, tensors: Mapping[str, Tensor], frozen: Collection[str] = ()):
        super().__init__()
        # torch lets no dot into a name; the slash in front keeps it from meeting an attribute of the module.
        self._keys = {name: "/" + name.replace(".", "/") for name in tensors}
        for name, tensor in tensors.items():
            self.register_parameter(self._keys[name], nn.Parameter(tensor, requires_grad=name not in frozen))

    def __getitem__(self, name: str) -> nn.Parameter:
        parameter = self._parameters[self._keys[name]]  # get_parameter takes long, and every step asks for all
        assert parameter is not None
        return parameter

    def tie(self, name: str, parameter: nn.Parameter) -> None:
        """Let another module's parameter stand under a name: the two train it together."""
        self.register_parameter(self._keys[name], parameter)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
