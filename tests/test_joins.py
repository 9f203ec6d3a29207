"""What notebook 22 measures, on tiny networks: each number from a second, plainer way."""

import numpy as np
import pytest
import torch
from torch import nn

from wlib import mda
from wlib.core import train
from wlib.core.pool import Pool
from wlib.data import ImageSet
from wlib.mda import cutting, joins, lego, sources, wiring
from wlib.seeds import generator

CHOSEN = {"a": [0, 2], "b": [1, 2]}


def images(seed=0, classes=3, count=8):
    """Blocks of color that differ by class: fit, held, validation and test, each drawn anew."""
    def split(number):
        labels = torch.arange(classes).repeat(count)
        x = torch.randint(0, 90, (len(labels), 3, 8, 8), generator=generator(seed, number),
                          dtype=torch.uint8)
        for k in range(classes):
            x[labels == k, (k + seed) % 3, :4 + 4 * seed] += 160
        return ImageSet(x, labels, tuple("abc"[:classes]))
    return sources.Images(*map(split, range(4)))


@pytest.fixture(scope="module")
def world():
    sets = {"a": images(0), "b": images(1)}
    pools = {name: train.fit("vgg", own.fit, seeds=[0, 1], epochs=25, batch=8, lr=5e-3,
                             widths=(4, 4, 4), device="cpu") for name, own in sets.items()}
    return joins.Sources(sets, pools)


@pytest.fixture(scope="module")
def found(world):
    return world.answers(CHOSEN, 1, "test")


def test_parts_are_cut_as_by_hand(world):
    net, own = world.pools["b"].network(1), world.images["b"].fit
    spoken = own[mda.select(net, own.floats(), own.labels, 5)]
    masks = mda.masks(mda.contributions(net, spoken.floats(), spoken.labels), mode="graph")
    by_hand, x = mda.disassemble(net, masks, [1, 2]), own.floats()
    part = world.parts(CHOSEN, 1)[1]
    assert torch.equal(wiring.logits(part, x), wiring.logits(by_hand, x))
    assert world.parts({"b": (1, 2)}, 1)[0] is part          # cut once
    assert world.parts({"b": [1]}, 1)[0] is not part


def test_answers_name_the_largest_output_of_each_arm(world, found):
    both = world.together(CHOSEN).test
    assert torch.equal(found["truth"], both.labels)
    parts, whole = world.parts(CHOSEN, 1), world.networks(CHOSEN, 1)
    x = both.floats()
    z = [wiring.logits(part, x) for part in parts]
    every = [wiring.logits(net, x) for net in whole]
    outputs = {"padded": z, "restricted sources": [own[:, c] for own, c in zip(
                   every, CHOSEN.values(), strict=True)],
               "softmax then restricted": [own.softmax(1)[:, c] for own, c in zip(
                   every, CHOSEN.values(), strict=True)]}
    for arm, own in outputs.items():
        assert torch.equal(found[arm], torch.cat(own, 1).argmax(1)), arm
    joined = lego.assemble(parts, world.scales(CHOSEN, parts), execution="dense")
    assert (wiring.logits(joined, x).argmax(1) == found["scaled"]).double().mean() > 0.9
    first = both.labels < 2                                    # images of the first source
    assert torch.equal(found["parts apart"][first], z[0][first].argmax(1))
    assert torch.equal(found["parts apart"][~first], 2 + z[1][~first].argmax(1))
    base = torch.where(first, every[0].argmax(1), every[1].argmax(1))
    own_class = torch.tensor([0, 2, 1, 2])[both.labels]
    assert torch.equal(found["base"] == both.labels, base == own_class)
    assert set(found["base"][base != own_class].tolist()) <= {-1}


def test_scales_are_fitted_to_held_out_images_but_in_one_arm(world, found):
    parts, x = world.parts(CHOSEN, 1), world.together(CHOSEN).test.floats()
    for arm, split in (("scaled", "held"), ("fitted on the judged images", "test")):
        own = [sources.together([getattr(world.images[name], split)], [classes])
               for name, classes in CHOSEN.items()]
        z = [wiring.logits(part, x) * lego.scaling(part, s.floats(), s.labels).factor
             for part, s in zip(parts, own, strict=True)]
        assert torch.equal(found[arm], torch.cat(z, 1).argmax(1)), arm
    size = [1 / lego.scaling(part, s.floats(), s.labels, "source").factor[0]
            for part, s in zip(parts, [sources.together([world.images[n].held], [c])
                                       for n, c in CHOSEN.items()], strict=True)]
    assert torch.allclose(found["size"], torch.stack(size))
    assert joins.factor(found) == pytest.approx((max(size) / min(size)).item())


def test_the_router_asks_the_source_that_the_features_tell(world, found):
    """These two sources' images are easy to tell apart: the router asks the right one."""
    both = world.together(CHOSEN).test
    z = [wiring.logits(net, both.floats())[:, c] for net, c in
         zip(world.networks(CHOSEN, 1), CHOSEN.values(), strict=True)]
    apart = torch.where(both.labels < 2, z[0].argmax(1), 2 + z[1].argmax(1))
    assert (found["source router"] == apart).double().mean() > 0.9
    assert not torch.equal(joins.largest_of(z, torch.zeros(len(both)).long()), apart)


def test_points_count_all_classes_the_same():
    found = {"truth": torch.tensor([0, 0, 0, 1]), "arm": torch.tensor([0, 0, 1, 1])}
    points = joins.points(found, "arm")
    assert points.mean().item() == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert points[2] == 0 and points[3].item() == pytest.approx(3 * points[0].item())


def test_confusion_and_what_goes_to_the_other_source():
    runs = [{"truth": torch.tensor([0, 0, 1, 2]), "arm": torch.tensor([0, 2, 1, 0])},
            {"truth": torch.tensor([0, 1, 1, 2]), "arm": torch.tensor([0, 0, 1, 2])}]
    cells = joins.confusion(runs, "arm", ["a", "b", "c"])
    third = 100 / 3
    assert np.allclose(cells, [[2 * third, 0, third], [third, 2 * third, 0], [50, 0, 50]])
    assert joins.foreign(cells, [0], first=2) == pytest.approx(third)
    assert joins.foreign(cells, [1, 2], first=2) == pytest.approx(25)
    worst = joins.frequent_errors(cells, most=2)
    assert worst.iloc[0].to_dict() == {"image": "c", "answer": "a", "percent": 50.0}
    assert set(zip(worst["image"], worst["answer"], strict=True)) < {
        ("c", "a"), ("a", "c"), ("b", "a")}


def test_padding_is_an_identity_and_order_matters(world):
    parts = world.parts(CHOSEN, 0)
    gap = joins.differences(parts, images(3).test)
    assert gap["parts side by side"] == 0 and gap["padded"] < 1e-5 < gap["wrong block order"]


def test_blocks_and_operations_of_a_joined_network():
    part = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    dense = lego.assemble([part, part], execution="dense")
    sizes, empty = joins.blocks(dense)
    assert {name: tuple(size.shape) for name, size in sizes.items()} == {"0": (6, 4), "2": (4, 6)}
    assert empty == 0.5 and (sizes["2"][:2, 3:] == 0).all() and (sizes["0"] > 0).all()
    one = cutting.cost(part, (4,)).macs
    assert joins.operations([part, part], (4,), "grouped") == 2 * one
    assert joins.operations([part, part], (4,), "dense") == 6 * 4 + 4 * 6


def test_the_first_seed_chooses_the_rate_and_every_arm_starts_where_it_should(world):
    both, starts = world.together(CHOSEN), [world.starts(CHOSEN, i) for i in range(2)]
    x, parts = both.test.floats(), world.parts(CHOSEN, 0)
    z = {arm: wiring.logits(start if arm == "scratch" else start.network(0), x)
         for arm, start in starts[0].items()}
    assert list(z) == ["dense", "winning logits at 1", "not scaled", "zeros held", "scratch"]
    assert torch.equal(z["not scaled"], z["scratch"])
    assert torch.allclose(z["dense"], z["zeros held"], atol=1e-4)
    own = torch.cat([wiring.logits(part, x) for part in parts], 1)
    assert torch.allclose(z["not scaled"], own, atol=1e-5)
    ratio = z["dense"] / z["winning logits at 1"]              # one common factor
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-3) and ratio[0, 0] != 1

    arms = [{"dense": start["dense"], "scratch": start["scratch"]} for start in starts]
    tuned = joins.fine_tuned(arms, both, seeds=[0, 1], lrs=[1e-9, 3e-3], epochs=2, device="cpu")
    known = {lr: [train.fit(arms[i]["scratch"], both.fit, seeds=[i], epochs=2, batch=32,
                            lr=lr, device="cpu").flat()[0] for i in range(2)]
             for lr in (1e-9, 3e-3)}
    right = {lr: (wiring.logits(train.fit(arms[0]["scratch"], both.fit, seeds=[0], epochs=2,
                                          batch=32, lr=lr, device="cpu").network(0),
                                  both.validation.floats()).argmax(1)
                    == both.validation.labels).double().mean() for lr in known}
    best = max(right, key=right.__getitem__)
    for i in range(2):
        assert torch.allclose(tuned[i]["scratch"].flat()[0], known[best][i])
    after = joins.points_after(tuned[0]["dense"], both, "test")
    named = wiring.logits(tuned[0]["dense"].network(0), x).argmax(1)
    assert torch.equal(after > 0, named == both.test.labels)


def test_energy_of_zeros_is_that_of_weights_that_were_zero():
    start, tuned = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    start.weight.data, tuned.weight.data = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 3.0]])
    assert joins.energy_of_zeros(Pool.stack([start]), Pool.stack([tuned])) == pytest.approx(0.1)


def test_a_probe_reads_what_the_last_layers_read(world):
    both, parts = world.together(CHOSEN), world.parts(CHOSEN, 0)
    seen = joins.features(parts, both.test.floats())
    heads = [part.get_submodule(wiring.trace(part).head) for part in parts]
    z = np.split(seen, [heads[0].in_features], axis=1)
    for part, head, own in zip(parts, heads, z, strict=True):
        assert torch.allclose(head(torch.from_numpy(own)),
                              wiring.logits(part, both.test.floats()), atol=1e-5)
    named = joins.probe(parts, both, [0.1, 1.0])
    assert {split: len(own) for split, own in named.items()} == {
        "validation": len(both.validation), "test": len(both.test)}
    assert joins.points_after(named, both, "test").mean() > 60         # chance: 25
