"""Random networks of operations that move, mix and resize images, and their receptive fields by gradients.

`graph_of` draws a network from a random number generator; `measured` finds for each of its layers the largest extent in
the input that one place of the layer's output depends on, by one gradient for each place. Nothing here knows cnnkit.
"""

from collections.abc import Callable, Sequence
from random import Random

import torch
from random_operations import LARGEST, MOST_CHANNELS, OPERATIONS, Do, MaxPool
from torch import Tensor, nn

JOINS: dict[str, Callable[..., Tensor]] = {
    "sum": lambda a, b: a + b,
    "product": lambda a, b: (a + 1) * (b + 1),
    "channels": lambda a, b: torch.cat([a, b], 1),
    "rows": lambda a, b: torch.cat([a, b], 2),
    "stacked": lambda a, b: torch.stack([a, b], 2).flatten(1, 2),
}


class Graph(nn.Module):
    """Layers that each take the results of earlier ones.

    Attributes:
        layers: as many as there are `sources`.
        sources: of each layer, numbers of results; 0 is the input.
        names: what each does.
    """

    def __init__(self, layers: Sequence[nn.Module], sources: Sequence[Sequence[int]], names: Sequence[str]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.sources = sources
        self.names = names

    def results(self, image: Tensor) -> list[Tensor]:
        """Return the input and the results of all layers."""
        found = [image]
        for layer, places in zip(self.layers, self.sources, strict=True):
            found.append(layer(*(found[place] for place in places)))
        return found

    def forward(self, image: Tensor) -> Tensor:
        """Return the last result."""
        return self.results(image)[-1]


def graph_of(rng: Random, first: str | None = None, count: int = 6) -> tuple[Graph, tuple[int, int, int]]:
    """Draw a network and the shape of its input, C×H×W; `first` is an operation that it has after a convolution."""
    shape = (rng.randint(1, 3), rng.randint(5, 12), rng.randint(5, 12))
    image = torch.rand(1, *shape, dtype=torch.float64)
    graph = Graph([], [], [])
    results = [image]
    wanted = [first] if first else []
    if wanted:
        wanted.insert(0, "conv")
    for _ in range(40):
        if len(graph.layers) == count:
            break
        place = len(results) - 1 if wanted else rng.randint(max(0, len(results) - 3), len(results) - 1)
        others = [i for i, r in enumerate(results) if i != place and r.shape == results[place].shape]
        if others and not wanted and rng.random() < 0.5:
            name = rng.choice(sorted(JOINS))
            layer: nn.Module = Do(JOINS[name])
            sources = [place, rng.choice(others)]
        else:
            name, sources = wanted[0] if wanted else rng.choice(sorted(OPERATIONS)), [place]
            try:
                layer = OPERATIONS[name](rng, results[place].shape)
            except (ValueError, IndexError):
                continue
        _prepare(layer)
        try:
            made = layer(*(results[place] for place in sources))
        except (RuntimeError, ValueError):  # not for such a shape
            continue
        if made.dim() != 4 or not made.numel() or max(made.shape[2:]) > LARGEST or made.shape[1] > MOST_CHANNELS:
            continue
        wanted = wanted[1:]
        results.append(made)
        graph = Graph([*graph.layers, layer], [*graph.sources, sources], [*graph.names, name])
    return graph, shape


def _prepare(layer: nn.Module) -> None:
    """Give it weights that are positive, so that nothing cancels out."""
    layer.to(torch.float64).eval()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)


def measured(graph: Graph, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the receptive fields of all layers, by gradients: height and width; nothing of one without any."""
    with torch.no_grad():
        sizes = [result[0, 0].numel() for result in graph.results(torch.rand(1, *shape, dtype=torch.float64))]
    # One image for each place of the largest result: then a single backward pass has the gradients of all places.
    image = torch.rand(1, *shape, dtype=torch.float64).repeat(max(sizes), 1, 1, 1).requires_grad_()
    layers = [layer for layer in graph.modules() if isinstance(layer, MaxPool)]
    for layer in layers:
        layer.measured = True
    found = []
    for result in graph.results(image)[1:]:
        places = result.flatten(2)
        weights = torch.rand(places.shape[1], dtype=torch.float64) + 0.5
        count = places.shape[2]
        chosen = (places[range(count), :, range(count)] * weights).sum()
        (gradient,) = torch.autograd.grad(chosen, image, retain_graph=True, allow_unused=True)
        field = extent(gradient != 0) if gradient is not None else ()
        found.append(field)
    for layer in layers:
        layer.measured = False
    return found


def extent(touched: Tensor) -> tuple[int, ...]:
    """Return the largest height and width that is touched in images [N, C, H, W]; nothing where none is."""
    found = []
    for dims in ((1, 3), (1, 2)):
        lines = touched.any(dims[1]).any(dims[0]).long()
        first, last = lines.argmax(1), lines.shape[1] - lines.flip(1).argmax(1)
        found.append(int((last - first)[lines.any(1)].max()) if lines.any() else 0)
    return tuple(found) if all(found) else ()
