"""From a zoo to networks for unseen data sets, end to end at the smallest size."""

import pytest
import torch

from wlib import seeds
from wlib.d2nwg import backbones, condition, heads, pipeline, zoo
from wlib.d2nwg.pipeline import Design
from wlib.d2nwg.training import Training
from wlib.data import universes
from wlib.data.universes import Counts

COUNTS = Counts(4, 4, 2, 2)


@pytest.fixture(scope="module")
def support():
    return torch.randn(12, 3, 4, 5, generator=seeds.generator(1))      # (n, K, S, d)


def test_worlds_share_no_image_and_no_face():
    world = pipeline.of_styles(3, 2, 2, counts=COUNTS)
    assert [len(part) for part in world] == [3, 2, 2]
    universes.require_disjoint(sum(world, []))
    faces = [{f for s in part for f in s.spec["faces"]} for part in world]
    assert not (faces[0] & faces[1] or faces[0] & faces[2] or faces[1] & faces[2])
    letters = pipeline.of_characters(3, 2, 2, ways=5, counts=COUNTS)
    drawn = [set("".join(s.spec["characters"] for s in part)) for part in letters]
    assert not (drawn[0] & drawn[1] or drawn[0] & drawn[2] or drawn[1] & drawn[2])
    assert all(len(s.classes) == 5 for part in letters for s in part)


def test_other_seeds_are_other_images():
    one, two = (pipeline.of_styles(1, 1, 1, counts=COUNTS, seed=s) for s in (0, 1))
    assert not torch.equal(one.train[0].train.images, two.train[0].train.images)


def test_support_looks_at_support_alone(monkeypatch):
    monkeypatch.setattr(backbones, "glyph_backbone", lambda **_: torch.nn.Flatten())
    world = pipeline.of_styles(1, 2, 1, counts=COUNTS)
    support = pipeline.support(world.unseen, 3)
    assert support.shape == (2, 10, 3, 784)
    known = {i.numpy().tobytes() for s in world.unseen
             for i in s.support.floats().flatten(1)}
    assert all(row.numpy().tobytes() in known for row in support.flatten(0, 2))
    with pytest.raises(ValueError, match="part"):
        pipeline.support(world.unseen, 1, part="test")


def test_components_have_unit_spread_and_keep_what_differs(support):
    encoder = condition.Components.fit(support, 4)
    z = encoder(support)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(4))
    torch.testing.assert_close(z.T @ z / 12, torch.eye(4), atol=1e-5, rtol=0)
    full = condition.Components.fit(support, 11)(support)
    far = torch.cdist(condition.concatenated(support), condition.concatenated(support))
    spread = torch.linalg.svdvals(condition.concatenated(support)
                                  - condition.concatenated(support).mean(0))[:11] / 12 ** 0.5
    torch.testing.assert_close(torch.cdist(full * spread, full * spread), far, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="size"):
        condition.Components.fit(support, 12)


def test_a_generator_follows_a_linear_map(support):
    """Weights that are a linear function of the condition come out for new conditions too."""
    encoder = condition.Components.fit(support, 2)
    weights = encoder(support) @ torch.randn(2, 30, generator=seeds.generator(2))
    made = pipeline.learn(
        weights, support, Design(size=2, encoder=encoder),
        Training(steps=800, shots=None, width=64), device="cpu")
    near = made.sample(support, 20, device="cpu").mean(1)
    wrong = made.sample(support.roll(1, 0), 20, device="cpu").mean(1)
    assert near.shape == (12, 30)
    # A twelve-point zoo is learned, not only its mean: half of the spread is explained.
    assert (near - weights).norm() < 0.5 * weights.norm() < (wrong - weights).norm()
    torch.testing.assert_close(made.reconstruct(weights), weights, atol=1e-4, rtol=1e-4)


def test_a_second_network_of_a_data_set_changes_no_condition(support):
    weights = torch.randn(24, 9, generator=seeds.generator(5))
    training = Training(steps=2, shots=2, width=16)
    one, two = (pipeline.learn(weights[::k], support.repeat_interleave(3 - k, 0), None, training,
                               device="cpu").diffusion.encoder for k in (2, 1))
    torch.testing.assert_close(one(support).abs(), two(support).abs(), atol=1e-4, rtol=1e-4)


def test_heads_are_made_row_by_row_and_follow_the_order_of_classes(support):
    weights = torch.randn(12, 3 * 5 + 3, generator=seeds.generator(3))
    torch.testing.assert_close(heads.from_rows(heads.rows(weights, 3)), weights)
    made = pipeline.learn(
        weights, support, Design(encoder="per class", classes=3),
        Training(steps=5, shots=2, width=16), device="cpu")
    assert made.encode(weights).shape[:2] == (12, 3)
    many = weights.unflatten(0, (4, 3))
    torch.testing.assert_close(made.reconstruct(many), many, atol=1e-4, rtol=1e-4)
    sampled = made.sample(support[:2], 4, steps=3, device="cpu")
    assert sampled.shape == (2, 4, 18)
    walked = made.sample(support[:2], 4, steps=3, trajectory=True, device="cpu")
    assert walked.shape == (2, 4, 4, 18)
    torch.testing.assert_close(walked[:, :, -1], sampled)


def test_points_are_accuracies_of_the_part_asked_for():
    world = pipeline.of_styles(2, 1, 1, counts=COUNTS)
    made = zoo.trained(world.train, steps=2, device="cpu")
    scores = pipeline.points(made.weights[:, None], world.train, like=made.pool, part="train")
    torch.testing.assert_close(scores[:, 0], 100 * made.accuracy("train"))


def test_bad_input_is_refused(support):
    weights = torch.randn(12, 18, generator=seeds.generator(4))
    for match, call in (
            ("sets", lambda: pipeline.learn(weights, support[:3])),
            ("classes", lambda: pipeline.learn(
                weights, support, Design(encoder="per class"))),
            ("sets", lambda: pipeline.learn(weights, None, Design(classes=3))),
            ("weights", lambda: heads.rows(weights, 4)),
            ("names", lambda: pipeline.available(["stl10"], root="nowhere"))):
        with pytest.raises(ValueError, match=match):
            call()
