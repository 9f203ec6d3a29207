"""Evolution: operators and fitness by hand, promises of the loop, runs that break off."""

import dataclasses
import functools
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import Own, few, images, lived
from torch import nn

from wlib import mge
from wlib.core import audit, nets, score, train
from wlib.core.pool import Pool
from wlib.mge import evolution, operators, racing

SMALL = {"generations": 3, "parents": 4, "offspring": 8}


def evolve(*given, by=evolution.evolve, **arguments):
    """`evolution.evolve`, its settings by name beside its other arguments."""
    names = {field.name for field in dataclasses.fields(evolution.Evolution)}
    settings = {k: v for k, v in arguments.items() if k in names}
    rest = {k: v for k, v in arguments.items() if k not in names}
    return by(*given, **{"settings": evolution.Evolution(**settings)} | rest)


stored_evolve = functools.partial(evolve, by=evolution.stored_evolve)


@pytest.fixture(scope="module")
def data():
    return images(60, seed=1)


@pytest.fixture(scope="module")
def pool(data):
    """One seed network that has learned a little."""
    return train.fit("mlp", images(90, seed=2), epochs=3, hidden=(12,), device="cpu")


@pytest.fixture(scope="module")
def others():
    """Networks of foreign build, with BatchNorm and one frozen layer."""
    networks = [lived(Own(), i) for i in range(3)]
    for net in networks:
        net.conv.weight.requires_grad_(False)
    return Pool.stack(networks)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))


def same(a, b):
    """Two runs (population, history) equal bit for bit."""
    return (torch.equal(a[0].flat(), b[0].flat()) and a[1].records == b[1].records
            and all(torch.equal(a[1].judged[k], b[1].judged[k]) for k in a[1].judged))


# ---- fitness ----------------------------------------------------------------------------------
def test_R9_fitness(data):
    """Accuracy 0.9 and mean overlap 0.6 give 0.94 (alpha 1, beta 0.1)."""
    errors = torch.zeros(2, 60, dtype=torch.bool)
    errors[0, :6] = True                                   # 6 of 60 wrong: accuracy 0.9
    errors[1, torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])] = True          # IoU 6 / 10
    judged = {"errors": errors, "noise accuracy": torch.zeros(2)}
    assert evolution.Fitness(data).values(judged)[0] == pytest.approx(0.94)


@few
@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_diversity_is_a_naive_mean_over_the_others(count, size, seed):
    errors = torch.rand(count, size, generator=torch.Generator().manual_seed(seed)) < 0.4
    for known in range(1, count + 1):
        for i, value in enumerate(evolution.diversity(errors, known)):
            rest = [1 - score.iou(errors[i], errors[j]).item() for j in range(known) if j != i]
            assert value == pytest.approx(np.mean(rest) if rest else 0)


def test_what_is_judged_is_what_the_scores_say(pool, data):
    family = mge.generate(pool, 4, 0.8)
    judged = evolution.Fitness(data, robust=0.5).judge(family)
    assert torch.equal(judged["errors"], score.errors(family, data))
    assert torch.allclose(judged["loss"], score.loss(family, data))
    assert torch.equal(judged["noise accuracy"], score.noise_accuracy(family, data))
    assert torch.allclose(evolution.Fitness(data, beta=0, robust=0.5).values(judged),
                          score.accuracy(family, data) + 0.5 * judged["noise accuracy"])
    best = evolution.choose(family, judged)
    ranked = sorted(range(4), key=lambda i: (judged["errors"][i].sum(), judged["loss"][i]))
    assert torch.equal(best.flat(), family[ranked[0]].flat())


def test_ties_in_accuracy_go_to_the_smaller_loss(pool):
    judged = {"errors": torch.zeros(3, 5, dtype=torch.bool), "loss": torch.tensor([.3, .1, .2])}
    assert torch.equal(evolution.choose(mge.generate(pool, 3), judged).flat(),
                       mge.generate(pool, 3)[1].flat())


# ---- operators --------------------------------------------------------------------------------
@few
@given(st.floats(0, 1), st.integers(0, 9), st.sampled_from([torch.float32, torch.float64]))
def test_R10_fusions_of_identical_parents_return_them(u, seed, dtype):
    twin = Pool.stack([nets.fresh("mlp", seed, size=6, hidden=(5,)).to(dtype)])
    assert torch.equal(operators.blend(twin, twin, u).flat(), twin.flat())
    assert torch.allclose(operators.crossover(twin, twin, seed).flat(), twin.flat(), atol=1e-12)


def test_R10_a_crossover_keeps_each_coefficient_of_one_parent():
    a, b = (Pool.stack([nets.fresh("mlp", i, size=6, hidden=(5,)).double()]) for i in (0, 1))
    c, x, y = (mge.dct(p.flat()) for p in (operators.crossover(a, b, 3), a, b))
    from_a, from_b = (c - x).abs() < 1e-12, (c - y).abs() < 1e-12
    assert (from_a | from_b).all() and 0.4 < from_a.double().mean() < 0.6


def test_a_blend_is_the_mean_by_weight_and_so_are_its_statistics(others):
    a, b = others[0], others[1]
    mixed = operators.blend(a, b, 0.25)
    assert torch.allclose(mixed.parameters["head.weight"], 0.25 * a.parameters["head.weight"]
                          + 0.75 * b.parameters["head.weight"])
    for child in (mixed, operators.crossover(a, b)):
        assert torch.equal(child.parameters["conv.weight"], a.parameters["conv.weight"])  # frozen
        assert torch.allclose(child.buffers["norm.running_mean"], (
            a.buffers["norm.running_mean"] + b.buffers["norm.running_mean"]) / 2)
        assert torch.equal(child.buffers["norm.num_batches_tracked"],
                           a.buffers["norm.num_batches_tracked"])


def test_mutations_are_the_librarys_and_leave_frozen_tensors(pool, others):
    assert torch.equal(operators.Redraw(0.9, "tensor", "raw", "resample")(pool, 5).flat(),
                       mge.generate(pool, 1, 0.9, "tensor", "raw", "resample", 5).flat())
    moved = operators.Noise.like(0.95)(pool, 5)
    assert audit.distance(moved, pool).item() == pytest.approx(math.sqrt(0.1), rel=1e-5)
    assert moved.flat().norm().item() == pytest.approx(pool.flat().norm().item(), rel=1e-5)
    for mutate in (operators.Redraw(0.5), operators.Noise(0.5),
                   operators.Noise(0.5, False, "tensor")):
        child = mutate(others, 1)
        assert len(child) == len(others)
        assert torch.equal(child.parameters["conv.weight"], others.parameters["conv.weight"])
        assert not torch.equal(child.parameters["head.weight"], others.parameters["head.weight"])


# ---- the loop ---------------------------------------------------------------------------------
@pytest.mark.parametrize("mutate", [operators.Redraw(0.9), operators.Noise(0.4, keep_norm=False)])
@pytest.mark.parametrize("search", evolution.SEARCHES)
def test_R11_the_best_never_gets_worse(mutate, search, pool, data):
    population, history = evolve(pool, evolution.Fitness(data, beta=0.0), mutate=mutate,
                                        search=search, **SMALL | {"generations": 5})
    frame = history.frame
    start = score.accuracy(pool, data).item()
    assert frame["best accuracy"].is_monotonic_increasing and frame["best accuracy"][0] >= start
    assert frame["mean fitness"].is_monotonic_increasing
    assert frame["evaluations"].tolist() == [4 + 8 * g for g in range(6)]
    assert frame["image passes"].tolist() == [60 * (4 + 8 * g) for g in range(6)]
    assert len(population) == 4 and history.generations == 5
    assert torch.equal(score.errors(population, data), history.judged["errors"])


def test_one_generation_is_what_selection_by_hand_gives(pool, data):
    fitness = evolution.Fitness(data, beta=0.5)
    first = mge.generate(pool, 4, 0.8, generator=3)
    population, history = evolve(pool, fitness, mutate=operators.Redraw(0.8), generations=1,
                                        parents=4, offspring=6, search="random", first=first)
    kids = [operators.Redraw(0.8)(pool, evolution._seed(history.began, 1, k)) for k in range(6)]
    all_of = Pool.cat([first[torch.tensor(ranks(first, fitness))], *kids])
    wrong, losses = score.errors(all_of, data), score.loss(all_of, data)
    worth = [((~wrong[i]).double().mean() + 0.5 * np.mean(
        [1 - score.iou(wrong[i], wrong[j]) for j in range(4) if j != i])).item()
        for i in range(10)]
    best = sorted(range(10), key=lambda i: (-worth[i], losses[i]))[:4]
    assert torch.equal(population.flat(), all_of.flat()[best])
    assert history.records[1]["best fitness"] == pytest.approx(max(worth))


def ranks(first, fitness):
    judged = fitness.judge(first)
    worth = fitness.values(judged)
    return sorted(range(len(first)), key=lambda i: (-worth[i], judged["loss"][i]))


def test_the_first_population(pool, data):
    fitness, mutate = evolution.Fitness(data, beta=0.0), operators.Redraw(0.9)
    with_seed, _ = evolve(pool, fitness, mutate=mutate, **SMALL | {"generations": 0})
    assert (with_seed.flat() == pool.flat()).all(1).any()
    without, history = evolve(pool, fitness, mutate=mutate, keep_seed=False,
                                     **SMALL | {"generations": 0})
    assert not (without.flat() == pool.flat()).all(1).any()
    assert history.records[0]["evaluations"] == 4
    given, _ = evolve(pool, fitness, mutate=mutate, first=without,
                             **SMALL | {"generations": 0})
    assert torch.equal(given.flat(), without.flat())


def test_survivors_are_never_judged_again(pool, data, monkeypatch):
    seen = []
    judge = evolution.judge_images
    monkeypatch.setattr(evolution, "judge_images",
                        lambda p, *a: seen.append(len(p)) or judge(p, *a))
    evolve(pool, evolution.Fitness(data), mutate=operators.Redraw(0.9), **SMALL)
    assert seen == [4, 8, 8, 8]


def test_equal_seeds_give_equal_histories(pool, data):
    def run(seed):
        return evolve(pool, evolution.Fitness(data), mutate=operators.Redraw(0.9),
                             generator=seed, **SMALL)
    assert same(run(1), run(1)) and not same(run(1), run(2))
    a, b = (evolve(pool, evolution.Fitness(data), mutate=operators.Redraw(0.9), generator=
                          torch.Generator().manual_seed(4), **SMALL) for _ in range(2))
    assert same(a, b)


def test_more_offspring_leave_the_first_ones_as_they_are(pool, data):
    few_of, many = (evolve(pool, evolution.Fitness(data), mutate=operators.Redraw(0.9),
                                  generations=0, parents=4, offspring=n)[1] for n in (5, 9))
    few_of.began = many.began
    children = [[evolution._child(k, 1, h, pool, operators.Redraw(0.9), dict.fromkeys(
        ("blends", "crossovers", "mutations"), 0)).flat() for k in range(5)]
        for h in (few_of, many)]
    assert all(torch.equal(x, y) for x, y in zip(*children, strict=True))


# ---- going on ---------------------------------------------------------------------------------
@pytest.mark.parametrize("settings", [{}, {"search": "random"}, {"race": 2}])
def test_a_run_goes_on_as_if_it_had_not_stopped(settings, pool, data):
    def run(generations, **more):
        return evolve(pool, evolution.Fitness(data), mutate=operators.Redraw(0.9), parents=4,
                             offspring=8, generations=generations, **settings, **more)
    assert same(run(4), run(4, state=run(1)[1]))
    longer = run(2)
    assert same(longer, run(1, state=longer[1]))         # nothing left to do


def test_the_store_keeps_every_generation(pool, data, monkeypatch):
    fitness, mutate = evolution.Fitness(data), operators.Redraw(0.9)
    plain = evolve(pool, fitness, mutate=mutate, generator=2, **SMALL)
    assert same(plain, stored_evolve(pool, fitness, mutate=mutate, generator=2, **SMALL))
    made = []
    one_more = evolution._next
    monkeypatch.setattr(evolution, "_next", lambda *a: made.append(1) or one_more(*a))
    assert same(plain, stored_evolve(pool, fitness, mutate=mutate, generator=2, **SMALL))
    assert made == []
    stored_evolve(pool, fitness, mutate=mutate, generator=2, **SMALL | {"generations": 4})
    assert made == [1]


SCRIPT = """
import os, signal
import torch
from test_evolution import stored
from wlib.mge import evolution
torch.set_num_threads(1)
one_more, done = evolution._next, []
def killed(*arguments):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return one_more(*arguments)
evolution._next = killed
stored()
"""


def stored():
    seed = Pool.stack([nets.fresh("mlp", 0, classes=3, size=8, hidden=(12,))])
    return stored_evolve(seed, evolution.Fitness(images(60, seed=1)),
                                mutate=operators.Redraw(0.9), generator=1, **SMALL)


@pytest.mark.book
def test_a_killed_run_started_again_gives_the_same(tmp_path, monkeypatch):
    root, store = Path(__file__).resolve().parents[1], str(tmp_path / "broken")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, env=os.environ | {
        "WLIB_STORE": store, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])})
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole = stored()                                       # in a store of its own
    monkeypatch.setenv("WLIB_STORE", store)
    made, one_more = [], evolution._next
    monkeypatch.setattr(evolution, "_next", lambda *a: made.append(1) or one_more(*a))
    assert same(whole, stored()) and made == [1]           # two of three were there


# ---- racing -----------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("search", evolution.SEARCHES)
def test_racing_for_the_last_place_changes_nothing_but_the_passes(beta, search, data):
    pool = train.fit("mlp", images(90, seed=2), epochs=30, hidden=(12,), lr=0.01, device="cpu")
    fitness = evolution.Fitness(data, beta=beta)
    whole, raced = (evolve(pool, fitness, mutate=operators.Redraw(0.9), search=search,
                                  race=place, **SMALL) for place in (None, 4))
    assert torch.equal(whole[0].flat(), raced[0].flat())
    assert torch.equal(whole[1].judged["errors"], raced[1].judged["errors"])
    last, first = raced[1].records[-1], whole[1].records[-1]
    assert last["image passes"] < first["image passes"] or beta > 0
    assert last["image passes"] <= first["image passes"]
    assert last["evaluations"] == first["evaluations"] and first["left early"] == 0


def test_racing_for_the_first_place_still_never_loses_the_best(pool, data):
    fitness = evolution.Fitness(data, beta=0.0)
    population, history = evolve(pool, fitness, mutate=operators.Redraw(0.8), race=1, **SMALL)
    assert history.frame["best accuracy"].is_monotonic_increasing
    assert len(population) == 4


@few
@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 999), st.floats(0, 3))
def test_what_is_reachable_is_never_less_than_what_is_reached(parents, count, seed, beta):
    g = torch.Generator().manual_seed(seed)
    errors = torch.rand(parents + 6, count, generator=g) < torch.rand((), generator=g)
    fitness = evolution.Fitness(images(count), beta=beta)
    judged = {"errors": errors, "noise accuracy": torch.zeros(len(errors), dtype=torch.float64)}
    reached = fitness.values(judged, parents)[parents:]
    for m in range(1, count + 1):
        bound = racing.reachable(fitness, errors[parents:, :m], errors[:parents])
        assert (bound >= reached - 1e-12).all()
    assert torch.allclose(bound, reached)


# ---- the end ----------------------------------------------------------------------------------
def test_the_final_look_at_the_test_images(pool, data):
    test = images(33, seed=7)
    final = evolution.final(mge.generate(pool, 2), data, test)
    assert torch.equal(final.errors, score.errors(mge.generate(pool, 2), test))
    assert torch.equal(final.accuracy, score.accuracy(mge.generate(pool, 2), test))
    assert torch.equal(final.validation, score.accuracy(mge.generate(pool, 2), data))
    with pytest.raises(ValueError, match="^test.*5 images"):
        evolution.final(pool, data, data[:5])


def test_R15_the_best_of_410_equal_models_looks_better_by_a_point_and_a_half():
    random = np.random.default_rng(0)
    validation = random.binomial(1000, 0.97, size=(500, 410)) / 1000
    test = random.binomial(1000, 0.97, size=(500, 410)) / 1000
    best = validation.argmax(1)
    chosen = validation[np.arange(500), best]
    assert chosen.mean() == pytest.approx(0.9847, abs=0.0005)
    assert chosen.std() == pytest.approx(0.0017, abs=0.0005)
    assert test[np.arange(500), best].mean() == pytest.approx(0.97, abs=0.001)


# ---- refusals ---------------------------------------------------------------------------------
def plain_mutation(pool, generator):
    return mge.generate(pool, 1, 0.9, generator=generator)


def test_a_function_is_a_mutation(pool, data):
    assert same(*[evolve(pool, evolution.Fitness(data), mutate=m, **SMALL)
                  for m in (plain_mutation, lambda p, g: plain_mutation(p, g))])


@pytest.mark.parametrize(("arguments", "named"), [
    ({"pool": nn.Linear(2, 2)}, "pool"), ({"pool": None}, "pool"), ({"fitness": 0.5}, "fitness"),
    ({"mutate": 0.95}, "mutate"),
    ({"mutate": functools.partial(plain_mutation, object())}, "mutate"),
    ({"parents": 9}, "parents.*at most as many as offspring, 8"), ({"parents": 0}, "parents"),
    ({"offspring": 0}, "offspring"), ({"offspring": 4.0}, "offspring"),
    ({"generations": -1}, "generations"), ({"generations": True}, "generations"),
    ({"fusion": 1.5}, "fusion"), ({"mutation": -0.1}, "mutation"),
    ({"mutation": float("nan")}, "mutation"), ({"search": "rnadom"}, "search.*mean 'random'"),
    ({"keep_seed": 1}, "keep_seed"), ({"first": 3}, "first"), ({"race": 0}, "race"),
    ({"race": 5}, "race"), ({"race": 0.05}, "race"), ({"generator": -1}, "generator"),
    ({"state": []}, "state"),
    ({"settings": {}}, "settings")])
def test_evolve_refuses_by_name(arguments, named, pool, data):
    given = {"pool": pool, "fitness": evolution.Fitness(data), "mutate": operators.Redraw(0.9),
             **SMALL}
    with pytest.raises(ValueError, match=f"^({named})"):
        evolve(**given | arguments)


def test_more_refusals(pool, data):
    fitness, mutate = evolution.Fitness(data), operators.Redraw(0.9)
    with pytest.raises(ValueError, match="^state.*another fitness"):
        _, history = evolve(pool, fitness, mutate=mutate, **SMALL)
        evolve(pool, evolution.Fitness(data, beta=0.2), mutate=mutate, state=history,
                      **SMALL)
    with pytest.raises(ValueError, match="^race"):
        evolve(pool, evolution.Fitness(data, robust=0.5), mutate=mutate, race=2, **SMALL)
    with pytest.raises(ValueError, match="^first"):
        evolve(pool, fitness, mutate=mutate, first=mge.generate(pool, 3), **SMALL)
    with pytest.raises(ValueError, match="^pool"):
        evolve(mge.generate(pool, 5), fitness, mutate=mutate, **SMALL)
    for bad in ({"data": torch.zeros(3)}, {"alpha": -1}, {"beta": float("nan")},
                {"robust": "yes"}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))}"):
            evolution.Fitness(**{"data": data} | bad)
    with pytest.raises(ValueError, match="^judged"):
        evolution.choose(mge.generate(pool, 3), fitness.judge(pool))


def test_weights_that_are_no_numbers_are_refused(pool, data):
    def broken(pool, generator):
        return pool.with_flat(pool.flat() * float("nan"))
    with pytest.raises(ValueError, match="NaN or infinity"):
        evolve(pool, evolution.Fitness(data), mutate=broken, **SMALL)


TYPED = """
class Typed(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 3)
    def forward(self, x):
        return self.last(x.flatten(1))
"""


def test_networks_of_a_class_typed_at_a_prompt_evolve_and_go_on():
    """It has no source: told by itself in this process, and another class of its name is another.
    """
    def typed():
        scope = {"nn": nn}
        exec(TYPED, scope)
        return Pool.stack([scope["Typed"]()])

    fitness, pool = evolution.Fitness(images(20)), typed()
    given = {"mutate": operators.Redraw(0.9), "parents": 2, "offspring": 2}
    _, history = evolve(pool, fitness, generations=1, **given)
    last, _ = evolve(pool, fitness, generations=2, state=history, **given)
    whole, _ = evolve(pool, fitness, generations=2, **given)
    assert torch.equal(last.flat(), whole.flat())
    other = typed().with_flat(pool.flat())
    with pytest.raises(ValueError, match="another pool"):
        evolve(other, fitness, generations=2, state=history, **given)


def test_either_draws_each_mutation_by_the_generator(pool):
    either = operators.Either((operators.Redraw(0.5), operators.Noise(0.1)))
    kinds = [either(pool, k).flat() for k in range(20)]
    redrawn = [torch.equal(w, operators.Redraw(0.5)(pool, k).flat()) for k, w in enumerate(kinds)]
    noisy = [torch.equal(w, operators.Noise(0.1)(pool, k).flat()) for k, w in enumerate(kinds)]
    assert any(redrawn) and any(noisy)
    assert all(a != b for a, b in zip(redrawn, noisy, strict=True))
