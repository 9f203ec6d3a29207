"""Starts for fine-tuning: each is what it is called, its learning rate the best on other data.
"""

from types import SimpleNamespace

import pytest
import torch

from wlib.d2nwg import backbones, starts, zoo
from wlib.d2nwg.starts import MOVED, NAMES, ORACLE, Setting

TINY = Setting(sets=3, unseen=2, choosing=2, counts=(4, 10, 2, 2), zoo_steps=2, denoising=2,
               width=8, components=2)


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WLIB_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setattr(backbones, "glyph_backbone", lambda **_: torch.nn.Flatten())
        yield


@pytest.fixture(scope="module")
def cases(own_store):
    return {start: case.learned(9) for start, case in starts.zoos(0, TINY, "cpu").items()}


def test_an_aligned_zoo_says_the_same_in_another_order(cases):
    apart, aligned = (cases[start].members.pool for start in ("independent", "aligned"))
    images = cases["shared"].sets["unseen"][0].test
    torch.testing.assert_close(aligned.logits(images), apart.logits(images), atol=1e-4, rtol=1e-4)
    assert torch.equal(aligned.flat()[0], apart.flat()[0])
    assert not torch.equal(aligned.flat()[1], apart.flat()[1])
    ours, theirs = (apart[:1].with_flat(starts.oracles(cases[start]))
                    for start in ("independent", "aligned"))
    torch.testing.assert_close(theirs.logits(images), ours.logits(images), atol=1e-4, rtol=1e-4)
    assert not torch.equal(theirs.flat(), ours.flat())
    assert len(starts.oracles(cases["shared"], 1)) == 1


def test_a_case_learns_from_its_own_zoo_and_a_smaller_one_from_less(cases):
    case = cases["shared"]
    assert case.generator.codec.size == 2                   # three networks span two directions
    assert case.sample("unseen", 4, count=1).shape == (1, 4, 2464)
    told = case.features["unseen"][:, :, :5]
    again = case.generator.sample(told, 4, seed=0, device="cpu")
    assert torch.equal(case.sample("unseen", 4), again)
    one = case.first(2).learned(9, width=16, steps=3)
    assert len(one.members) == len(one.features["train"]) == len(one.sets["train"]) == 2
    assert one.generator.codec.size == 1
    within = case.through_codec(case.members.weights[None])
    torch.testing.assert_close(within[0], case.members.weights, atol=1e-4, rtol=1e-3)
    real = case.showing("real", case.sets["unseen"][:1])
    assert torch.equal(real.conditions("real")[0], case.conditions("unseen", 1)[0])
    with pytest.raises(ValueError, match="^case: "):
        starts.zoos(0, TINY, "cpu")["shared"].sample("unseen", 1)


@pytest.mark.parametrize("start", ["shared", "independent"])
def test_each_start_is_what_it_is_called(cases, start):
    case = cases[start]
    found, weights = starts.starts_of(case, "unseen"), case.members.weights
    assert tuple(found) == NAMES and {w.shape for w in found.values()} == {(2, 2464)}
    assert torch.equal(found["sampled"], case.sample("unseen", 1)[:, 0])
    c, memory = case.conditions("unseen")
    nearest = (c[:, None] - memory).square().sum(2).argmin(1)
    assert torch.equal(found["nearest network"], weights[nearest])
    torch.testing.assert_close(found["mean of the zoo"][1], weights.sum(0) / 3)
    whole = zoo.pretrained(case.sets["train"], steps=20, device="cpu").flat()
    assert torch.equal(found["pretrained on the zoo"], whole.expand(2, -1))
    begun = zoo.shared_start(seed=0).flat()[0]
    assert [torch.equal(row, begun) for row in found["random start"]] == [start == "shared"] * 2
    first, = starts.starts_of(case, "unseen", 1)["random start"]
    assert torch.equal(first, found["random start"][0])


def test_courses_begin_with_what_a_start_knows_and_go_on_as_training_does(cases):
    case, steps = cases["shared"], [0, 2]
    found = starts.curves(case, {"sampled": 0.01, ORACLE: 0.1}, 1, steps)
    assert tuple(found) == ("sampled", ORACLE)
    oracle = case.through_codec(starts.oracles(case, 1))
    own = case.sets["unseen"][0]
    for name, weights, lr in (("sampled", case.sample("unseen", 1, 1)[:, 0], 0.01),
                                (ORACLE, oracle, 0.1)):
        pool = case.members.pool[:1].with_flat(weights)
        after, = zoo.descend(pool, own.train, keep=(2,), lr=lr, device="cpu")
        by_hand = [100 * zoo.accuracy(p, own.test).item() for p in (pool, after)]
        assert found[name].tolist() == [pytest.approx(by_hand)]
    assert tuple(starts.curves(case, dict.fromkeys(MOVED, 0.1), 1, steps)) == MOVED


def test_the_rate_is_the_best_in_the_mean_over_cases(monkeypatch):
    #            lr 0.1            lr 0.2: better at the end alone
    points = {("a", 0.1): (50, 90, 90), ("a", 0.2): (0, 10, 95),
              ("b", 0.1): (0, 0, 10), ("b", 0.2): (0, 20, 60)}
    asked = []

    def course(case, weights, part, steps, lr, images):
        asked.append((part, images))
        at = torch.tensor([points[weights, lr]], dtype=torch.float64)
        return at if case.seed == 0 else 100 - at if weights == "b" and lr == 0.2 else at / 2

    monkeypatch.setattr(starts, "starts_of", lambda case, part, count: {"a": "a", "b": "b"})
    monkeypatch.setattr(starts, "course", course)
    two = [SimpleNamespace(seed=seed) for seed in (0, 1)]
    found = starts.chosen_lrs(two, 1, [0, 1, 2], [0.1, 0.2], ["a", "b"])
    assert found == {"a": 0.1, "b": 0.2} and set(asked) == {("validation", "validation")}
    assert starts.chosen_lrs(two, 1, [0, 1, 2], [0.2, 0.1], ["a"]) == {"a": 0.1}
