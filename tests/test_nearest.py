"""The nearest support image as a learner: sure where classes look alike, else at chance."""

import numpy as np
import pytest
import torch

from wlib.data import ImageSet, episodes
from wlib.data.nearest import few_shot


@pytest.fixture(scope="module")
def stripes():
    """Three classes of 4×4 images: a bright row of their own, and a faint speck somewhere."""
    images = torch.zeros(60, 1, 4, 4, dtype=torch.uint8)
    labels = torch.arange(60) % 3
    images[torch.arange(60), 0, labels] = 200
    images[torch.arange(60), 0, 3, torch.arange(60) % 4] = 1 + torch.arange(60, dtype=torch.uint8)
    return ImageSet(images, labels, ("a", "b", "c"))


def test_images_that_look_alike_by_class_are_all_named(stripes):
    for shots in (1, 3):
        assert few_shot(stripes, lambda x: x, ways=3, shots=shots, queries=4, count=5, seed=0) == 1


def test_features_that_say_nothing_name_the_first_class(stripes):
    found = few_shot(stripes, lambda x: np.ones((len(x), 2)), ways=3, queries=4, count=5, seed=0)
    assert found == pytest.approx(1 / 3)


def test_it_is_the_nearest_by_cosine_whatever_the_length(stripes):
    def bare(x):                                    # the three rows, some made long
        return x[:, :12] * (1 + np.arange(len(x)))[:, None]
    assert few_shot(stripes, bare, ways=3, queries=4, count=5, seed=1) == 1


def test_a_second_implementation_agrees(stripes):
    weights = np.random.default_rng(0).normal(size=(16, 2))
    speckled = torch.randint(0, 256, stripes.images.shape, dtype=torch.uint8)
    speckled = ImageSet(speckled, stripes.labels, stripes.classes)
    right = []
    for task in episodes(speckled, ways=3, shots=2, queries=4, count=6, seed=3):
        a, b = (part.floats().flatten(1).numpy() @ weights for part in (task.support, task.query))
        for row, label in zip(b, task.query.labels.tolist(), strict=True):
            cosines = [row @ other / np.linalg.norm(other) for other in a]
            right.append(task.support.labels[int(np.argmax(cosines))].item() == label)
    found = few_shot(speckled, lambda x: x @ weights, ways=3, shots=2, queries=4, count=6, seed=3)
    assert found == pytest.approx(np.mean(right)) and 0 < found < 1


def test_too_few_classes_are_refused(stripes):
    with pytest.raises(ValueError, match="ways"):
        few_shot(stripes, lambda x: x, ways=5, count=1, seed=0)
