"""Schemes from a pool of networks to a learner: what they make and cost, and how they are tuned."""

from dataclasses import replace

import pytest
import small
import torch

from wlib import free
from wlib.free import experiments, pipeline, rivals, schemes
from wlib.free.inversion import Objective
from wlib.free.schemes import Scheme

TINY = Scheme(steps=3, lr=0.02, statistics=0.1, per_class=8, epochs=2, nz=6, ngf=2, turns=1,
           per_turn=1)


@pytest.fixture(autouse=True)
def one_thread():
    """Bits are compared here, and several threads add up in an order of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world():
    return small.universe()


@pytest.fixture(scope="module")
def pool(world):
    return small.teachers_of(world)


def test_each_maker_makes_what_its_function_makes(pool):
    wanted = Objective(statistics=0.1)
    how = free.Recovery(3, 0.02, per_class=8, objective=wanted)
    like = free.generator_for(pool, seed=1, nz=6, ngf=2)
    practice = free.MetaTraining(replace(how, steps=5), per_epoch=2, lr=2e-3)
    ready = free.fit_generator(pool, like, practice, epochs=2, seed=1, device="cpu").generator
    own = {"seed": 1, "device": "cpu"}
    made = {"FREE": free.recover(pool, ready, how, **own),
            "fresh generator": rivals.fresh(pool, like, how, **own),
            "pixel inversion": rivals.pixels(pool, how, **own)}
    assert set(made) == set(schemes.MAKERS)
    for maker, images in made.items():
        got = schemes.recovered(replace(TINY, maker=maker), pool, 1, device="cpu")
        assert torch.equal(got.images, images.images), maker


def test_a_learner_walks_and_replays_as_the_way_says(pool):
    start = pipeline.start_of(pool, 0, width=4)
    images = schemes.recovered(TINY, pool, 0, device="cpu")
    how = pipeline.MetaLearning(turns=1, steps=1, walk_lr=0.02, lr=0.01)
    got = schemes.learned(TINY, start, pool, images, 0, device="cpu")
    want = pipeline.meta_learn(start, pool, images, how, device="cpu")
    assert torch.equal(got.flat(), want.flat())


def test_practice_is_paid_by_the_pool_that_has_it():
    scheme = Scheme(epochs=60)
    assert scheme.practice_for(20) == 60 * 2 * 5 / 20 == 30
    rival = Scheme("fresh generator")
    assert rival.practice_for(20) == 0
    assert schemes.equal_time(rival, replace(scheme, steps=20), 20).steps == 50
    pixels = schemes.equal_time(Scheme("pixel inversion"), replace(scheme, steps=20), 20, 3.0)
    assert pixels.steps == 150


def test_tuning_keeps_the_best_settings_and_what_they_beat(world, pool):
    pools, own = {0: pool}, {"width": 4, "device": "cpu"}
    found = schemes.tuned(TINY, pools, world.validation, settings=("replay_lr", "ngf"), rounds=1,
                          most=3, **own)
    assert [name for _, name in found.found] == ["replay_lr", "ngf"]
    for (_, name), one in found.found.items():
        assert len(one.scores) == 3 and getattr(found.best, name) == one.best
    got, = schemes.points(found.best, pools, world.validation, **own)
    assert got == max(found.found[0, "ngf"].scores.values())
    images = schemes.recovered(found.best, pool, 0, device="cpu")
    student = schemes.learned(found.best, pipeline.start_of(pool, 0, width=4), pool, images, 0,
                              device="cpu")
    assert got == experiments.accuracy(student, world.validation, device="cpu").mean().item()


def test_settings_that_a_maker_does_not_use_are_not_tuned(world, pool):
    own = {"rounds": 1, "most": 3, "width": 4, "device": "cpu"}
    found = schemes.tuned(replace(TINY, maker="pixel inversion"), {0: pool}, world.validation,
                          settings=("ngf", "epochs", "lr"), **own)
    assert [name for _, name in found.found] == ["lr"]
    assert list(found.found[0, "lr"].scores) == list(schemes.PIXEL_LR)
    with pytest.raises(ValueError, match="replay_lr"):
        schemes.tuned(TINY, {0: pool}, world.validation, settings=("replay",), **own)


def test_all_searches_begin_with_as_many_values():
    assert {len(grid) for grid in [*schemes.GRIDS.values(), schemes.PIXEL_LR]} == {3}


@pytest.mark.parametrize("wrong", [{"maker": "magic"}, {"steps": 0}, {"turns": 1.5}])
def test_a_way_that_cannot_be_gone_is_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        Scheme(**wrong)
