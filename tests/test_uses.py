"""What notebook 23 measures, on tiny networks: each number from a second, plainer way."""

from functools import partial

import pytest
import torch
from torch import nn

from wlib import mda
from wlib.core import nets
from wlib.data import ImageSet
from wlib.mda import cutting, graphs, routes, sources, uses, wiring
from wlib.seeds import generator


def images(classes=3, count=8, seed=0):
    """Blocks of color that differ by class: fit, held, validation and test, all alike."""
    draw = generator(seed)
    labels = torch.arange(classes).repeat(count)
    x = torch.randint(0, 60, (len(labels), 3, 8, 8), generator=draw, dtype=torch.uint8)
    for k in range(classes):
        x[labels == k, k % 3, 2 * (k // 3):2 * (k // 3) + 4] += 150
    whole = ImageSet(x, labels, tuple("abcdef"[:classes]))
    return sources.Images(whole, whole, whole, whole)


@pytest.fixture(scope="module")
def net():
    from wlib.core import train

    return train.fit("vgg", images().fit, seeds=[0], epochs=15, batch=8, lr=3e-3,
                     widths=(4, 4, 4), device="cpu").network(0)


def test_percent_and_the_surest_images(net):
    fit = images().fit
    z = wiring.logits(net, fit.floats())
    assert uses.percent(net, fit).tolist() == [100.0 * (row.argmax() == y) for row, y in
                                               zip(z, fit.labels, strict=True)]
    chosen = fit[sources.surest(net, fit)]
    x, y = chosen.floats(), chosen.labels
    assert y.tolist() == [k for k in range(3) for _ in range(5)]
    sure = z.softmax(1)
    chosen = {tuple(image.flatten().tolist()) for image in x[y == 1]}
    by_hand = sorted((i for i in range(len(fit)) if fit.labels[i] == 1 and z[i].argmax() == 1),
                     key=lambda i: -sure[i, 1])[:5]
    assert chosen == {tuple(fit.floats()[i].flatten().tolist()) for i in by_hand}


def test_patterns_have_a_row_per_image_and_the_class_matters_to_votes_alone(net):
    test = images(seed=1).test
    found = uses.patterns(net, nets.fresh(net, 1), test)
    assert {v.shape[0] for arm in found.values() for v in arm.values()} == {len(test)}
    votes, untold = found["contributions"], found["class not told"]
    for name, fractions in votes.items():
        first = test.labels == 0
        assert torch.allclose(fractions[first], untold[name][first], atol=1e-6)
    assert any(not torch.allclose(votes[name], untold[name], atol=1e-3) for name in votes)
    reader = list(wiring.trace(net).voting)[1]
    seen = []
    wiring.logits(net, test.floats(), lambda name, m, a: seen.append(a) if name == reader else None)
    mean = torch.cat(seen).mean((2, 3))
    low, high = mean.amin(1, keepdim=True), mean.amax(1, keepdim=True)
    assert torch.allclose(found["mean activation"][reader], (mean - low) / (high - low + 1e-5),
                          atol=1e-5)


def test_rivals_cost_no_more_than_the_part_or_are_as_wide(net):
    pytest.importorskip("torch_pruning")
    sets = images()
    found = uses.compression(net, sets, [0.5, 1.0], 1, seed=0)
    table = found["table"].set_index("arm")
    assert list(table.index) == ["full network", "part", *uses.CRITERIA]
    masks = sources.masks_of(net, sets.fit[sources.surest(net, sets.fit)])
    part = mda.disassemble(net, masks, range(3))
    assert table["macs"]["part"] == cutting.cost(part, (3, 8, 8)).macs
    assert (table["macs"][list(uses.CRITERIA)] <= table["macs"]["part"]).all()
    whole = found["curve"][found["curve"]["fraction"] == 1.0]
    assert len(whole) == 6 and (whole["macs"] == table["macs"]["full network"]).all()
    assert (whole["accuracy"] == table["before"]["full network"]).all()
    for arm, right in found["test"].items():           # validation and test images are the same
        assert right.mean().item() == pytest.approx(table["before"][arm])


def test_students_are_taught_by_the_sources_and_the_best_rate_is_kept(net):
    sets, chosen = [images(), images(seed=2)], [[0, 2], [1]]
    new = nets.fresh(net, 5)
    head = wiring.trace(net).head
    assert net.get_submodule(head).out_features == 3
    calls = []

    def distill(student, x, targets, lr, epochs, seed):
        calls.append((lr, epochs, seed, targets))
        return student if lr < 1 else nn.Sequential(student, Shift())

    teaching = uses.Teaching(lrs=[2.0, 0.5], epochs=7, beside=["joined shape from scratch"])
    found = uses.students([net, net], new, sets, chosen, distill, teaching, seed=3)
    both = sources.together([own.fit for own in sets], chosen)
    _, teacher = uses.side_by_side([net, net], sets, chosen, cut=False)
    assert {call[:3] for call in calls} == {(2.0, 7, 3), (0.5, 7, 3)} and len(calls) == 6
    assert all(torch.allclose(call[3], wiring.logits(teacher, both.floats()), atol=1e-5)
               for call in calls)
    grid = found["grid"].pivot(index="arm", columns="lr", values="accuracy")
    table = found["table"].set_index("arm")["accuracy"]
    assert (grid.max(axis=1) == table[grid.index]).all()
    assert list(found["test"]) == list(table.index)
    assert found["test"]["joined parts"].shape == (len(both),)


class Shift(nn.Module):
    """Other answers: each class is called the next one."""

    def forward(self, x):
        return x.roll(1, dims=1)


def test_uncut_sources_side_by_side_say_what_they_say_alone(net):
    sets, chosen = [images(), images(seed=2)], [[0, 2], [1, 2]]
    plain, scaled = uses.side_by_side([net, net], sets, chosen, cut=False)
    x = sets[0].test.floats()
    z = wiring.logits(net, x)
    own = torch.cat([z[:, [0, 2]], z[:, [1, 2]]], 1)
    assert torch.allclose(wiring.logits(plain, x), own, atol=1e-5)
    factor = wiring.logits(scaled, x) / own
    assert torch.allclose(factor, factor[:1].expand_as(factor), rtol=1e-3)
    assert (factor > 0).all() and factor.std(1).max() > 0


def test_graph_parts_are_compared_with_what_answers_the_same_question(monkeypatch):
    small = partial(graphs.load, nodes=420, words=40, cited=6.0)
    monkeypatch.setattr(uses.graphs, "load", lambda name, seed: small(name, seed))
    found = uses.graph_parts("citations", 30, 2, seed=1, device="cpu").set_index("fields")
    assert list(found.index) == ["0", "1", "1, 2", "3, 4, 5"]
    alone = found.loc[["0", "1"], ["part", "logit restriction", "random channels"]]
    assert (alone == 100).all().all()                   # one output is always right
    papers = small("citations", 1)
    net = graphs.fit(papers, seed=1, epochs=30, device="cpu")
    z = wiring.logits(net, papers.features, at_once=len(papers))
    nodes = papers.test[torch.isin(papers.labels[papers.test], torch.tensor([1, 2]))]
    named = 1 + z[nodes][:, [1, 2]].argmax(1)
    assert found["logit restriction"]["1, 2"] == pytest.approx(
        100 * (named == papers.labels[nodes]).float().mean().item())


def test_the_channels_of_a_route_are_what_layers_write():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4), nn.ReLU(),
                        nn.Linear(4, 3))
    masks = {"0": torch.ones(3, 1).bool(), "3": torch.tensor([[0, 1]] * 3).bool()
             .repeat_interleave(4, 1), "5": torch.eye(3, 4).bool()}
    found = routes.channels(net, masks)
    assert list(found) == ["0", "3"]
    assert found["0"].tolist() == [[False, True]] * 3 and torch.equal(found["3"], masks["5"])


def test_images_of_several_sources_are_labeled_one_after_the_other():
    a, b = images().fit, images(seed=2).fit
    both = sources.together([a, b], [[2], [0, 1]])
    assert both.classes == ("c of source 1", "a of source 2", "b of source 2")
    assert both.labels.bincount().tolist() == [8, 8, 8]
    assert torch.equal(both.images[:8], a.images[a.labels == 2])
