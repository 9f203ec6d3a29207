"""What notebook 21 measures, on tiny networks: each number from a second, plainer way."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from wlib import mda
from wlib.core import nets, train
from wlib.data import ImageSet
from wlib.mda import cutting, trials, wiring
from wlib.seeds import generator


def images(classes=6, count=7, seed=0):
    """Squares of color whose place and color say the class."""
    labels = torch.arange(classes).repeat(count)
    x = torch.randint(0, 60, (len(labels), 3, 8, 8), generator=generator(seed), dtype=torch.uint8)
    for k in range(classes):
        x[labels == k, k % 3, 4 * (k // 3):4 * (k // 3) + 4] += 150
    return ImageSet(x, labels, tuple("abcdefgh"[:classes]))


@pytest.fixture(scope="module")
def net():
    return train.fit("vgg", images(), seeds=[0], epochs=20, batch=8, lr=3e-3,
                     widths=(6, 6, 6), device="cpu").network(0)


@pytest.fixture(scope="module")
def spoken(net):
    return images()[trials.surest(net, images(), per_class=3)]


def test_where_no_image_of_a_class_is_right_wrong_ones_speak_too(net):
    fresh, data = nets.fresh(net, 1), images()
    answers = wiring.logits(fresh, data.floats()).argmax(1)
    assert len((data.labels[answers == data.labels]).unique()) < 6
    chosen = trials.surest(fresh, data, per_class=2)
    assert data.labels[chosen].tolist() == [k for k in range(6) for _ in range(2)]
    assert (wiring.logits(net, data[trials.surest(net, data, 2)].floats()).argmax(1)
            == torch.arange(6).repeat_interleave(2)).all()


def test_four_sets_and_answers_among_some_classes(net):
    assert trials.four_sets(10) == [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 3, 4],
                                    [5, 6, 7, 8, 9]]
    data, fresh = images(seed=3), nets.fresh(net, 2)
    z = wiring.logits(fresh, data.floats())
    own = torch.isin(data.labels, torch.tensor([1, 4]))
    named = torch.tensor([1, 4])[z[own][:, [1, 4]].argmax(1)]
    assert torch.equal(trials.right(fresh, trials.of(data, [1, 4]), [1, 4]),
                       named == data.labels[own])
    assert trials.accuracy(fresh, data, [1, 4]) == (named == data.labels[own]).double().mean()


def test_rivals_are_as_wide_as_the_part(net, spoken):
    masks = trials.masks_of(net, spoken)
    made = dict(trials.cuts(net, masks, spoken, [0, 3], 5, draws=2))
    assert list(made) == ["logit restriction", "MDA", "random 0", "random 1",
                          "largest weights (L1)", "mean activation", "Taylor"]
    assert made.pop("logit restriction") is net
    part = mda.disassemble(net, masks, [0, 3], head="full")
    assert {cutting.cost(part, (3, 8, 8)) for part in made.values()} == {
        cutting.cost(part, (3, 8, 8))}


def test_a_trial_has_the_source_among_all_classes_and_the_mean_of_random_draws(net, spoken):
    data = images(seed=1)
    found = trials.trial(net, spoken, data, 2, 4)
    assert list(found)[0] == "source" and list(found)[-1] == "random channels"
    masks = trials.masks_of(net, spoken)
    for number, classes in enumerate(trials.four_sets(6)):
        own = trials.of(data, classes)
        z = wiring.logits(net, own.floats())
        assert torch.equal(found["source"][number], (z.argmax(1) == own.labels).double())
        made = dict(trials.cuts(net, masks, spoken, classes, 40 + number, 2))
        drawn = torch.stack([trials.right(made[f"random {d}"], own, classes).double()
                             for d in range(2)])
        assert torch.allclose(found["random channels"][number], drawn.mean(0))
        assert torch.equal(found["MDA"][number],
                           trials.right(made["MDA"], own, classes).double())


def test_new_statistics_are_measured_on_the_parts_own_classes(net, spoken):
    table = trials.recalibrated(net, spoken, images(), images(seed=1), 0)
    assert set(table["arm"]) == {"logit restriction", "MDA", "random channels", "Taylor",
                                 "largest weights (L1)", "mean activation"}
    before = table[(table["arm"] == "MDA") & (table["statistics"] == "as cut")]["accuracy"]
    masks, data = trials.masks_of(net, spoken), images(seed=1)
    assert before.tolist() == [
        trials.accuracy(mda.disassemble(net, masks, T, head="full"), data, T)
        for T in trials.four_sets(6)]
    again = trials.recalibrated(net, spoken, images(seed=9), images(seed=1), 0)
    assert (again["accuracy"] != table["accuracy"])[table["statistics"] == "as cut"].sum() == 0


def test_a_sweep_ends_at_the_whole_network(net, spoken):
    data = images(seed=1)
    table = trials.sweep(net, spoken, data, [0.5, 1.0], 0)
    whole = table[table["fraction"] == 1.0]
    assert (whole["macs"] == 1).all()
    for number, classes in enumerate(trials.four_sets(6)):
        assert set(whole[whole["set"] == number]["accuracy"]) == {
            trials.accuracy(net, data, classes)}
    assert (table[table["fraction"] == 0.5]["macs"] < 1).all()


def test_parts_abroad_answer_with_all_outputs(net, spoken):
    data = images(seed=1)
    table = trials.abroad(net, spoken, data, 1, 0).set_index(["part", "arm", "on"])["accuracy"]
    part = mda.disassemble(net, trials.masks_of(net, spoken), [0, 1, 2], head="full")
    named, mine = wiring.logits(part, data.floats()).argmax(1) == data.labels, data.labels < 3
    assert table["three", "MDA", "own"] == named[mine].double().mean()
    assert table["three", "MDA", "other"] == named[~mine].double().mean()
    all_right = wiring.logits(net, data.floats()).argmax(1) == data.labels
    assert table["three", "source", "other"] == all_right[~mine].double().mean()


def test_no_layer_cut_is_logit_restriction(net, spoken):
    sets = images(seed=1), images(seed=2)
    table = trials.depths(net, spoken, *sets, 2, 0).set_index(["arm", "layers"])
    for split, data in zip(("validation", "test"), sets, strict=True):
        whole = sum(trials.accuracy(net, data, T) for T in trials.four_sets(6)) / 4
        deepest = table.loc["MDA"].index.max()
        masks = trials.masks_of(net, spoken)
        cut = [mda.disassemble(net, masks, T, head="full") for T in trials.four_sets(6)]
        every = sum(trials.accuracy(p, data, T) for p, T in zip(cut, trials.four_sets(6),
                                                                strict=True)) / 4
        assert table[split]["MDA", 0] == pytest.approx(whole)
        assert table[split]["random channels", 0] == pytest.approx(whole)
        assert table[split]["MDA", deepest] == pytest.approx(every)


def test_a_part_of_one_class_is_always_right_and_its_output_is_ranked(net, spoken):
    data = images(seed=1)
    table = trials.singles(net, spoken, data, ["source", "MDA", "random channels"], 2, 0)
    assert (table["accuracy"] == 1).all() and len(table) == 6 * (1 + 1 + 2)
    alone = trials.singles(net, spoken, data, ["MDA"], 2, 0)
    assert alone.equals(table[table["arm"] == "MDA"].reset_index(drop=True))
    z = wiring.logits(net, data.floats())
    assert table[table["arm"] == "source"]["AUC"].tolist() == pytest.approx(
        [roc_auc_score(data.labels == c, z[:, c]) for c in range(6)])


def test_readings_of_the_method_have_the_default_as_mda_does_it(net):
    fitted, data = images(), images(seed=1)
    table = trials.variants(net, fitted, data, per_class=3).set_index("variant")
    assert list(table.index) == list(trials.VARIANTS)
    spoken = fitted[trials.surest(net, fitted, 3)]
    masks, four = trials.masks_of(net, spoken), trials.four_sets(6)
    cut = [mda.disassemble(net, masks, T, head="full") for T in four]
    right = [100 * trials.accuracy(p, data, T) for p, T in zip(cut, four, strict=True)]
    kept = [100 * sum(w.numel() for w in p.parameters())
            / sum(w.numel() for w in net.parameters()) for p in cut]
    assert table["accuracy"]["default"] == pytest.approx(sum(right) / 4)
    assert table["weights"]["default"] == pytest.approx(sum(kept) / 4)


def test_the_tour_shows_what_stays_and_what_the_part_knows(net, spoken):
    data = images(seed=1)
    shown = trials.tour(net, spoken, data, [[4, 1], list(range(6))])
    part = mda.disassemble(net, trials.masks_of(net, spoken), [1, 4])
    own = trials.of(data, [1, 4])
    named = torch.tensor([1, 4])[wiring.logits(part, own.floats()).argmax(1)]
    first = shown[0]
    assert first["classes"] == [1, 4]
    assert first["pruned"] == (named == own.labels).double().mean()
    assert first["restricted"] == trials.accuracy(net, data, [1, 4])
    counts = [int(mask.sum()) for mask in first["stays"].values()]
    convs = [m.out_channels for m in part.modules() if isinstance(m, torch.nn.Conv2d)]
    assert counts[:len(convs)] == convs
    assert first["weights"] == sum(p.numel() for p in part.parameters()) / sum(
        p.numel() for p in net.parameters())
    assert len(shown[1]["every"]) == 6 and shown[1]["weights"] <= 1
