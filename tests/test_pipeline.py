from dataclasses import replace

import pytest
import torch

from wlib import free
from wlib.core.pool import Pool
from wlib.data.sets import place_in_class
from wlib.free import bell, few_shot, learner, pipeline, replay, rivals, teachers
from wlib.free.pipeline import MetaLearning, Sizes
from wlib.free.replay import Replay
from wlib.free.teachers import Training

SIZES = Sizes(samples=4, held=2, ways=2, shots=(1, 2), queries=3, choosing=2, episodes=5)


@pytest.fixture(scope="module")
def world():
    return pipeline.universe(["glyphs"], SIZES)


@pytest.fixture(scope="module")
def pool(world):
    return teachers.trained(world.fit, Training(ways=3, width=4, epochs=1), count=3, device="cpu")


@pytest.fixture(scope="module")
def images(pool):
    return rivals.templates(pool, per_class=6)


@pytest.fixture(scope="module")
def start(pool):
    return pipeline.start_of(pool, seed=1, width=4)


def learned(start, pool, images, **settings):
    seed = settings.pop("seed", 0)
    how = MetaLearning(**{"turns": 2, "at_once": 2, "steps": 2, "batch": 1, "queries": 3}
                       | settings)
    return pipeline.meta_learn(start, pool, images, how, seed=seed, device="cpu")


# ---- the universe -------------------------------------------------------------------------------
def test_no_image_or_class_is_shared_between_parts(world):
    fit, held = world.fit["glyphs"], world.held["glyphs"]
    assert not set(fit.hashes()) & set(held.hashes())
    assert fit.classes == held.classes
    seen = set(fit.classes)
    for tasks in (world.validation, world.test):
        own = {c for some in tasks.values() for task in some for c in task.support.classes}
        assert own and not own & seen
        hashes = {h for some in tasks.values() for task in some
                  for part in (task.support, task.query) for h in part.hashes()}
        assert not hashes & (set(fit.hashes()) | set(held.hashes()))
        seen |= own


def test_as_many_of_each_class_as_asked(world):
    assert world.fit["glyphs"].labels.bincount().eq(4).all()
    assert world.held["glyphs"].labels.bincount().eq(2).all()


def test_as_many_episodes_as_asked_and_always_the_same(world):
    again = pipeline.universe(["glyphs"], SIZES)
    assert {k: len(v) for k, v in world.test.items()} == {1: 5, 2: 5}
    assert {k: len(v) for k, v in world.validation.items()} == {1: 2, 2: 2}
    for a, b in zip(world.test[2], again.test[2], strict=True):
        assert torch.equal(a.query.images, b.query.images)


def test_domains_come_one_after_another_in_one_shape():
    few = Sizes(samples=2, held=1, ways=3, shots=(1,), queries=2, choosing=1, episodes=2)
    world = pipeline.universe(["glyphs", "digits"], few, channels=3, size=16)
    assert list(world.fit) == ["glyphs", "digits"]
    assert {tuple(part.images.shape[1:]) for part in world.fit.values()} == {(3, 16, 16)}
    assert len(world.test[1]) == 2          # two test digits are too few for three ways
    one = pipeline.universe(["digits"], replace(few, ways=2), channels=3, size=16)
    assert len(one.test[1]) == 2


@pytest.mark.parametrize("settings, word", [
    (dict(names=[]), "names"), (dict(names=["glyphs", "glyphs"]), "names"),
    (dict(names=["cars"]), "domain"), (dict(held=0), "held"), (dict(shots=()), "shots"),
    (dict(names=["digits"], ways=3), "ways"), (dict(episodes=0), "count")])
def test_a_universe_that_cannot_be_is_refused(settings, word):
    with pytest.raises(ValueError, match=word):
        given = {"samples": 2, "held": 1} | settings
        names = given.pop("names", ["glyphs"])
        pipeline.universe(names, Sizes(**given))


def test_the_first_domain_that_is_there(tmp_path):
    assert pipeline.available(["cifarfs", "digits"], root=tmp_path) == "digits"
    assert pipeline.available(["digits", "cifarfs"], root=tmp_path) == "digits"
    with pytest.raises(FileNotFoundError):
        pipeline.available(["cub", "cifarfs"], root=tmp_path)


# ---- the learner --------------------------------------------------------------------------------
def test_turns_of_walking_and_replay_by_hand(start, pool, images):
    got = learned(start, pool, images, seed=3)
    tasks = pipeline.imitation(pool, images)
    settings = {"settings": Replay(ways=3, queries=3, batch=1, lr=1e-3), "seed": 3,
                "device": "cpu"}
    walk = {"settings": bell.Imitation(at_once=2), "steps": 1, "device": "cpu"}
    once = bell.imitate(start, tasks, seed=6, **walk)
    run = replay.fit(once, images, steps=2, **settings)
    run.learner = bell.imitate(run.learner, tasks, seed=7, **walk)
    run = replay.fit(once, images, steps=4, state=run, **settings)
    for k, t in got.parameters.items():
        assert torch.equal(t, run.learner.parameters[k])


def test_the_official_walk_by_hand(start, pool, images):
    got = learned(start, pool, images, turns=1, official=True, walk_lr=9.0)
    walked = bell.imitate(start, pipeline.imitation(pool, images),
                          replace(bell.OFFICIAL, at_once=2), steps=1, device="cpu")
    run = replay.fit(walked, images, Replay(ways=3, queries=3, batch=1), steps=2, device="cpu")
    for k, t in got.parameters.items():
        assert torch.equal(t, run.learner.parameters[k])


def test_replay_only_sees_as_many_images_and_never_walks(start, pool, images):
    # A walk passes 2 teachers × 18 images, an episode 3 ways × (1 + 3): three more steps per turn.
    got = learned(start, pool, images, order="replay only")
    run = replay.fit(start, images, Replay(ways=3, queries=3, batch=1), steps=10, device="cpu")
    for k, t in got.parameters.items():
        assert torch.equal(t, run.learner.parameters[k])


@pytest.mark.parametrize("order", pipeline.ORDERS)
def test_every_order_learns_something_of_its_own(order, start, pool, images):
    got = learned(start, pool, images, order=order)
    assert isinstance(got, Pool) and len(got) == 1
    assert all(torch.isfinite(t).all() for t in got.parameters.values())
    assert any(not torch.equal(t, start.parameters[k]) for k, t in got.parameters.items())


def test_orders_differ(start, pool, images):
    heads = [learned(start, pool, images, order=order, at_once=3).parameters["block1.0.weight"]
             for order in pipeline.ORDERS]
    assert all(not torch.equal(a, b) for i, a in enumerate(heads) for b in heads[:i])


def test_a_killed_meta_training_ends_with_the_same_weights(start, pool, images, monkeypatch,
                                                           tmp_path):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    how = MetaLearning(turns=2, steps=2, batch=1, queries=3, at_once=2)
    whole = pipeline.meta_learn(start, pool, images, how, device="cpu")
    calls, fit = [], replay.fit

    def dies(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)

    monkeypatch.setattr(replay, "fit", dies)
    with pytest.raises(KeyboardInterrupt):
        learner.stored(pipeline.meta_learn, start, pool, images, how, device="cpu")
    again = learner.stored(pipeline.meta_learn, start, pool, images, how, device="cpu")
    for k, t in whole.parameters.items():
        assert torch.equal(t, again.parameters[k])


@pytest.mark.parametrize("settings, word", [
    (dict(order="random"), "order"), (dict(turns=0), "turns"), (dict(walks=0), "walks"),
    (dict(steps=0), "steps"), (dict(at_once=4), "at_once"), (dict(walk_lr=-1.0), "inner_lr"),
    (dict(head="svm"), "head")])
def test_a_learner_that_cannot_be_is_refused(settings, word, start, pool, images):
    with pytest.raises(ValueError, match=word):
        learned(start, pool, images, **settings)


def test_images_of_other_teachers_are_refused(start, pool, images):
    with pytest.raises(ValueError, match="images"):
        learned(start, pool, images[:-1])


# ---- the score ----------------------------------------------------------------------------------
def test_score_is_in_points_and_for_each_number_of_shots(world, start):
    got = pipeline.score(start, world.test, device="cpu")
    assert set(got) == {1, 2}
    for k, points in got.items():
        right = few_shot.evaluate(start, world.test[k], device="cpu")
        assert torch.allclose(points, 100 * right)


def test_imitation_pairs_each_teacher_with_its_images(pool, images):
    pairs = pipeline.imitation(pool, images)
    assert len(pairs) == len(pool)
    for (part, teacher), member, ids in zip(pairs, pool.members, pool.ids, strict=True):
        assert set(part.labels.tolist()) == set(ids.tolist())
        # Two routes: a stacked copy and the module itself, whose weights lie channels last.
        torch.testing.assert_close(teacher.logits(part.floats())[0], member.net(part.floats()),
                                   rtol=1e-4, atol=1e-5)


def test_the_start_suits_the_teachers(pool):
    start = pipeline.start_of(pool, seed=2, width=4)
    assert start.logits(torch.zeros(1, *pool.shape)).shape[-1] == pool.ways
    assert free.generator_for(pool).shape == pool.shape
    assert place_in_class(rivals.templates(pool, per_class=2)).max() >= 2
