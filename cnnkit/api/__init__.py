"""The same from Python as from the command line; `cnnkit` re-exports these names.

Each is loaded from its module when first asked for: `predict` needs one of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit.api.reporting import report as report
    from cnnkit.api.reporting import report_steps as report_steps
    from cnnkit.api.serving import serve as serve
    from cnnkit.api.serving import served_models as served_models
    from cnnkit.api.training import create_model as create_model
    from cnnkit.api.training import default_recipe as default_recipe
    from cnnkit.api.training import recipe_over as recipe_over
    from cnnkit.api.training import run_recipe as run_recipe
    from cnnkit.api.training import train as train
    from cnnkit.api.training import train_events as train_events

_HOMES = {
    "reporting": ("report", "report_steps"),
    "serving": ("serve", "served_models"),
    "training": ("create_model", "default_recipe", "recipe_over", "run_recipe", "train", "train_events"),
}


def __getattr__(name: str) -> Any:
    import importlib

    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'cnnkit.api' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cnnkit.api.{home}"), name)
