"""Replay: the memory by class, four heads against a plain implementation, runs that break off."""

import os
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small import Own, images, lived
from torch import nn

from wlib.core import nets
from wlib.core.pool import Pool
from wlib.data import Episode, ImageSet, episodes
from wlib.free import learner, replay
from wlib.free.replay import Replay

SMALL = {"ways": 3, "shots": 2, "queries": 3, "batch": 2, "lr": 1e-2, "inner_steps": 2,
         "inner_lr": 0.1}
HOW = Replay(**SMALL)


@pytest.fixture(scope="module")
def known():
    return images(60, classes=5, size=16)


@pytest.fixture(scope="module")
def start():
    return Pool.stack([lived(nets.fresh("conv4", 0, classes=3, size=16, width=4))])


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))


def same(a, b):
    return (torch.equal(a.learner.flat(), b.learner.flat()) and a.losses == b.losses
            and a.accuracies == b.accuracies)


def recovered(classes, value, size=4, channels=1):
    """Ten images as a network of five classes gives them back: targets 0 … 4, 0 … 4."""
    labels = torch.arange(10) % 5
    pixels = (value + labels).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, channels, size, size)
    return ImageSet(pixels, labels, classes)


# ---- memory -------------------------------------------------------------------------------------
def test_images_are_filed_by_the_names_of_their_classes():
    """Row b of a network with classes 7, 3, 9, 1, 0 shows its class b mod 5."""
    first = recovered(("7", "3", "9", "1", "0"), 10)
    known = replay.memory([first])
    assert known.classes == ("7", "3", "9", "1", "0")
    for j, name in enumerate(known.classes):
        rows = known.labels == known.classes.index(name)
        assert known.images[rows, 0, 0, 0].tolist() == [10 + j, 10 + j]
    both = replay.memory([first, recovered(("3", "0", "5", "8", "6"), 50)])
    assert both.classes == ("7", "3", "9", "1", "0", "5", "8", "6")
    three = both.images[both.labels == both.classes.index("3"), 0, 0, 0]
    assert three.tolist() == [11, 11, 50, 50]                         # of both networks
    assert len(both) == 20


def test_an_episode_numbers_its_classes_anew():
    known = replay.memory([recovered(("7", "3", "9", "1", "0"), 10)])
    few = known[(known.labels == 1) | (known.labels == 4)]
    task = replay.tensors([Episode(few, few)], "cpu", torch.float32)
    assert task[0].shape == (1, 4, 1, 4, 4)
    noisy = ImageSet(few.images + torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1) * 60,
                     few.labels, few.classes)
    (episode,) = episodes(noisy, ways=2, shots=1, queries=1, count=1, seed=0)
    assert episode.support.labels.tolist() == [0, 1]
    assert set(episode.support.classes) == {"3", "0"}


def test_one_class_from_two_networks_can_stay_two():
    sets = [recovered(tuple("abcde"), 10), recovered(tuple("cdefg"), 50)]
    assert replay.memory(sets).classes == tuple("abcdefg")
    apart = replay.memory(sets, together=False)
    assert apart.classes == tuple(f"{c} (0)" for c in "abcde") + tuple(f"{c} (1)" for c in "cdefg")
    assert apart.labels.bincount().tolist() == [2] * 10


def test_sets_of_different_shapes_are_brought_to_one():
    sets = [recovered(tuple("abcde"), 10), recovered(tuple("fghij"), 50, size=8, channels=3)]
    for shape in ((1, 6, 6), (3, 4, 4)):
        known = replay.memory(sets, shape=shape)
        assert known.images.shape == (20, *shape)
        assert known.images[:10, 0, 0, 0].tolist() == [10, 11, 12, 13, 14] * 2
        assert known.images[10:, -1, 1, 1].tolist() == [50, 51, 52, 53, 54] * 2
    assert torch.equal(replay.memory(sets[:1], shape=(1, 4, 4)).images, sets[0].images)


# ---- an episode's loss --------------------------------------------------------------------------
def plain_loss(net, head, support, labels, query, answers, steps, lr, ways):
    """A second implementation: the module itself in training mode, its weights swapped by hand."""
    names = [k for k, _ in net.named_parameters()]
    weights = dict(net.named_parameters())

    def run(weights, x):
        return torch.func.functional_call(net, weights, (x,))

    if head == "prototype":
        body = nn.Sequential(*list(net.children())[:-1])
        means = torch.stack([body(support)[labels == k].mean(0) for k in range(ways)])
        # features of both parts from batches of their own
        return F.cross_entropy(-torch.cdist(body(query)[None], means[None])[0] ** 2, answers)
    moving = names if head != "anil" else [k for k in names if k.startswith("head")]
    for _ in range(steps):
        loss = F.cross_entropy(run(weights, support), labels)
        gradients = torch.autograd.grad(loss, [weights[k] for k in moving],
                                        create_graph=head != "fomaml")
        moved = zip(moving, gradients, strict=True)
        weights = weights | {k: weights[k] - lr * g for k, g in moved}
    return F.cross_entropy(run(weights, query), answers)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("head", replay.HEADS)
def test_gradients_are_those_of_a_plain_implementation(head, engine, start, known):
    drawn = list(episodes(known, ways=3, shots=2, queries=3, count=2, seed=1))
    stacked = replay.tensors(drawn, "cpu", torch.float64)
    start = Pool.stack([start.network(0).double()])
    net = start.network(0).train()
    losses = [plain_loss(net, head, *parts, 2, 0.1, 3) for parts in zip(*stacked, strict=True)]
    gradients = torch.autograd.grad(sum(losses) / 2, list(net.parameters()), allow_unused=True)

    parts = learner.body(start, (1, 16, 16), fused=(head, engine) != ("maml", "vmap"))
    theta = {k: t.clone().requires_grad_() for k, t in learner.weights(start).items()}
    backward = replay._stacked if engine == "vmap" else replay._in_turn
    loss, _ = backward(parts, theta, Replay(head, 3, inner_steps=2, inner_lr=0.1), *stacked)
    assert loss == pytest.approx((sum(losses) / 2).item(), rel=1e-9)
    for (k, t), g in zip(theta.items(), gradients, strict=True):
        if head == "prototype" and k.startswith("head"):
            assert t.grad is None and g is None
        else:
            torch.testing.assert_close(t.grad, g, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("head", replay.HEADS)
def test_both_engines_train_the_same_learner(head, transductive, start, known):
    start = Pool.stack([start.network(0).double()])
    how = replace(HOW, head=head, transductive=transductive)
    runs = [replay.fit(start, known, replace(how, engine=engine), steps=2)
            for engine in ("loop", "vmap")]
    assert runs[0].losses == pytest.approx(runs[1].losses, rel=1e-6)
    assert runs[0].accuracies == pytest.approx(runs[1].accuracies)
    torch.testing.assert_close(runs[0].learner.flat(), runs[1].learner.flat(), rtol=0, atol=1e-6)


def test_heads_without_inner_steps_are_the_network_itself(start, known):
    (episode,) = episodes(known, ways=3, shots=2, queries=3, count=1, seed=0)
    x, y, query, _ = (t[0] for t in replay.tensors([episode], "cpu", torch.float32))
    parts, w = learner.body(start, (1, 16, 16)), learner.weights(start)
    for head in ("maml", "fomaml", "anil"):
        got = replay.query_logits(parts, w, Replay(head, 3, inner_steps=0), x, y, query)
        torch.testing.assert_close(got, parts.logits(w, query))


def test_the_engine_of_a_cpu_is_the_one_that_was_measured():
    assert replay.engine_for(torch.device("cpu")) == "loop"
    assert replay.engine_for(torch.device("cuda")) == "vmap"


# ---- meta-training ------------------------------------------------------------------------------
@pytest.mark.parametrize("head", replay.HEADS)
def test_a_run_that_is_taken_up_again_is_an_unbroken_one(head, start, known):
    how = replace(HOW, head=head)
    whole = replay.fit(start, known, how, steps=4)
    first = replay.fit(start, known, how, steps=1)
    assert len(first.losses) == 1 and not same(first, whole)
    assert same(replay.fit(start, known, how, steps=4, state=first), whole)
    assert same(replay.fit(start, known, how, steps=4, state=whole), whole)
    assert not torch.equal(whole.learner.flat(), start.flat())
    assert all(torch.equal(t, start.buffers[k]) for k, t in whole.learner.buffers.items())


def test_a_killed_run_starts_again_where_it_was(start, known, monkeypatch, tmp_path):
    whole = replay.fit(start, known, HOW, steps=4)
    pieces = []

    def counted(*args, steps, **settings):
        pieces.append(steps)
        if pieces == [1, 2, 3]:
            raise KeyboardInterrupt
        return fit(*args, steps=steps, **settings)

    fit = replay.fit
    monkeypatch.setattr(replay, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        replay.stored_fit(start, known, HOW, steps=4, every=1)
    assert same(replay.stored_fit(start, known, HOW, steps=4, every=1), whole)
    assert pieces == [1, 2, 3, 3, 4]                    # what was finished is not made again
    longer = replay.stored_fit(start, known, HOW, steps=5, every=1)
    assert pieces[5:] == [5] and longer.losses[:4] == whole.losses
    assert len(os.listdir(tmp_path / "store")) == 1


def test_pieces_of_any_length_give_one_run(start, known):
    runs = [replay.stored_fit(start, known, replace(HOW, head="fomaml"), steps=4, every=every)
            for every in (1, 3, 4, 99)]
    assert all(same(run, runs[0]) for run in runs)


def test_the_episodes_are_those_of_the_seed(start, known, monkeypatch):
    """Step t sees episodes t·batch … of `data.episodes`, also when it is taken up again."""
    seen = []

    def watch(some, *rest):
        seen.append([e.query.digest() for e in some])
        return tensors(some, *rest)

    tensors = replay.tensors
    monkeypatch.setattr(replay, "tensors", watch)
    first = replay.fit(start, known, HOW, steps=3, seed=4)
    replay.fit(start, known, HOW, steps=4, state=first, seed=4)
    expected = [e.query.digest() for e in episodes(known, ways=3, shots=2, queries=3, count=8,
                                                   seed=4)]
    assert sum(seen, []) == expected


def test_what_is_learned_shows_in_the_losses(start, known):
    run = replay.fit(start, known, HOW, steps=15)
    assert len(run.losses) == len(run.accuracies) == 15
    assert sum(run.losses[-5:]) < sum(run.losses[:5])
    assert all(0 <= a <= 1 for a in run.accuracies)


def test_networks_of_foreign_build_learn_too(known):
    own = Pool.stack([lived(Own())])
    for head in replay.HEADS:
        run = replay.fit(own, known, replace(HOW, head=head), steps=1)
        assert not torch.equal(run.learner.flat(), own.flat())


# ---- refusals -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("arguments", "named"), [
    ({"learner": nn.Linear(2, 2)}, "learner"), ({"images": [1, 2]}, "images.*an ImageSet"),
    ({"head": "ridge"}, "head"), ({"engine": "fast"}, "engine"), ({"steps": 0}, "steps"),
    ({"batch": 1.0}, "batch"), ({"lr": -1}, "lr"), ({"inner_lr": 0}, "inner_lr"),
    ({"inner_steps": -1}, "inner_steps"), ({"seed": -1}, "seed"), ({"device": "tpu9"}, "device"),
    ({"transductive": None}, "transductive.*no running statistics"),
    ({"ways": 6}, "images: got '5 of 5 classes .*at least ways = 6"),
    ({"queries": 11}, r"images: got '0 of 5 classes with at least shots \+ queries = 13"),
    ({"head": "maml", "ways": 4}, "learner: got '3 outputs', want 4"),
    ({"state": 3}, "state")])
def test_fit_refuses_by_name(arguments, named, start, known):
    with pytest.raises(ValueError, match=f"^{named}"):
        given = {"learner": start, "images": known, "steps": 4} | SMALL | arguments
        own = {name: given.pop(name) for name in Replay.__dataclass_fields__ if name in given}
        replay.fit(settings=Replay(**own), **given)


def test_more_refusals(start, known):
    state = replay.fit(start, known, HOW, steps=2)
    for other in ({"seed": 1}, {"settings": replace(HOW, head="anil")}, {
            "learner": learner.with_weights(
                start, {k: t + 1 for k, t in learner.weights(start).items()})}):
        with pytest.raises(ValueError, match="^state: .*with other arguments"):
            replay.fit(**{"learner": start, "images": known, "settings": HOW, "steps": 4,
                          "state": state} | other)
    with pytest.raises(ValueError, match="^steps: got 1, want at least the run's 2"):
        replay.fit(start, known, HOW, state=state, steps=1)
    with pytest.raises(ValueError, match="^every"):
        replay.stored_fit(start, known, every=0)
    good = recovered(tuple("abcde"), 1)
    for sets, named in (([], "sets"), ([good, 3], r"sets\[1\]"),
                        ([good, recovered(tuple("abcde"), 1, size=8)], r"sets\[1\].*\(1, 4, 4\)")):
        with pytest.raises(ValueError, match=f"^{named}"):
            replay.memory(sets)
    with pytest.raises(ValueError, match="^shape"):
        replay.memory([good], shape=(2, 4, 4))
    with pytest.raises(ValueError, match="^together"):
        replay.memory([good], together="yes")
