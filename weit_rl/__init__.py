"""weit_rl: policies of any size from shared Kronecker templates (WeiT, arXiv 2604.14769)."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weit_rl.common.cpu_cores import shorten_spinning
from weit_rl.common.version import VERSION

if TYPE_CHECKING:
    from weit_rl.common.errors import UserError
    from weit_rl.common.sizes import LADDER, Size
    from weit_rl.core.bank import TemplateBank
    from weit_rl.core.composed_network import WeiT
    from weit_rl.core.plan import Plan, Rule

__version__ = VERSION
__all__ = ["LADDER", "Plan", "Rule", "Size", "TemplateBank", "UserError", "WeiT"]

# In a plain checkout envs/, agents/ and configs/ lie beside this folder; a wheel holds them inside.
if (Path(__file__).parents[1] / "pyproject.toml").is_file():
    __path__.append(str(Path(__file__).parents[1]))

shorten_spinning()  # before torch is loaded, here and in the processes that are started

_MODULES = {
    "LADDER": "common.sizes",
    "Plan": "core.plan",
    "Rule": "core.plan",
    "Size": "common.sizes",
    "TemplateBank": "core.bank",
    "UserError": "common.errors",
    "WeiT": "core.composed_network",
}


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use: importing weit_rl loads neither torch nor anything else heavy."""
    if name not in _MODULES:
        raise AttributeError(f"module 'weit_rl' has no attribute {name!r}")
    return getattr(import_module(f"weit_rl.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
