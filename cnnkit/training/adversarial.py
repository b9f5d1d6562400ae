"""Training on the worst images near those of the batch.

Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to adversarial attacks", 2018.
"""

import torch
from torch import Tensor, nn

from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.robustness.gradients import PixelNetwork, pgd, random_start
from cnnkit.training.finetuning import set_training_mode
from cnnkit.training.randomness import derive
from cnnkit.training.step import autocast


class Adversary:
    """Moves the images of a batch, in pixels of [0, 1], to where the network does worst.

    Args:
        network: that is trained.
        recipe: radius, steps, and their size.
        form: how pixels become what the network sees.
        device: where the batches are.
        rank: of this process.
        world: number of processes that share a batch.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        form: Preprocessing,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.recipe, self.rank, self.world = recipe, rank, world
        self._network = PixelNetwork(network, form, device)
        # fp16 loses the gradients of pixels that matter little, and all of them are needed.
        self._precision = "fp32" if recipe.precision == "fp16" else recipe.precision

    def __call__(self, images: Tensor, targets: Tensor, *, together: int, epoch: int, step: int) -> Tensor:
        """Return what the network is to be trained on in place of a batch's images.

        The attack sees the network as it will be used: without dropout, and with the batch statistics so far.

        Args:
            images: normalised, float32 [N, C, H, W]: this process's share of the batch.
            targets: class indices int64 [N], or shares of the classes float32 [N, classes].
            together: images in the batch over all processes.
            epoch, step: which batch it is; where the search begins depends on them and the seed.
        """
        recipe, within, device = self.recipe, self._network, self._network.device
        pixels = images * within.std + within.mean
        source = torch.Generator(device).manual_seed(derive(recipe.seed, epoch, "adversary") + step)
        start = random_start(
            pixels.new_empty(together, *pixels.shape[1:]), epsilon=recipe.adversarial_training, source=source
        )
        within.network.eval()
        with autocast(self._precision, device):
            found = pgd(
                within,
                pixels,
                targets,
                epsilon=recipe.adversarial_training,
                steps=recipe.adversarial_steps,
                step_size=recipe.adversarial_step,
                start=start.tensor_split(self.world)[self.rank],
            )
        set_training_mode(within.network)
        return (found - within.mean) / within.std
