"""Evaluation by shared episodes: by hand, repeatable, and every rival by the same call."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import Own, images, lived
from torch import nn

from wlib import claims
from wlib.core import audit, nets
from wlib.core.pool import Pool
from wlib.data import ImageSet, episodes
from wlib.free import few_shot, learner, replay
from wlib.free.replay import Replay


def universe(classes=10, each=8, first=0):
    """Classes are faint stripes of their own frequency; strong brightness and contrast tell
    nothing, so that a learner gains by learning to look past them."""
    g = torch.Generator().manual_seed(first)
    labels = torch.arange(classes * each) % classes
    angles = (labels + first).double() * 2.4                              # far apart for neighbors
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    waves = angles.cos()[:, None, None] * x + angles.sin()[:, None, None] * y
    phases = 6.3 * torch.rand(len(labels), 1, 1, generator=g)
    gains = 0.05 + 0.25 * torch.rand(len(labels), 1, 1, generator=g)
    pixels = 0.3 + 0.4 * torch.rand(len(labels), 1, 1, generator=g) + gains * (waves + phases).sin()
    noisy = pixels + 0.02 * torch.randn(pixels.shape, generator=g)
    return ImageSet((noisy.clamp(0, 1) * 255).to(torch.uint8)[:, None], labels,
                    tuple(f"c{k + first}" for k in range(classes)))


def tasks_of(part, count=6, ways=3, shots=2, queries=4, seed=0):
    return list(episodes(part, ways=ways, shots=shots, queries=queries, count=count, seed=seed))


@pytest.fixture(scope="module")
def tasks():
    return tasks_of(images(60, classes=5, size=16))


@pytest.fixture(scope="module")
def pool():
    """Three networks of one architecture, with running statistics of their own."""
    return Pool.stack([lived(nets.fresh("conv4", i, classes=3, size=16, width=4), i)
                       for i in range(3)])


# ---- evaluation ---------------------------------------------------------------------------------
def constant(x):
    return torch.ones(len(x), 2)


def test_a_constant_predictor_is_right_one_time_in_five():
    part = images(90, classes=9, size=8)
    for shots in (1, 5):
        drawn = tasks_of(part, count=7, ways=5, shots=shots, queries=3)
        assert few_shot.evaluate(constant, drawn).tolist() == [0.2] * 7
    # A network that knows nothing, not even after its steps: all weights zero.
    blank = Pool.stack([Own(classes=5)])
    blank = blank.with_flat(torch.zeros_like(blank.flat()))
    for head in few_shot.HEADS:
        assert few_shot.evaluate(blank, drawn, head=head).tolist() == [0.2] * 7


@pytest.mark.parametrize("transductive", [True, False, None])
@pytest.mark.parametrize("head", few_shot.HEADS)
def test_equal_episodes_give_equal_accuracies(head, transductive, pool):
    part = images(60, classes=5, size=16)
    settings = {"head": head, "transductive": transductive}
    one = few_shot.evaluate(pool[0], tasks_of(part), **settings)
    assert one.shape == (6,) and one.dtype == torch.float64
    assert torch.equal(one, few_shot.evaluate(pool[0], iter(tasks_of(part)), **settings))
    # An episode's accuracy is its own, whatever else is judged beside it.
    assert torch.equal(one[2:3], few_shot.evaluate(pool[0], tasks_of(part)[2:3], **settings))
    assert torch.equal(one[:4], few_shot.evaluate(pool[0], tasks_of(part, count=4), **settings))
    other = tasks_of(part, seed=1)
    assert [e.query.digest() for e in other] != [e.query.digest() for e in tasks_of(part)]


def test_the_nearest_centroid_by_hand(pool, tasks):
    net = pool.network(0)
    body = nn.Sequential(*list(net.children())[:-1])
    for transductive, mode in ((None, False), (True, True)):
        body.train(mode)
        right = []
        with torch.no_grad():
            for task in tasks:
                support, query = body(task.support.floats()), body(task.query.floats())
                means = torch.stack([support[task.support.labels == k].mean(0) for k in range(3)])
                named = torch.cdist(query.double(), means.double()).argmin(1)
                right.append((named == task.query.labels).double().mean())
        got = few_shot.evaluate(pool[0], tasks, transductive=transductive)
        torch.testing.assert_close(got, torch.stack(right))


def test_fine_tuning_is_plain_training(pool, tasks):
    right = []
    for task in tasks[:3]:
        net = pool.network(1).train()
        step = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(10):
            step.zero_grad()
            F.cross_entropy(net(task.support.floats()), task.support.labels).backward()
            step.step()
        right.append((net(task.query.floats()).argmax(1) == task.query.labels).double().mean())
    got = few_shot.evaluate(pool[1], tasks[:3], head="fine-tune")
    torch.testing.assert_close(got, torch.stack(right))


def test_without_a_step_fine_tuning_is_the_network_itself(pool, tasks):
    got = few_shot.evaluate(pool[0], tasks, head="fine-tune", steps=0, transductive=None)
    net = pool.network(0)
    expected = [(net(t.query.floats()).argmax(1) == t.query.labels).double().mean() for t in tasks]
    torch.testing.assert_close(got, torch.stack(expected))


def test_only_a_transductive_learner_looks_at_the_other_query_images(pool):
    """With half of the query images gone, the answers to the others stay or move."""
    (task,) = tasks_of(images(60, classes=5, size=16), count=1, queries=6)
    parts = {flag: learner.body(pool[0], (1, 16, 16), flag, 6) for flag in (True, False, None)}
    w, support, query = learner.weights(pool[0]), task.support.floats(), task.query.floats()
    for flag, moves in ((True, True), (False, False), (None, False)):
        whole = parts[flag].both(w, support, query)[1][::2]
        half = parts[flag].both(w, support, query[::2])[1]
        assert ((whole - half).abs().max() > 1e-3) == moves


def test_intervals_by_hand_and_over_seeds_and_episodes():
    """Five episodes: mean 70; 1.96 s/√5 is 13.859, and 12.396 by the official code's formula."""
    row = np.array([60.0, 70.0, 80.0, 90.0, 50.0])
    assert 1.96 * row.std() / math.sqrt(5) == pytest.approx(12.396, abs=1e-3)
    entry = claims.summarize("accuracy", row[None], {"pixels": row[None] - 1}, {}, 1)
    assert entry["values"] == [70.0]
    assert 1.96 * entry["image_se"] == pytest.approx(13.859, abs=1e-3)
    assert entry["controls"]["pixels"]["difference_image_se"] == pytest.approx(0)   # paired


def test_rows_of_seeds_make_a_measure(tasks, pool):
    rows = 100 * torch.stack([few_shot.evaluate(net, tasks) for net in pool])          # (S, E)
    entry = claims.summarize("accuracy", rows, {"pixels": 100 * few_shot.evaluate(
        few_shot.pixels, tasks).expand(3, -1)}, {}, 3)
    assert entry["values"] == pytest.approx(rows.mean(1).tolist())


# ---- rivals -------------------------------------------------------------------------------------
def test_raw_pixels_by_hand(tasks):
    for task, got in zip(tasks, few_shot.evaluate(few_shot.pixels, tasks), strict=True):
        x, query = task.support.images.double(), task.query.images.double()
        means = torch.stack([x[task.support.labels == k].mean(0).flatten() for k in range(3)])
        named = torch.cdist(query.flatten(1), means).argmin(1)
        assert got == (named == task.query.labels).double().mean()


@pytest.mark.parametrize("transductive", [True, None])
def test_features_of_all_networks_side_by_side(transductive, pool, tasks):
    """Pools of different architectures in a list; each network's features of unit length."""
    other = Pool.stack([lived(Own())])
    got = few_shot.evaluate([pool, other], tasks, transductive=transductive)
    right = []
    for task in tasks:
        sides = []
        for part in (task.support, task.query):
            found = [learner.body(p, (1, 16, 16), transductive).features(
                learner.weights(p), part.floats()) for p in [*pool, other]]
            sides.append(torch.cat([f / (f.norm(dim=1, keepdim=True) + 1e-12) for f in found],
                                   1).double())
        means = torch.stack([sides[0][task.support.labels == k].mean(0) for k in range(3)])
        named = torch.cdist(sides[1], means).argmin(1)
        right.append((named == task.query.labels).double().mean())
    torch.testing.assert_close(got, torch.stack(right))


def test_an_image_is_looked_at_once(tasks):
    seen = []

    def counted(x):
        seen.extend(x.flatten(1).sum(1).tolist())
        return x.flatten(1)

    got = few_shot.evaluate(counted, tasks)
    assert len(seen) == len(set(seen)) <= 60
    assert torch.equal(got, few_shot.evaluate(few_shot.pixels, tasks))


def test_the_best_network_is_chosen_on_the_episodes_given(pool, tasks):
    means = [few_shot.evaluate(net, tasks).mean() for net in pool]
    chosen = few_shot.best(pool, iter(tasks))
    assert torch.equal(chosen.flat(), pool[int(np.argmax(means))].flat())
    assert few_shot.best([pool[:1], pool[1:]], tasks).digest() == chosen.digest()
    other = few_shot.best([pool, Pool.stack([lived(Own())])], tasks, transductive=None)
    assert len(other) == 1


def test_a_distilled_network_predicts_the_features_of_all(pool, tasks):
    data = images(60, classes=5, size=16)
    start = Pool.stack([nets.fresh("conv4", 9, classes=3, size=16, width=6)])
    wanted = few_shot.targets([pool, Pool.stack([lived(Own())])], data.floats())
    assert wanted.shape == (60, 3 * 4 + 4)
    for block in (*wanted.split(4, dim=1),):
        torch.testing.assert_close(block.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
        assert block.std() == pytest.approx(1, abs=1e-4)

    def far(student):
        parts = learner.body(student, (1, 16, 16))
        got = parts.features(learner.weights(student), data.floats())
        return F.mse_loss(got, few_shot.targets(pool, data.floats())).item()

    untrained = few_shot.distill(pool, data, start, steps=0)
    student = few_shot.distill(pool, data, start, steps=40, lr=1e-2)
    assert far(student) < 0.7 * far(untrained)
    twice = [few_shot.distill(pool, data, start, steps=2).flat() for _ in range(2)]
    assert torch.equal(*twice)
    for head in few_shot.HEADS:
        assert few_shot.evaluate(student, tasks, head=head).shape == (6,)


def test_other_rivals_by_the_same_call(pool, tasks):
    start = Pool.stack([nets.fresh("conv4", 5, classes=3, size=16, width=4)])
    ceiling = replay.fit(start, images(60, classes=5, size=16, seed=3),
                         Replay(ways=3, shots=2, queries=4), steps=2).learner
    for rival in (start, audit.mean(pool), ceiling):
        assert few_shot.evaluate(rival, tasks).shape == (6,)


def test_shuffled_labels_fall_to_the_random_start():
    known, new = universe(24), universe(12, first=100)
    tasks = tasks_of(new, count=40, shots=1, queries=7)
    start = Pool.stack([nets.fresh("conv4", 1, classes=3, size=16, width=8)])
    mixed = known.labels[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))]
    how = Replay(ways=3, queries=5, lr=5e-3)
    learned, shuffled = (
        few_shot.evaluate(replay.fit(start, part, how, steps=40).learner, tasks)
        for part in (known, ImageSet(known.images, mixed, known.classes)))
    random = few_shot.evaluate(start, tasks)
    error = 1.96 * (shuffled - random).std() / math.sqrt(40)
    assert (shuffled - random).mean() < error                  # nothing is gained
    gain = learned - shuffled
    assert gain.mean() > 1.96 * gain.std() / math.sqrt(40)     # labels were what taught


# ---- refusals -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("arguments", "named"), [
    ({"learner": 3}, "learner"), ({"learner": []}, "learner"), ({"learner": [1]}, "learner"),
    ({"episodes": []}, "episodes.*make a list"), ({"episodes": [1]}, "episodes"),
    ({"head": "svm"}, "head"), ({"transductive": 1}, "transductive"), ({"steps": -1}, "steps"),
    ({"lr": 0}, "lr"), ({"device": "gpu7"}, "device"),
    ({"learner": lambda x: x}, "learner.*features"),
    ({"learner": Pool.stack([nn.Sequential(nn.Conv2d(1, 3, 16), nn.Flatten())])},
     "learner.*a body for features"),
    ({"head": "fine-tune", "learner": few_shot.pixels}, "learner.*one network"),
    ({"head": "fine-tune", "learner": Pool.stack([Own(classes=2)])}, "learner: got '2 outputs'")])
def test_evaluate_refuses_by_name(arguments, named, pool, tasks):
    with pytest.raises(ValueError, match=f"^{named}"):
        few_shot.evaluate(**{"learner": pool[0], "episodes": tasks} | arguments)


def test_more_refusals(pool, tasks):
    with pytest.raises(ValueError, match="^images: got '5 of 5 classes"):
        tasks_of(images(60, classes=5, size=16), ways=6)
    with pytest.raises(ValueError, match="^images: .*takes"):
        few_shot.evaluate(pool[0], tasks_of(images(60, classes=5, size=16, channels=3)))
    with pytest.raises(ValueError, match="^pools"):
        few_shot.best([], tasks)
    start, data = pool[0], images(12, size=16)
    for bad in ({"start": pool}, {"images": [1]}, {"images": data[:1]}, {"steps": -1},
                {"batch": 1}, {"seed": True}, {"lr": float("nan")}, {"pools": [3]}):
        name = "learner" if "start" in bad else next(iter(bad))
        with pytest.raises(ValueError, match=f"^{name}"):
            few_shot.distill(**{"pools": pool, "images": data, "start": start} | bad)
