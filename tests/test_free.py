"""FREE's recovery: losses against hand-computed values, steps, the meta-learned generator, rivals.
"""

import functools
import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small import Own, few, images, lived
from torch import nn
from torch.func import functional_call

from wlib import store
from wlib.core import nets
from wlib.data.sets import restrict
from wlib.free import MetaGenerator, inversion, rivals
from wlib.free import generator as free
from wlib.free.generator import MetaTraining
from wlib.free.inversion import Objective, Recovery, Start, adversarial_loss, statistics_loss
from wlib.free.teachers import Teacher, Teachers
from wlib.ground import entries

SHAPE = (1, 16, 16)
CPU = {"device": "cpu"}


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))


def conv4(seed, classes="abc"):
    return Teacher(lived(nets.fresh("conv4", seed, classes=3, size=16, width=4), seed), classes)


def resnet(seed, classes="bcd"):
    return Teacher(lived(nets.fresh("resnet", seed, classes=3, size=16, widths=(4, 8)), seed),
                   classes)


POOL = Teachers([conv4(0), resnet(1), conv4(2, "dae"), resnet(3, "eab")], SHAPE, "abcdef")
START = free.generator_for(POOL, nz=6, ngf=2)
TINY = Recovery(per_class=2)


# ---- losses -----------------------------------------------------------------------------------
def normed(mean, var, layers=1):
    """A network of BatchNorm layers alone, with these running statistics."""
    net = nn.Sequential(*[nn.BatchNorm2d(1, eps=0) for _ in range(layers)]).eval()
    for layer in net:
        layer.running_mean.fill_(mean)
        layer.running_var.fill_(var)
    return net


def test_the_statistics_loss_uses_the_biased_variance():
    x = torch.tensor([0.0, 2, 4, 6]).view(2, 1, 1, 2)
    assert statistics_loss(normed(3, 5), x) == 0
    assert statistics_loss(normed(0, 1), x) == 7                 # 3 + 4; unbiased would give 8.667
    # Identity layers: the second sees the same batch.
    assert statistics_loss(normed(0, 1, layers=2), x) == 14


def test_the_statistics_loss_sums_norms_over_channels_and_layers():
    net = lived(Own())
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = net.conv(x)
    wanted = (seen.mean((0, 2, 3)) - net.norm.running_mean).square().sum().sqrt() \
        + (seen.transpose(0, 1).flatten(1).var(1, correction=0)
           - net.norm.running_var).square().sum().sqrt()
    torch.testing.assert_close(statistics_loss(net, x), wanted)
    assert not net.norm._forward_pre_hooks


def test_the_statistics_loss_wants_statistics_and_evaluation_mode():
    with pytest.raises(ValueError, match="net: .*without BatchNorm"):
        statistics_loss(nets.fresh("lenet", 0).eval(), torch.rand(2, 1, 28, 28))
    with pytest.raises(ValueError, match="net: .*training mode"):
        statistics_loss(lived(Own()).train(), torch.rand(2, 1, 8, 8))


def test_the_official_adversarial_loss():
    teacher = torch.tensor([[1.0, 0]], requires_grad=True)
    student = torch.tensor([[2.0, 0]], requires_grad=True)
    loss = adversarial_loss(teacher, student, "official")
    loss.backward()
    assert loss.item() == pytest.approx(1.04131, abs=1e-5)
    assert teacher.grad.tolist()[0] == pytest.approx([0.14974, -0.14974], abs=1e-5)
    assert student.grad is None             # descent lowers the teacher's logit, and that is all


def test_the_adversarial_divergence_is_a_divergence():
    teacher = torch.tensor([[2.0, 0, -1], [0, 1, 0]])
    student = torch.tensor([[1.0, 0, 0], [0, 0, 3]])
    p, q = teacher[0].softmax(0), student[0].softmax(0)
    wanted = -sum(float(a) * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    assert adversarial_loss(teacher, student).item() == pytest.approx(wanted, rel=1e-5)
    assert adversarial_loss(teacher, teacher + 5) == pytest.approx(0, abs=1e-6)
    assert adversarial_loss(teacher, -teacher) == 0     # none named alike
    apart = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    assert adversarial_loss(apart, 2 * apart) < 0       # a reward


def test_the_variation_of_a_ramp():
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 3, 4)
    assert inversion.variation(ramp) == 1 and inversion.variation(torch.ones(2, 1, 3, 3)) == 0


def test_an_objective_adds_its_losses():
    teacher, g = POOL.members[0], torch.Generator().manual_seed(0)
    x, y = torch.rand(6, *SHAPE, generator=g), torch.arange(6) % 3
    student = lived(nets.fresh("conv4", 9, classes=3, size=16, width=4))
    crop = inversion.crops(1, 6, 2, 0)
    asked = Objective(0.5, 0.1, 0.2, 0.3, student=student, pad=2).ready(POOL)
    seen = inversion.shifted(x, crop.offsets[0], 2)
    logits = teacher.net(seen)
    wanted = 0.5 * F.cross_entropy(logits, y) + 0.1 * statistics_loss(teacher.net, seen) \
        + 0.2 * adversarial_loss(logits, student(seen)) + 0.3 * inversion.variation(x)
    found = asked(teacher.net, {}, x, y, crop.offsets[0], crop.flips[0])
    torch.testing.assert_close(found, wanted)


# ---- crops ------------------------------------------------------------------------------------
@few
@given(st.integers(0, 4), st.integers(0, 9), st.booleans())
def test_crops_are_slices_of_the_framed_image(pad, seed, flip):
    x = torch.rand(3, 2, 5, 6, generator=torch.Generator().manual_seed(seed))
    crop = inversion.crops(2, 3, pad, seed)
    found = inversion.shifted(x, crop.offsets[1], pad, crop.flips[1] if flip else None)
    for b, (row, column) in enumerate(crop.offsets[1].tolist()):
        one = x[b].flip(-1) if flip and crop.flips[1, b] else x[b]
        framed = F.pad(one, (pad,) * 4)
        assert torch.equal(found[b], framed[:, row:row + 5, column:column + 6])
    assert torch.equal(inversion.crops(5, 3, pad, seed).offsets[:2], crop.offsets)   # a prefix
    assert crop.offsets.max() <= 2 * pad


def test_crops_pass_gradients_to_the_pixels_they_show():
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    inversion.shifted(x, torch.tensor([[0, 2]]), 1).sum().backward()     # down, and left by one
    assert x.grad[0, 0].tolist() == [[0, 1, 1, 1]] * 3 + [[0, 0, 0, 0]]


# ---- the generator ----------------------------------------------------------------------------
@pytest.mark.parametrize("channels, size, nz, ngf, count", [
    (1, 28, 64, 16, 116_049), (3, 32, 256, 64, 2_330_000), (3, 84, 8, 2, 16_200)])
def test_the_generator_has_the_paper_s_size(channels, size, nz, ngf, count):
    net = MetaGenerator(channels, size, nz, ngf)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(count, rel=0 if ngf == 16
                                                                     else 0.02)
    made = net(torch.randn(2, nz))
    assert made.shape == (2, channels, size, size) and 0 < made.min() and made.max() < 1
    assert not list(net.buffers())


def test_a_fresh_generator_depends_on_its_seed_alone():
    a, b, c = (free.generator_for(POOL, seed, nz=6, ngf=2) for seed in (0, 0, 1))
    assert store.digest(a.state_dict()) == store.digest(b.state_dict()) \
        != store.digest(c.state_dict())


# ---- recovery ---------------------------------------------------------------------------------
def test_labels_are_global_classes_and_come_in_turn():
    names = tuple("0123456789")
    five = nets.fresh("conv4", 0, classes=5, size=16, width=2)
    pool = Teachers([Teacher(five, tuple("73910"))], SHAPE, names)
    found = free.recover(pool, START, replace(TINY, steps=0), **CPU)
    assert found.labels.tolist() == [7, 3, 9, 1, 0, 7, 3, 9, 1, 0] and found.classes == names
    two = restrict(found, "30")
    assert two.labels.tolist() == [0, 1, 0, 1]
    assert torch.equal(two.images, found.images[[1, 4, 6, 9]])        # rows b = j modulo 5


def test_all_teachers_give_images_in_bytes():
    found = free.recover(POOL, START, replace(TINY, steps=2, lr=1e-2), **CPU)
    assert tuple(found.images.shape) == (4 * 3 * 2, *SHAPE) and found.images.dtype == torch.uint8
    assert found.labels.view(4, 2, 3).tolist() == [[row] * 2 for row in POOL.ids.tolist()]
    assert len(set(found.hashes())) == len(found)


def test_one_inversion_by_hand():
    """Two steps of Adam on weights and noise, written out for one teacher."""
    teacher, asked = POOL[1], Objective(pad=1)
    phi = {k: v.detach().clone().requires_grad_() for k, v in START.named_parameters()}
    z = torch.randn(6, 6, generator=free.seeds.generator(4, 0, 1)).requires_grad_()
    optimizer = torch.optim.Adam([{"params": phi.values(), "lr": 1e-2}, {"params": [z], "lr": 0.1}],
                                 betas=(0.5, 0.999))
    for t in range(2):
        offsets = torch.randint(3, (6, 2), generator=free.seeds.generator(4, 1, 1, t))
        x = functional_call(START, phi, (z,))
        seen = torch.stack([F.pad(i, (1,) * 4)[:, r:r + 16, c:c + 16]
                            for i, (r, c) in zip(x, offsets.tolist(), strict=True)])
        optimizer.zero_grad()
        F.cross_entropy(teacher.members[0].net(seen), torch.arange(6) % 3).backward()
        optimizer.step()
    wanted = (functional_call(START, phi, (z,)) * 255).round()
    how = replace(TINY, steps=2, lr=1e-2, noise_lr=0.1, objective=asked)
    found = free.recover(teacher, START, how, seed=4, **CPU)
    assert (found.images - wanted).abs().max() <= 1


def test_stages_are_recoveries_of_so_many_steps():
    how = replace(TINY, lr=1e-2)
    for steps, found in free.stages(POOL, START, (0, 1, 3), how, **CPU).items():
        wanted = free.recover(POOL, START, replace(how, steps=steps), **CPU)
        assert found.digest() == wanted.digest()


@functools.cache
def alone(i):
    return free.recover(POOL[i], START, replace(TINY, steps=1), **CPU).images[None]


@few
@given(st.permutations(range(4)), st.integers(1, 4))
def test_a_teacher_s_images_do_not_depend_on_its_company(order, count):
    whole = torch.cat([alone(i) for i in range(4)])
    part = free.recover(POOL[order[:count]], START, replace(TINY, steps=1), **CPU)
    assert torch.equal(part.images.view(-1, 6, *SHAPE), whole[order[:count]])


def inverted(**settings):
    how = replace(TINY, steps=1, **settings).ready(POOL)
    weights = {k: v.detach() for k, v in START.named_parameters()}
    starts = [Start(place, free._with_noise(weights, 6, 0, s),
                    inversion.crops(1, 6, how.objective.pad, 1, s))
              for s, place in enumerate([3, 0, 2, 0])]
    return inversion.invert(POOL, starts, free._imagine(START), how, keep=(0, 1))


@pytest.mark.parametrize("asked", [
    Objective(), Objective(statistics=0.1, variation=0.1, flip=True),
    Objective(adversarial=1.0, student=conv4(7).net)])
@pytest.mark.parametrize("at_once", [25, 1])
def test_both_engines_go_the_same_way(asked, at_once):
    for one, other in zip(inverted(engine="loop", objective=asked),
                          inverted(engine="vmap", objective=asked, at_once=at_once), strict=True):
        torch.testing.assert_close(one.images[0], other.images[0])
        assert one.gradients.keys() == other.gradients.keys() and len(one.gradients) > 5
        for name, gradient in one.gradients.items():
            torch.testing.assert_close(gradient, other.gradients[name], atol=1e-6, rtol=1e-3)
        # A sign decides Adam's first step, and rounding decides the sign of what is almost zero.
        assert (one.images[1] - other.images[1]).abs().mean() < 2e-3


def test_gradients_of_several_teachers_are_those_of_each():
    state = [dict(m.net.state_dict()) for m in (POOL.members[0], POOL.members[2])]
    net, x = POOL.members[0].net, torch.rand(2, 4, *SHAPE)
    stacked = {k: torch.stack([s[k] for s in state]) for k in state[0]}

    def loss(state, x):
        return F.cross_entropy(functional_call(net, state, (x,)), torch.arange(4) % 3)

    together = torch.func.vmap(torch.func.grad(loss, argnums=1))(stacked, x)
    for i in range(2):
        torch.testing.assert_close(together[i], torch.func.grad(loss, argnums=1)(state[i], x[i]))


def test_a_step_takes_teachers_of_several_architectures_as_they_are():
    """Steps for two architectures meet two networks: their gradients differ."""
    found = inverted(engine="loop")
    flat = torch.stack([f.gradients["spread.weight"].flatten() for f in found])
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(flat, 2))


def test_students_and_teachers_stay_as_they_are():
    student = conv4(7).net.requires_grad_()
    before = POOL.digest()
    asked = Objective(adversarial=1.0, student=student)
    free.recover(POOL, START, replace(TINY, objective=asked, steps=2), **CPU)
    assert all(p.grad is None for p in [*student.parameters(), *START.parameters()])
    assert POOL.digest() == before


def test_more_steps_please_the_teachers_more():
    pool = POOL[:2]
    how = replace(TINY, lr=3e-2, objective=Objective(pad=1))
    several = free.stages(pool, START, (0, 30), how, **CPU)
    before, after = (free.judge(pool, several[k])["cross-entropy"].mean() for k in (0, 30))
    assert after < before - 0.2


def test_judging_by_hand():
    found = free.recover(POOL, START, replace(TINY, steps=1), **CPU)
    frame = free.judge(POOL, found)
    x = found.images[6:12].float() / 255
    logits, y = POOL.members[1].net(x), torch.arange(6) % 3
    row = frame.iloc[1]
    assert row["cross-entropy"] == pytest.approx(F.cross_entropy(logits, y).item(), abs=1e-5)
    assert row["accuracy"] == pytest.approx((logits.argmax(1) == y).float().mean().item())
    assert list(frame["teacher"]) == [0, 1, 2, 3]
    assert not free.judge(POOL, found, pad=4)["cross-entropy"].equals(frame["cross-entropy"])


# ---- meta-learning ----------------------------------------------------------------------------
def plain_gradient(pool, seed, epoch=0, count=1):
    """Sum over the drawn teachers of the gradient at φ, from the losses alone."""
    places = torch.randint(len(pool), (count,), generator=free.seeds.generator(seed, epoch))
    phi = {k: v.detach().clone().requires_grad_() for k, v in START.named_parameters()}
    for slot, i in enumerate(places.tolist()):
        z = torch.randn(6, 6, generator=free.seeds.generator(seed, epoch, 0, slot))
        crop = inversion.crops(1, 6, 4, seed, epoch, 1, slot)
        x = functional_call(START, phi, (z,))
        Objective()(pool.members[i].net, {}, x, torch.arange(6) % 3, crop.offsets[0],
                    crop.flips[0]).backward()
    return {k: v.grad for k, v in phi.items()}


def meta_gradient(place, phi, **settings):
    how = replace(TINY, engine="loop", **settings).ready(POOL)
    found = inversion.invert(POOL, free._starts([place], phi, 3, how, 5, 0), free._imagine(START),
                             how)
    return {k: v for k, v in found[0].gradients.items() if k != "noise"}


def test_with_one_step_the_meta_gradient_is_the_plain_gradient():
    place = int(torch.randint(4, (1,), generator=free.seeds.generator(5, 0)))
    phi = dict(START.named_parameters())
    found = meta_gradient(place, phi, steps=1)
    wanted = plain_gradient(POOL, 5)
    for k in wanted:
        torch.testing.assert_close(found[k], wanted[k], rtol=1e-4, atol=1e-7)
    # With both learning rates zero nothing moves, so later steps have the same gradient.
    uncropped = Objective(pad=0)
    one, seven = (meta_gradient(place, phi, steps=k, lr=0.0, objective=uncropped) for k in (1, 7))
    assert all(torch.equal(one[k], seven[k]) for k in one)
    moved = meta_gradient(place, phi, steps=2, lr=1e-2, noise_lr=0.0, objective=uncropped)
    assert not torch.equal(moved["spread.weight"], one["spread.weight"])


def test_one_epoch_is_one_step_of_adam_on_the_summed_gradients():
    how = MetaTraining(replace(TINY, steps=1), per_epoch=3, lr=0.01)
    fitted = free.fit_generator(POOL, START, how, epochs=1, seed=5, **CPU)
    phi = {k: v.detach().clone() for k, v in START.named_parameters()}
    optimizer = torch.optim.Adam(phi.values(), lr=0.01, betas=(0.5, 0.999))
    for name, gradient in plain_gradient(POOL, 5, count=3).items():
        phi[name].grad = gradient
    optimizer.step()
    for name, weight in fitted.generator.named_parameters():
        torch.testing.assert_close(weight.detach(), phi[name], atol=1e-5, rtol=0)
    assert list(fitted.frame["epoch"]) == [0, 0, 0]


def test_a_resumed_run_is_an_unbroken_one():
    how = MetaTraining(replace(TINY, steps=2, lr=1e-2), per_epoch=2)
    settings = {"settings": how, "seed": 3, **CPU}
    whole = free.fit_generator(POOL, START, epochs=3, **settings)
    half = free.fit_generator(POOL, START, epochs=2, **settings)
    resumed = free.fit_generator(POOL, START, epochs=3, state=half, **settings)
    assert state(resumed) == state(whole) != state(half)
    assert resumed.records == whole.records and resumed.epochs == 3
    # One optimizer lives on: a run that forgot its moments would end elsewhere.
    half.moments.clear()
    forgetful = free.fit_generator(POOL, START, epochs=3, state=half, **settings)
    assert state(forgetful) != state(whole)
    with pytest.raises(ValueError, match="state: "):
        free.fit_generator(POOL, START, epochs=4, state=half, **settings | {"seed": 4})


def state(fitted):
    return store.digest(fitted.generator.state_dict())


def test_a_killed_run_goes_on_where_it_was(monkeypatch):
    how = MetaTraining(replace(TINY, steps=2, lr=1e-2), per_epoch=1)
    whole = free.fit_generator(POOL, START, how, epochs=5, **CPU)
    made, fit = [], free.fit_generator

    def dying(*arguments, epochs, **rest):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(epochs)
        return fit(*arguments, epochs=epochs, **rest)

    monkeypatch.setattr(free, "fit_generator", dying)
    with pytest.raises(KeyboardInterrupt):
        free.stored_fit_generator(POOL, START, how, epochs=5, every=2, **CPU)
    made.clear()

    def counting(*arguments, epochs, state, **rest):
        made.append((state.epochs if state else 0, epochs))
        return fit(*arguments, epochs=epochs, state=state, **rest)

    monkeypatch.setattr(free, "fit_generator", counting)
    for _ in range(2):
        found = free.stored_fit_generator(POOL, START, how, epochs=5, every=2, **CPU)
        assert state(found) == state(whole) and found.records == whole.records
    assert made == [(2, 4), (4, 5)]


def test_meta_learning_shortens_the_way():
    """On teachers it was trained on, a fitted generator gets further in two steps."""
    two = Recovery(steps=2, lr=1e-2, objective=Objective(pad=1), per_class=4)
    fitted = free.fit_generator(POOL, START, MetaTraining(two, per_epoch=2, lr=1e-2), epochs=25,
                                **CPU)
    after, before = (free.judge(POOL, free.recover(POOL, g, two, **CPU))["cross-entropy"]
                     for g in (fitted.generator, START))
    assert after.mean() < before.mean()
    held_out = Teachers([Teacher(conv4(11).net, "cdf", number=11)], SHAPE, "abcdef")
    assert len(free.recover(held_out, fitted.generator, TINY, **CPU)) == 6


# ---- rivals -----------------------------------------------------------------------------------
RIVALS = {
    "pixels": lambda pool, **s: rivals.pixels(pool, replace(TINY, steps=2), **CPU, **s),
    "fresh": lambda pool, **s: rivals.fresh(pool, START, replace(TINY, steps=2), **CPU, **s),
    "untrained": lambda pool, **s: rivals.untrained(pool, START, per_class=2, **s),
    "templates": lambda pool, **s: rivals.templates(pool, per_class=2, **s),
    "blobs": lambda pool, **s: rivals.blobs(pool, per_class=2, **s),
}


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_give_what_recovery_gives(name):
    ours = free.recover(POOL, START, TINY, **CPU)
    found = RIVALS[name](POOL)
    assert found.images.shape == ours.images.shape and found.classes == ours.classes
    assert torch.equal(found.labels, ours.labels)
    assert found.digest() == RIVALS[name](POOL).digest() != RIVALS[name](POOL, seed=1).digest()
    alone = RIVALS[name](POOL[[2, 1]])       # whatever its company
    assert torch.equal(alone.images[:6], found.images[12:18])


def test_pixel_inversion_moves_pixels():
    how = replace(TINY, lr=0.2, objective=Objective(pad=1))
    before, after = (free.judge(POOL, rivals.pixels(POOL, replace(how, steps=k), **CPU))
                     ["cross-entropy"].mean() for k in (0, 20))
    assert after < before - 0.2
    how = replace(TINY, steps=20, lr=0.1)
    rough, smooth = (rivals.pixels(POOL, replace(how, objective=Objective(variation=w)), **CPU)
                     for w in (0.0, 5.0))
    assert inversion.variation(smooth.floats()) < 0.8 * inversion.variation(rough.floats())


def test_a_fresh_generator_is_another_for_each_teacher():
    same_noise = rivals.fresh(POOL, START, replace(TINY, steps=0, noise_lr=0.0), **CPU)
    ours = free.recover(POOL, START, replace(TINY, steps=0), **CPU)
    assert not set(same_noise.hashes()) & set(ours.hashes())
    new = nets.fresh(START, free.seeds.base(free.seeds.generator(0, 2, 1)))
    one = free.recover(POOL[1], new, replace(TINY, steps=0), **CPU)
    assert torch.equal(one.images, same_noise.images[6:12])


def test_joint_training_is_meta_learning_of_one_step():
    joint = rivals.joint(POOL, START, MetaTraining(replace(TINY, steps=3), per_epoch=1), epochs=2,
                         **CPU)
    plain = free.fit_generator(POOL, START, MetaTraining(replace(TINY, steps=1), per_epoch=1),
                               epochs=6, **CPU)
    assert state(joint) == state(plain)


def test_templates_and_blobs_belong_to_classes_not_to_teachers():
    for make, exact in ((rivals.templates, {}), (rivals.blobs, {"pad": 0})):
        found = make(POOL, noise=0.0, per_class=2, **exact)
        by_class = {k: {h for h, label in zip(found.hashes(), found.labels.tolist(), strict=True)
                        if label == k} for k in range(5)}
        assert all(len(hashes) == 1 for hashes in by_class.values())
        assert len(set.union(*by_class.values())) == 5
    smooth, rough = rivals.blobs(POOL, noise=0.0), rivals.templates(POOL)
    assert inversion.variation(smooth.floats()) < inversion.variation(rough.floats()) / 2


def test_shuffled_labels_stay_within_their_teacher():
    ours = free.recover(POOL, START, Recovery(steps=1, per_class=8), **CPU)
    found = rivals.shuffled(POOL, ours)
    assert torch.equal(found.images, ours.images) and not torch.equal(found.labels, ours.labels)
    for a, b in zip(found.labels.split(24), ours.labels.split(24), strict=True):
        assert torch.equal(a.sort().values, b.sort().values)


def test_stored_images_are_made_once():
    given = POOL[:1], START, replace(TINY, steps=1)
    first, again = (free.stored(free.recover, *given, **CPU) for _ in range(2))
    assert again.digest() == first.digest() == free.recover(*given, **CPU).digest()
    assert len(list(entries.root().rglob("*.safetensors"))) == 1


# ---- bad input --------------------------------------------------------------------------------
WATCHED = replace(TINY, objective=Objective(statistics=1.0))
PLAIN = Teachers([Teacher(nets.fresh("lenet", 0, classes=3, size=16), "abc")], SHAPE)


@pytest.mark.parametrize("argument, make", [
    ("teacher 0", lambda: free.recover(PLAIN, START, WATCHED, **CPU)),
    ("teacher 0", lambda: rivals.pixels(PLAIN, WATCHED, **CPU)),
    ("student", lambda: Objective(adversarial=1.0)),
    ("student", lambda: Objective(adversarial=1.0, student=3)),
    ("kind", lambda: Objective(kind="kl")), ("statistics", lambda: Objective(statistics=-1.0)),
    ("pad", lambda: Objective(pad=-1)), ("flip", lambda: Objective(flip=1)),
    ("generator", lambda: free.recover(POOL, MetaGenerator(), TINY, **CPU)),
    ("generator", lambda: free.recover(POOL, [START, START], TINY, **CPU)),
    ("generator", lambda: free.recover(POOL, None, TINY, **CPU)),
    ("lr", lambda: MetaTraining(lr=0.0)),
    ("state", lambda: free.fit_generator(POOL, START, epochs=1, state=START, **CPU)),
    ("generator", lambda: free.recover(POOL[:2], [START, MetaGenerator(size=16)], TINY, **CPU)),
    ("steps", lambda: free.recover(POOL, START, replace(TINY, steps=-1), **CPU)),
    ("lr", lambda: free.recover(POOL, START, replace(TINY, lr=-1.0), **CPU)),
    ("per_class", lambda: free.recover(POOL, START, Recovery(per_class=0), **CPU)),
    ("engine", lambda: free.recover(POOL, START, replace(TINY, engine="map"), **CPU)),
    ("device", lambda: free.recover(POOL, START, device="abacus")),
    ("teachers", lambda: free.recover([conv4(0)], START, TINY, **CPU)),
    ("objective", lambda: free.recover(POOL, START, replace(TINY, objective=1.0), **CPU)),
    ("epochs", lambda: free.fit_generator(POOL, START, epochs=-1, **CPU)),
    ("per_epoch", lambda: MetaTraining(per_epoch=0)), ("noise_lr", lambda: Recovery(noise_lr=-1.0)),
    ("steps", lambda: MetaTraining(Recovery(steps=0))),
    ("every", lambda: free.stored_fit_generator(POOL, START, epochs=1, every=0)),
    ("size", lambda: MetaGenerator(size=30)), ("channels", lambda: MetaGenerator(channels=2)),
    ("images", lambda: inversion.as_bytes(torch.tensor([0.0, 1.5]))),
    ("images", lambda: inversion.as_bytes(torch.tensor([0.0, math.nan]))),
    ("images", lambda: free.judge(POOL, images(12, 3, size=16)[:9])),
    ("images", lambda: free.judge(POOL[1], images(12, 3, size=16))),
    ("images", lambda: rivals.shuffled(POOL, images(9, 3, size=16))),
    ("like", lambda: rivals.fresh(POOL, POOL)),
    ("like", lambda: rivals.untrained(POOL, MetaGenerator())),
])
def test_bad_input_is_named_before_work_starts(argument, make):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        make()
