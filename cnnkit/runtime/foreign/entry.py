"""What the first operations of an ONNX graph say of its images."""

from dataclasses import dataclass

from cnnkit.runtime.foreign.traces import Met
from cnnkit.runtime.foreign.wiring import Values


@dataclass
class Entry:
    """What the first operations of a graph say of its images [N, ?, ?, ?].

    Attributes:
        channel_axis: of the input, where an operation shows it.
        channels: that the first weights take.
        features: values of an image, where the first weights take all of them at once.
        scale, shift: `scale * x + shift` is what the graph makes of each channel before its first weights, in the
            order that they have then.
        scales: the graph does so.
        reversed: the graph turns the order of the channels round, before it shifts them.
        normalises: it brings every image to a mean and deviation of its own.
        met: the values that it was trained on, where its first batch normalisation shows them.
        faint: its first weights are so small that it takes values far above 1.
    """

    channel_axis: int | None = None
    channels: int | None = None
    features: int | None = None
    scale: Values | None = None
    shift: Values | None = None
    reversed: bool = False
    normalises: bool = False
    met: Met | None = None
    faint: bool = False

    @property
    def scales(self) -> bool:
        """Whether the values change before the first weights."""
        return self.scale is not None

    @property
    def middle(self) -> Values | None:
        """The value of each channel that becomes zero, in the order of the input; None where none is shifted."""
        if self.scale is None or self.shift is None or not self.shift.any():
            return None
        middle = -self.shift / self.scale
        return middle[::-1] if self.reversed else middle
