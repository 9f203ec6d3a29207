"""What the notebooks of part III call: recipes, rivals, scores, and steps to equal accuracy."""

from dataclasses import replace

import numpy as np
import pytest
import small
import torch

from wlib import free
from wlib.core.pool import Pool
from wlib.free import bell, experiments, few_shot, pipeline, rivals, teachers, timing
from wlib.free.experiments import Recipe
from wlib.free.pipeline import MetaLearning


@pytest.fixture(scope="module")
def world():
    return small.universe()


@pytest.fixture(scope="module")
def pool(world):
    return small.teachers_of(world)


@pytest.fixture(scope="module")
def start(pool):
    return pipeline.start_of(pool, seed=1, width=4)


RECIPE = Recipe(nz=6, ngf=2, epochs=2, per_epoch=2, steps=2, per_class=8)
TINY = MetaLearning(turns=2, steps=2, at_once=3)


# ---- images -------------------------------------------------------------------------------------
def test_a_recipe_is_meta_training_and_recovery(pool):
    got = experiments.recovered(pool, RECIPE, 3, device="cpu")
    begin = free.generator_for(pool, seed=3, nz=6, ngf=2)
    two = free.Recovery(steps=2, lr=1e-2, per_class=8)
    ready = free.fit_generator(pool, begin, free.MetaTraining(two, per_epoch=2, lr=2e-3), epochs=2,
                               seed=3, device="cpu").generator
    want = free.recover(pool, ready, two, seed=3, device="cpu")
    assert torch.equal(got.images, want.images) and torch.equal(got.labels, want.labels)


def test_steps_and_images_of_a_recovery_leave_its_meta_training_alone(pool):
    ready = RECIPE.practiced(pool, 0, device="cpu")
    for change in ({"steps": 0}, {"per_class": 3}):
        other = replace(RECIPE.recovery, **change)
        got = experiments.recovered(pool, RECIPE, 0, recovery=other, device="cpu")
        want = free.recover(pool, ready, other, seed=0, device="cpu")
        assert torch.equal(got.images, want.images)


def test_a_single_epoch_has_no_moments_to_forget(pool):
    once = replace(RECIPE, epochs=1)
    assert torch.equal(experiments.recovered_anew(pool, once, 0, device="cpu").images,
                       experiments.recovered(pool, once, 0, device="cpu").images)
    assert not torch.equal(experiments.recovered_anew(pool, RECIPE, 0, device="cpu").images,
                           experiments.recovered(pool, RECIPE, 0, device="cpu").images)


def test_pixels_after_each_number_of_steps_are_those_of_shorter_runs(pool):
    how, own = free.Recovery(lr=0.1, per_class=2), {"seed": 1, "device": "cpu"}
    for steps, images in rivals.pixel_stages(pool, (0, 3), how, **own).items():
        wanted = rivals.pixels(pool, replace(how, steps=steps), **own)
        assert torch.equal(images.images, wanted.images)


# ---- learners -----------------------------------------------------------------------------------
def test_walks_are_those_that_meta_learn_makes(pool, start, monkeypatch):
    images, seen, imitate = rivals.templates(pool, per_class=8), [], bell.imitate

    def watched(learner, tasks, settings, *, seed, **rest):
        rng = bell.seeds.generator(seed, 0)
        drawn = torch.randperm(len(tasks), generator=rng)[:settings.at_once]
        seen.append([tasks[i].images for i in drawn.tolist()])
        return imitate(learner, tasks, settings, seed=seed, **rest)

    monkeypatch.setattr(bell, "imitate", watched)
    free.meta_learn(start, pool, images, TINY, seed=5, device="cpu")
    parts = pipeline.by_teacher(pool, images)
    for turn, found in enumerate(seen):
        walk = experiments.walk_of(pool, TINY, 5, turn)
        assert len(walk) == 3
        for member, x in zip(walk.members, found, strict=True):
            assert torch.equal(parts[member.number].floats(), x)
    with pytest.raises(ValueError, match="turn"):
        experiments.walk_of(pool, TINY, 5, 2)


def test_the_images_of_walks_and_replay_are_counted():
    # Two turns: 3 teachers × 2 classes × 8 images, and 2 steps × 2 episodes × 2 × (1 + 7) images.
    assert TINY.images_seen(2, 16) == 2 * (48 + 64)


def test_the_heap_has_every_use_once_and_each_can_be_judged(world, pool, start):
    images = rivals.templates(pool, per_class=8)
    def at_best(learn):
        return experiments.at_best_rate(learn, (1e-3, 1e-2), world.validation, most=2, device="cpu")

    uses = dict(experiments.heap(world, pool, images, start, TINY, at_best, device="cpu"))
    assert len(uses) == 8 and uses["random start"] is start
    found = experiments.judged(uses, world.test, device="cpu")
    assert {values.shape for values in found.values()} == {(2, 3)}
    student = experiments.learned(start, pool, images, TINY, device="cpu")
    assert uses["FREE's learner"].digest() == student.digest()
    networks = teachers.stacked(pool)[0][1]
    best = few_shot.best(networks, world.validation[1] + world.validation[5], device="cpu")
    assert uses["best single network"].digest() == best.digest()


def test_variants_change_one_thing_each(pool, start):
    images = rivals.templates(pool, per_class=8)
    found = {name: rest for name, *rest in experiments.learning_variants(pool, images, TINY)}
    own, some, settings = found["the method"]
    assert (own, some, settings) == (pool, images, TINY)
    same, _, _ = found["one network four times"]
    assert len({id(t.net) for t in same.members}) <= 4 and same.ids.equal(pool.ids)
    x = torch.rand(3, *pool.shape)
    for t in same.members:
        torch.testing.assert_close(t.net(x), pool.members[0].net(x))
    longer = replace(RECIPE.recovery, steps=RECIPE.steps + 1)
    kept = dict(experiments.recovery_variants(pool, images, start, RECIPE, longer, 0, device="cpu"))
    assert torch.equal(kept["one teacher of four kept"].images, images.images[:16])
    plain = experiments.recovered(pool, RECIPE, 0, device="cpu").images
    for name in ("images before the last step", "as few steps as in practice"):
        assert torch.equal(kept[name].images, plain)
    assert len(kept) == 7


# ---- judging ------------------------------------------------------------------------------------
def test_accuracy_is_the_score_with_a_row_per_number_of_shots(world, start):
    got = experiments.accuracy(start, world.test, device="cpu")
    want = pipeline.score(start, world.test, device="cpu")
    assert torch.equal(got, torch.stack([want[1], want[5]]))
    assert torch.equal(experiments.points(start, world.test, device="cpu"), got.mean(0))
    frame = experiments.framed({("start", 4): got})
    assert frame.loc[0, "points"] == pytest.approx(frame.loc[0, ["one", "five"]].mean())


def test_a_slope_per_doubling_by_hand():
    values = [np.array([1.0, 5.0]), np.array([9.0, 5.0]), np.array([4.0, 5.0])]
    assert experiments.per_doubling([5, 10, 20], values).tolist() == pytest.approx([1.5, 0.0])


def test_copies_repeat_networks_under_numbers_of_their_own(pool):
    again = experiments.copies(pool[:3], 5)
    assert [t.number for t in again.members] == [0, 1, 2, 3, 4]
    assert again.members[3].classes == pool.members[0].classes
    assert experiments.off_diagonal(torch.tensor([[9.0, 1.0], [3.0, 9.0]])) == 2.0


# ---- timing -------------------------------------------------------------------------------------
def test_steps_to_equal_worth_by_hand():
    at, values = np.array([1, 10, 100]), np.array([20.0, 30.0, 50.0])
    assert timing.steps_to(at, values, 20.0) == (1.0, True)
    assert timing.steps_to(at, values, 25.0) == (pytest.approx(10 ** 0.5), True)
    assert timing.steps_to(at, values, 50.0) == (pytest.approx(100.0), True)
    assert timing.steps_to(at, values, 51.0) == (100.0, False)


def test_steps_to_an_accuracy_by_hand():
    def after(reached):
        return lambda at: np.array([float(k >= reached) for k in at])

    assert timing.steps_needed(after(7), 1.0, first=4, longest=60) == (7, True)
    assert timing.steps_needed(after(61), 1.0, first=25, longest=60) == (60, False)
    assert timing.steps_needed(after(0), 1.0, first=100, longest=6) == (1, True)
    steps, there = timing.steps_needed(after(150), 1.0, first=100, longest=400)
    assert there and 150 <= steps < 150 + 200 // 50                     # looked at every 4th step


def test_rivals_race_to_the_accuracy_of_free(pool):
    race = timing.Race(longest=4, quick_lrs=(0.02, 0.04), pixel_lrs=(0.1,), operations=2.0)
    ready = RECIPE.practiced(pool, 0, device="cpu")
    found = timing.equal_accuracy(pool[:2], pool[2:], ready, RECIPE, race, device="cpu")
    assert found["arm"].tolist() == [timing.PUBLISHED, timing.QUICK, timing.PIXEL]
    assert found["lr"].tolist()[0] == 1e-3 and found["lr"][1] in race.quick_lrs
    limits = [4, 4, 8]
    for limit, steps, reached in zip(limits, found["steps"], found["reached"], strict=True):
        assert 1 <= steps <= limit and (reached or steps == limit)


def test_a_regime_divides_by_steps_and_practice():
    race, small = timing.Race(longest=3), {"samples": 9, "count": 2, "width": 4, "epochs": 1}
    found = timing.regime("glyphs", ("conv4", 3, 16), RECIPE, race, small, device="cpu")
    assert found["teachers"] == "conv4, 3 classes, 16 px"
    assert found["without"] == found["published"] / 2
    assert found["with"] == pytest.approx(found["published"] / (2 + 2 * 2 * 2 / 100))
    assert found["best"] == found["published"] / found["quick"]


def test_a_generators_step_costs_more_operations_than_one_on_pixels(pool):
    teacher, start = pool[0], RECIPE.start(pool, 0)
    two, four = free.Recovery(per_class=2), free.Recovery(per_class=4)
    ours = timing.flops(free.recover, teacher, start, settings=two)
    assert ours > timing.flops(rivals.pixels, teacher, settings=two) > 0
    assert timing.flops(free.recover, teacher, start, settings=four) == 2 * ours


def test_seconds_are_of_all_three_works(pool):
    found = timing.seconds_of(pool, RECIPE, "perf_counter", device="cpu")
    assert set(found) == {"generator", "pixels", "epoch"} and min(found.values()) > 0
    assert timing.seconds(Pool.stack, [[pool.members[0].net]], {}) > 0


# ---- what images can teach ----------------------------------------------------------------------
def test_what_teachers_say_grows_from_a_label_to_all_their_features(pool, start):
    images = rivals.templates(pool, per_class=8)
    said = dict(experiments.sayings(pool, images))
    names = list(said)
    assert names == ["labels", "their teacher's answers", "answers of all teachers",
                     "features of all teachers"]
    for wanted in said.values():
        assert len(wanted) == len(images)
        torch.testing.assert_close(wanted.mean(0), torch.zeros(wanted.shape[1]), atol=2e-4, rtol=0)
    right = said["labels"].argmax(1)
    assert torch.equal(right, images.labels)
    per_teacher = len(images) // len(pool)
    for i, member in enumerate(pool.members):
        part = slice(i * per_teacher, (i + 1) * per_teacher)
        with torch.no_grad():
            answers = member.net(images.floats()[part]).softmax(1)
        own = said["their teacher's answers"][part][:, pool.ids[i]]
        own, answers = own - own.mean(0), answers - answers.mean(0)     # alike but for a factor
        torch.testing.assert_close(own / own.std(), answers / answers.std(), atol=1e-3, rtol=0)
    assert said["answers of all teachers"].shape[1] == len(pool) * 2


def test_imitating_features_is_distilling_the_pool(pool, start):
    images = rivals.templates(pool, per_class=8)
    networks = teachers.stacked(pool)[0][1]
    own = {"steps": 3, "lr": 1e-3, "device": "cpu"}
    said = dict(experiments.sayings(pool, images))
    got = experiments.imitated(said["features of all teachers"], images, start, **own)
    assert torch.equal(got.flat(), experiments.distilled(networks, images, start, **own).flat())
    assert torch.equal(got.flat(), few_shot.distill(networks, images, start, **own).flat())
    with pytest.raises(ValueError, match="a row for each"):
        few_shot.imitate(said["labels"][:3], images, start)


def test_a_learner_at_its_best_rate_is_the_best_of_those_that_were_tried(world, pool, start):
    images = rivals.templates(pool, per_class=8)

    def learn(lr):
        return experiments.prototype(start, images, steps=2, lr=lr, device="cpu")

    got, found = experiments.at_best_rate(learn, (1e-3, 1e-2), world.validation, most=4,
                                          device="cpu")
    assert torch.equal(got.flat(), learn(found.best).flat()) and len(found.scores) <= 4
    for lr, points in found.scores.items():
        assert experiments.accuracy(learn(lr), world.validation, device="cpu").mean() == points
    assert found.scores[found.best] == max(found.scores.values())
