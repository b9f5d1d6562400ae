"""The registered networks with their zoo entries."""

from cnnkit import registry, zoo
from cnnkit.sources.results import ModelInfo, ZooInfo


def list_models() -> list[ModelInfo]:
    """Return the registered networks and their zoo entries.

    >>> import cnnkit
    >>> [model.parameters for model in cnnkit.list_models() if model.name == "lenet"]
    [61706]
    """
    found = []
    for spec in registry.models().values():
        entries = [entry for entry in zoo.entries().values() if entry.model == spec.name]
        found.append(
            ModelInfo(
                name=spec.name,
                input_shape=spec.input_shape,
                parameters=spec.parameters,
                dataset=spec.recipe.data,
                reference_accuracy=spec.reference_accuracy,
                source=spec.source,
                zoo=tuple(ZooInfo(entry.name, entry.dataset, entry.accuracy, entry.test_images) for entry in entries),
            )
        )
    return found
