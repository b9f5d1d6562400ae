"""What can be named: the registered networks with their zoo entries, and the data sets."""

from pathlib import Path

from cnnkit import datasets, registry, zoo
from cnnkit.arguments import DataDir
from cnnkit.results import DatasetInfo, ModelInfo, ZooInfo


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


def list_datasets(data_dir: DataDir = None) -> list[DatasetInfo]:
    """Return the data sets by name, and where their files are.

    >>> import cnnkit
    >>> [data.present for data in cnnkit.list_datasets() if data.name == "shapes"]
    [True]
    """
    found = []
    for spec in datasets.DATASETS.values():
        where = datasets.locate(spec, None if data_dir is None else Path(data_dir).expanduser())
        ways = {
            "drawn": "drawn by cnnkit",
            "cache": "in the cache folder" if where.present else "downloads on first use",
            "--data-dir": "under --data-dir" if where.present else "not under --data-dir",
            "$CNNKIT_DATA": "under $CNNKIT_DATA" if where.present else "not under $CNNKIT_DATA",
        }
        found.append(
            DatasetInfo(
                name=spec.name,
                classes=len(spec.classes),
                image_shape=spec.image_shape,
                train=spec.train,
                test=spec.test,
                folder=where.folder,
                present=where.present,
                how_to_get=ways[where.origin],
            )
        )
    return found
