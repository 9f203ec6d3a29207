"""Small image sets and networks that several test files share."""

import torch
from hypothesis import HealthCheck, settings
from torch import nn

from wlib.data import ImageSet

# Few and repeatable examples, no stop-watch: the machine may be busy.
few = settings(max_examples=15, deadline=None, derandomize=True, database=None,
               suppress_health_check=[HealthCheck.too_slow])


def images(count=24, classes=3, size=8, channels=1, seed=0):
    """Random images in which the brightness of the rows tells the class."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    pixels = torch.rand(count, channels, size, size, generator=g) * 0.5
    for k in range(classes):
        pixels[labels == k, :, k * size // classes:(k + 1) * size // classes] += 0.5
    return ImageSet((pixels * 255).to(torch.uint8), labels, tuple(f"c{k}" for k in range(classes)))


class Own(nn.Module):
    """A network that this project did not write: BatchNorm, a head declared first, a gain."""

    def __init__(self, classes=3, gain=1.0):
        super().__init__()
        self.head = nn.Linear(4, classes)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.gain = gain

    def forward(self, x):
        return self.head(self.gain * self.norm(self.conv(x)).relu().mean((2, 3)))


def lived(net, seed=0):
    """The network with running statistics and weights unlike a fresh one's."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor += 0.1 * torch.rand(tensor.shape, generator=g)
            else:
                tensor += seed + 1
    return net.eval()


def universe():
    """A universe of part III with two-way episodes, small enough for a unit test."""
    from wlib.free import pipeline  # here: most files that share this one need no teachers

    sizes = pipeline.Sizes(samples=9, held=1, ways=2, shots=(1, 5), queries=3, choosing=2,
                           episodes=3)
    return pipeline.universe(["glyphs"], sizes)


def teachers_of(world):
    """Four tiny teachers of a universe."""
    from wlib.free import teachers

    settings = teachers.Training(ways=2, width=4, epochs=1)
    return teachers.trained(world.fit, settings, count=4, device="cpu")
