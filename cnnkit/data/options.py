"""What is asked of a data set: which images, how they are divided, and how they get a network's form. No PyTorch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cnnkit.data.places import remembered
from cnnkit.data.splits import SplitName, split_named
from cnnkit.files import expanded
from cnnkit.images import Interpolation


@dataclass(frozen=True)
class DataOptions:
    """Which images a command uses, how they are divided, and how they get a network's form.

    Attributes:
        data: name of a data set, or path of an image folder.
        data_dir: where to look for the files of data sets first.
        normalisation: see `Recipe`, as of all others.
    """

    data: str
    data_dir: Path | None = None
    split_by: Literal["content", "path"] = "content"
    split_seed: int = 0
    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    skip_damaged: bool = False
    fit: Literal["auto", "contain", "cover", "stretch"] = "auto"
    crop_fraction: float | None = None
    interpolation: Literal["auto"] | Interpolation = "auto"
    normalisation: Literal["unit", "standard", "weights"] = "unit"


@dataclass(frozen=True)
class Choice:
    """Which images a network is measured on.

    Attributes:
        data: name of a data set, or path of an image folder; None for what the network was trained on.
        split: of it; None for the one that suits (see `cnnkit.evaluation.images.load_for`).
        data_dir: where to look for the files of data sets first.
        skip_damaged: leave out files that cannot be decoded.
    """

    data: str | None = None
    split: SplitName | None = None
    data_dir: Path | None = None
    skip_damaged: bool = False

    @classmethod
    def of(
        cls,
        data: str | None = None,
        split: str | None = None,
        data_dir: str | Path | None = None,
        *,
        skip_damaged: bool = False,
    ) -> "Choice":
        """Return what options say.

        Raises:
            UsageError: there is no such split.
        """
        return cls(data, split_named(split), expanded(data_dir), skip_damaged)

    def near(self, run: Path | None) -> "Choice":
        """Return the choice with the data folder that a run remembers, where none was named."""
        return replace(self, data_dir=self.data_dir or remembered(run))
