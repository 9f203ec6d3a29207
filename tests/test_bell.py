"""BELL: losses by hand, the walk against a plain one, and the expansion that explains it."""

import copy
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small import Own, few, images, lived
from torch import nn
from torch.func import grad

from wlib.book import drawings
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.free import bell
from wlib.free.bell import Imitation


@pytest.fixture(scope="module")
def learner():
    return Pool.stack([lived(nets.fresh("conv4", 0, classes=3, size=16, width=4))])


@pytest.fixture(scope="module")
def tasks():
    """Images and what teachers of different architectures say of them."""
    teachers = [lived(Own(), i) for i in range(3)]
    teachers.append(lived(nets.fresh("resnet", 1, classes=3, size=16, widths=(4,))))
    pairs = [(images(12, size=16, seed=i), net) for i, net in enumerate(teachers)]
    return [(part, net(part.floats()).detach() * 3) for part, net in pairs]


def plain(net, tasks, drawn, optimizer, joint=False):
    """A second implementation of one walk: modules, training mode, torch's own losses."""
    walker = copy.deepcopy(net).train()
    step = optimizer(walker.parameters())
    for i in drawn:
        at = copy.deepcopy(net).train() if joint else walker
        part, logits = tasks[i]
        loss = nn.KLDivLoss(reduction="batchmean")(F.log_softmax(at(part.floats()), 1),
                                                   F.softmax(logits, 1))
        gradients = torch.autograd.grad(loss, list(at.parameters()))
        for p, g in zip(walker.parameters(), gradients, strict=True):
            p.grad = g
        step.step()
    return walker


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def sgd(weights):
    return torch.optim.SGD(weights, lr=0.05)


def adam(weights):
    return torch.optim.Adam(weights, lr=1e-3)


# ---- imitation ----------------------------------------------------------------------------------
def test_losses_by_hand():
    s, t = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    assert bell.kd_loss(s, t, "official").item() == pytest.approx(-0.40962, abs=1e-5)
    assert bell.kd_loss(s, t).item() == pytest.approx(0.98258, abs=1e-5)


@few
@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 99))
def test_the_official_loss_is_torchs_with_probabilities_for_logarithms(count, classes, seed):
    g = torch.Generator().manual_seed(seed)
    s, t = 3 * torch.randn(2, count, classes, generator=g)
    want = F.kl_div(s.softmax(1), t.softmax(1), reduction="none").mean()
    torch.testing.assert_close(bell.kd_loss(s, t, "official"), want)
    divergence = torch.distributions.kl_divergence(torch.distributions.Categorical(logits=t),
                                                   torch.distributions.Categorical(logits=s))
    torch.testing.assert_close(bell.kd_loss(s, t), divergence.mean(), rtol=1e-4, atol=1e-6)
    assert bell.kd_loss(s, t) >= 0
    assert bell.kd_loss(t + 7, t).item() == pytest.approx(0, abs=1e-5)


def test_the_official_loss_is_least_at_hard_labels():
    t = torch.tensor([[0.0, 1.0, 0.5]])
    hard = bell.kd_loss(torch.tensor([[-50.0, 50.0, -50.0]]), t, "official")
    assert hard < bell.kd_loss(t, t, "official")             # better than perfect imitation
    assert bell.kd_loss(t, t) < bell.kd_loss(torch.tensor([[-5.0, 5.0, -5.0]]), t)


def test_a_task_is_images_with_logits_or_with_their_teacher(learner):
    teacher, part = lived(Own(), 4), images(6, size=16)
    logits = teacher(part.floats()).detach()
    for given_as in (logits, teacher, Pool.stack([teacher])):
        for x in (part, part.floats()):
            (task,) = bell.prepare(learner, [(x, given_as)])
            torch.testing.assert_close(task.logits, logits, rtol=1e-4, atol=1e-6)
            assert torch.equal(task.images, part.floats())


# ---- the walk -----------------------------------------------------------------------------------
@pytest.mark.parametrize("inner", [sgd, adam])
@pytest.mark.parametrize("order", bell.ORDERS)
def test_a_walk_is_a_plain_one(order, inner, learner, tasks):
    settings = {"inner": inner.__name__, "inner_lr": inner([torch.zeros(1)]).defaults["lr"]}
    got = bell.imitate(learner, tasks[1:], Imitation(at_once=3, order=order, **settings), steps=1)
    ends = {drawn: flat(plain(learner.network(0), tasks[1:], drawn, inner, order == "joint"))
            for drawn in ([(0, 1, 2)] if order == "fixed" else permutations(range(3)))}
    gaps = {drawn: (got.flat()[0] - end).abs().max().item() for drawn, end in ends.items()}
    assert min(gaps.values()) < 2e-5
    assert max(gaps.values()) > 1e-4 or order != "sequential"     # another order ends elsewhere


def test_the_joint_step_is_one_step_on_the_sum_of_the_losses(learner, tasks):
    got = bell.imitate(learner, tasks, Imitation(order="joint", inner_lr=0.05), steps=1)
    net = learner.network(0).train()
    loss = sum(bell.kd_loss(net(part.floats()), logits) for part, logits in tasks)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
    torch.testing.assert_close(got.flat()[0], learner.flat()[0] - 0.05 * gradient, rtol=1e-4,
                               atol=1e-5)


def test_orders_agree_where_there_is_nothing_to_order(learner, tasks):
    ends = [bell.imitate(learner, tasks, Imitation(at_once=1, order=order), steps=3).flat()
            for order in bell.ORDERS]
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_each_meta_step_draws_different_tasks(learner, tasks):
    """Of one task, only its own gradient moves the learner: the draws show in the result."""
    steps = 6
    alone = [bell.imitate(learner, [task], Imitation(at_once=1), steps=1).flat() for task in tasks]
    drawn = [bell.imitate(learner, tasks, Imitation(at_once=1), steps=1, seed=seed).flat()
             for seed in range(steps)]
    seen = {min(range(4), key=lambda i, d=d: (d - alone[i]).abs().max()) for d in drawn}
    assert len(seen) > 1
    again = bell.imitate(learner, tasks, Imitation(at_once=2), steps=2, seed=5)
    same = bell.imitate(learner, tasks, Imitation(at_once=2), steps=2, seed=5)
    assert torch.equal(again.flat(), same.flat())


def test_reptile_goes_a_share_of_the_way(learner, tasks):
    whole = bell.imitate(learner, tasks, Imitation(order="fixed"), steps=1).flat()
    third = bell.imitate(learner, tasks, Imitation(order="fixed", outer_lr=1 / 3), steps=1).flat()
    torch.testing.assert_close(third, learner.flat() + (whole - learner.flat()) / 3)


def test_a_factor_before_adam_changes_nothing(learner, tasks):
    """The official code's 67: wherever the walk went farther than 1e-4, updates agree to 1e-7."""
    far = bell.imitate(learner, tasks, Imitation(order="fixed"), steps=1).flat() - learner.flat()
    settings = Imitation(order="fixed", outer="adam", outer_lr=1e-3)
    updates = [bell.imitate(learner, tasks, replace(settings, scale=scale), steps=1).flat()
               - learner.flat() for scale in (1.0, 67.0)]
    moved = far.abs() > 1e-4
    assert moved.sum() > 100
    torch.testing.assert_close(updates[0][moved], 1e-3 * far[moved].sign(), rtol=0, atol=3e-7)
    torch.testing.assert_close(updates[0][moved], updates[1][moved], rtol=0, atol=3e-7)


def test_the_official_form_moves_every_weight_by_its_rate(learner, tasks):
    moved = bell.imitate(learner, tasks, bell.OFFICIAL, steps=1).flat() - learner.flat()
    assert moved.abs().max().item() == pytest.approx(1e-3, rel=1e-2)


def test_the_learner_itself_and_its_buffers_stay(learner, tasks):
    before = learner.digest()
    got = bell.imitate(learner, tasks, steps=2)
    assert learner.digest() == before
    assert all(torch.equal(t, learner.buffers[k]) for k, t in got.buffers.items())
    assert torch.equal(bell.imitate(learner, tasks, steps=0).flat(), learner.flat())


def test_imitation_is_learned(learner, tasks):
    def far(pool):
        net = pool.network(0).train()
        return sum(bell.kd_loss(net(part.floats()), logits).item() for part, logits in tasks)
    for order in bell.ORDERS:
        after = bell.imitate(learner, tasks, Imitation(order=order), steps=8)
        assert far(after) < 0.8 * far(learner)


def test_a_network_of_foreign_build_walks_too(tasks):
    start = Pool.stack([lived(Own())])
    end = bell.imitate(start, tasks, Imitation(order="fixed"), steps=1).flat()[0]
    expected = flat(plain(start.network(0), tasks, range(4), sgd))
    torch.testing.assert_close(end, expected, rtol=1e-4, atol=1e-5)


# ---- cosines ------------------------------------------------------------------------------------
def test_cosines_are_those_of_torchs_gradients(learner, tasks):
    net = learner.network(0).train()
    for part in ("body", "all"):
        rows = []
        for data, logits in tasks:
            net.zero_grad()
            bell.kd_loss(net(data.floats()), logits).backward()
            rows.append(torch.cat([p.grad.flatten() for k, p in net.named_parameters()
                                   if part == "all" or not k.startswith("head")]))
        rows = torch.stack(rows).double()
        expected = F.cosine_similarity(rows[:, None], rows[None], dim=2)
        got = bell.cosines(learner, tasks, part=part)
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(got.diagonal(), torch.ones(4, dtype=torch.float64))
        torch.testing.assert_close(got, got.T)


# ---- why the walk aligns ------------------------------------------------------------------------
def quadratics(count, size, seed):
    g = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        a = torch.randn(size, size, generator=g, dtype=torch.float64)
        h, b = a @ a.T, torch.randn(size, generator=g, dtype=torch.float64)
        made.append(lambda w, h=h, b=b: w @ h @ w / 2 + b @ w)
    return made, torch.randn(size, generator=g, dtype=torch.float64)


def test_two_steps_by_hand():
    """L1 = w²/2 − 2w and L2 = 3w²/2 + w from 0.5 at α = 0.1: 0.65, then 0.355."""
    losses = [lambda w: (w * w / 2 - 2 * w).sum(), lambda w: (1.5 * w * w + w).sum()]
    start = torch.tensor([0.5], dtype=torch.float64)
    assert bell.walk(losses[:1], start, 0.1).item() == pytest.approx(0.65)
    assert bell.walk(losses, start, 0.1).item() == pytest.approx(0.355)
    one = (start - bell.walk(losses, start, 0.1)) / 0.1
    assert one.item() == pytest.approx(-1.5 + 2.5 - 0.1 * 3 * -1.5)           # g1 + g2 − α H2 g1
    other = (start - bell.walk(losses[::-1], start, 0.1)) / 0.1
    found = bell.gradient_alignment(losses, start, 0.1)
    assert found.item() == pytest.approx((one + other).item() / 2)


def test_residuals_go_with_the_rate_and_with_its_square():
    losses, start = quadratics(3, 4, 0)
    frame = bell.residuals(losses, start, [1e-2, 5e-3, 1e-3])
    square = frame["aligned"] / frame["lr"] ** 2
    assert square.max() / square.min() - 1 < 1e-4              # quadratics: nothing beyond α²
    line = frame["joint"] / frame["lr"]
    assert line.iloc[2] == pytest.approx(line.iloc[1], rel=0.05)
    assert (frame["aligned"] < frame["joint"]).all()


def test_the_square_holds_for_losses_that_are_not_quadratic():
    losses, start = quadratics(2, 3, 1)
    bent = [lambda w, f=f: f(w).tanh() + w.sin().sum() for f in losses]
    frame = bell.residuals(bent, 0.3 * start, [1e-2, 1e-3, 1e-4])
    powers = np.diff(np.log(frame[["joint", "aligned"]]), axis=0) / np.log(1e-1)
    assert powers[:, 0] == pytest.approx(1, abs=0.1)
    assert powers[:, 1] == pytest.approx(2, abs=0.1)


@few
@given(st.integers(2, 4), st.integers(1, 4), st.integers(0, 99))
def test_what_the_walk_descends_by_hessians(count, size, seed):
    losses, w = quadratics(count, size, seed)
    gradients = [grad(f)(w) for f in losses]
    hessians = [torch.autograd.functional.hessian(f, w) for f in losses]
    expected = sum(gradients) - 0.05 * sum(hessians[i] @ gradients[j] + hessians[j] @ gradients[i]
                                        for i in range(count) for j in range(i))
    torch.testing.assert_close(bell.gradient_alignment(losses, w, 0.1), expected)


def test_it_climbs_the_inner_products():
    """Against the joint step, the walk's second-order term points where gradients agree more."""
    losses, w = quadratics(3, 4, 2)
    def agreement(w):
        g = [grad(f)(w) for f in losses]
        return g[0] @ g[1] + g[0] @ g[2] + g[1] @ g[2]
    extra = sum(grad(f)(w) for f in losses) - bell.gradient_alignment(losses, w, 0.01)
    torch.testing.assert_close(extra, 0.005 * grad(agreement)(w))


# ---- refusals -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("arguments", "named"), [
    ({"learner": nn.Linear(2, 2)}, "learner"), ({"tasks": []}, "at_once|tasks"),
    ({"steps": -1}, "steps"), ({"steps": 1.5}, "steps"), ({"at_once": 0}, "at_once"),
    ({"at_once": 9}, "at_once.*number of tasks, 4"), ({"order": "jiont"}, "order.*'joint'"),
    ({"inner": "lion"}, "inner"), ({"outer": None}, "outer"), ({"kd": "KL"}, "kd"),
    ({"inner_lr": 0}, "inner_lr"), ({"outer_lr": float("inf")}, "outer_lr"),
    ({"scale": "67"}, "scale"), ({"seed": -1}, "seed"), ({"device": "gpu"}, "device")])
def test_align_refuses_by_name(arguments, named, learner, tasks):
    given = {"learner": learner, "tasks": tasks, "steps": 1} | arguments
    own = {name: given.pop(name) for name in Imitation.__dataclass_fields__ if name in given}
    with pytest.raises(ValueError, match=f"^({named})"):
        bell.imitate(settings=Imitation(**own), **given)


def test_tasks_that_do_not_suit_the_learner(learner, tasks):
    part, logits = tasks[0]
    for bad, named in (((part, logits[:5]), r"logits: .*\(12, 3\)"),
                       ((part, logits[:, :2]), r"logits: .*the learner's 3 outputs"),
                       ((part, Own(classes=4)), "logits"), ((part,), "got"), (part, "got"),
                       ((part, Pool.stack([Own(), Own()])), "teacher: .*one network"),
                       ((part.images, logits), "images"), ((part, 3), "logits")):
        with pytest.raises(ValueError, match=rf"^tasks\[1\].*{named}"):
            bell.imitate(learner, [tasks[0], bad], Imitation(at_once=1), steps=1)
    with pytest.raises(ValueError, match="^inputs: .*takes"):
        bell.cosines(learner, [(images(6, size=16, channels=3), torch.zeros(6, 3))])
    with pytest.raises(ValueError, match="^part"):
        bell.cosines(learner, tasks, part="head")
    with pytest.raises(ValueError, match="^learner.*one network"):
        bell.cosines(learner.repeat(2), tasks)


def test_more_refusals():
    good = torch.zeros(2, 3)
    for s, t, named in ((good, good[:1], "teacher_logits.*student's"), (good[0], good, "student_"),
                        (good, None, "teacher_logits")):
        with pytest.raises(ValueError, match=f"^{named}"):
            bell.kd_loss(s, t)
    with pytest.raises(ValueError, match="^kind.*did you mean 'kl'"):
        bell.kd_loss(good, good, "klo")
    losses, start = quadratics(2, 2, 0)
    for bad in ({"losses": losses[:1]}, {"losses": losses * 4}, {"start": 3.0}, {"lrs": []},
                {"lrs": [0.0]}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))}"):
            bell.residuals(**{"losses": losses, "start": start, "lrs": [0.1]} | bad)


def test_the_chapters_walk_agrees_with_a_second_implementation():
    """draw.walk_residuals has its Hessians written out; `bell` differentiates."""
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 4, 4))
    b, start = rng.normal(size=(3, 4)), rng.normal(size=4)
    H = torch.tensor(roots @ roots.transpose(0, 2, 1) / 4)
    losses = [lambda w, h=h, c=c: w @ h @ w / 2 + c @ w
              for h, c in zip(H, torch.tensor(b), strict=True)]
    rates = [1e-1, 1e-2, 1e-3]
    draw = drawings.load(Path(__file__).resolve().parents[1]).free
    first, second = draw.walk_residuals(np.array(rates))
    found = bell.residuals(losses, torch.tensor(start), rates)
    assert np.allclose(found["joint"], first, rtol=1e-9)
    assert np.allclose(found["aligned"], second, rtol=1e-6)
