"""Routes: overlaps by hand, chance exactly, and the route of one image."""

import pytest
import torch
from cutnets import lived, some

from wlib import mda
from wlib.core import nets
from wlib.mda import routes


def test_overlap_by_hand():
    a = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    found = routes.routes({"fc": a})["fc"]
    assert found.tolist() == [pytest.approx(row) for row in (
        [1, 1 / 4, 1, 0], [1 / 4, 1, 1 / 4, 0], [1, 1 / 4, 1, 0], [0, 0, 0, 1])]
    assert routes.jaccard(a[0], ~a[0]) == 0
    with pytest.raises(ValueError, match="masks"):
        routes.jaccard(a, a[:, :2])


@pytest.mark.parametrize(("a", "b", "n"), [(5, 8, 20), (12, 15, 20), (1, 1, 4), (0, 3, 5)])
def test_chance_is_the_mean_of_random_masks(a, b, n):
    masks = torch.zeros(2, n, dtype=torch.bool)
    masks[0, :a] = masks[1, :b] = True
    expected = routes.chance({"fc": masks})["fc"][0, 1].item()
    g = torch.Generator().manual_seed(0)
    ranks = torch.rand(2, 4000, n, generator=g).argsort(2)
    drawn = routes.jaccard(ranks[0] < a, ranks[1] < b)
    assert drawn.mean().item() == pytest.approx(expected, abs=4 * drawn.std().item() / 63 + 1e-9)
    if a > 1:
        assert expected == pytest.approx(a * b / n / (a + b - a * b / n), abs=0.05)


def test_the_route_of_one_image_is_that_of_a_class_with_one_image():
    net = lived(nets.build("lenet", classes=3))
    x, y = some(3, 1, (1, 28, 28))
    by_image, by_class = routes.of_images(net, x, y), mda.masks(mda.contributions(net, x, y))
    for name in by_class:
        assert torch.equal(by_image[name], by_class[name])
    graph = routes.of_images(net, x[:2], net(x[:2]).argmax(1), mode="graph", strict=False)
    assert graph["conv2"].shape == (2, 6)
