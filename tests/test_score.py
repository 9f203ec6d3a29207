"""Scores against naive loops, SciPy and cases counted by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from small import Own, few, images
from torch import nn

from wlib.core import nets, score, train
from wlib.core.pool import Pool
from wlib.data import ImageSet
from wlib.mge import generate


@pytest.fixture(scope="module")
def data():
    return images(30, size=6, seed=1)


@pytest.fixture(scope="module")
def pool(data):
    return train.fit("mlp", data, seeds=(0, 1, 2), epochs=3, hidden=(8,), batch=10, lr=0.01)


def brute(pool, data):
    """Logits (N, B, K), image by image through the ordinary network."""
    with torch.no_grad():
        return torch.stack([torch.cat([pool.network(i)(x[None]) for x in data.floats()])
                            for i in range(len(pool))])


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_scores_are_those_of_naive_loops(pool, data, engine):
    logits = brute(pool, data)
    named = [[max(range(3), key=lambda k: row[k]) for row in net] for net in logits.tolist()]
    wrong = [[n != y for n, y in zip(row, data.labels.tolist(), strict=True)] for row in named]
    assert score.predictions(pool, data, engine).tolist() == named
    assert score.errors(pool, data, engine).tolist() == wrong
    assert score.accuracy(pool, data, engine).tolist() == pytest.approx(
        [1 - sum(row) / 30 for row in wrong])
    loss = [sum(-math.log(math.exp(row[y]) / sum(map(math.exp, row)))
                for row, y in zip(net, data.labels.tolist(), strict=True)) / 30
            for net in logits.tolist()]
    assert score.loss(pool, data, engine).tolist() == pytest.approx(loss, rel=1e-4)


class Tagger(nn.Module):
    """Tokens (B, T) to logits (B, T, 4)."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(6, 5), nn.Linear(5, 4)

    def forward(self, tokens):
        return self.head(self.embed(tokens).cumsum(1))


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_inputs_and_labels_of_any_kind_are_scored(pool, data, engine):
    pair = (data.floats(), data.labels)
    for judge in (score.predictions, score.errors, score.accuracy, score.loss, score.calibration):
        assert torch.equal(judge(pool, pair, engine=engine), judge(pool, data, engine=engine))
    taggers = Pool.stack([Tagger() for _ in range(3)])
    tokens, labels = torch.randint(6, (260, 7)), torch.randint(4, (260, 7))
    logits = taggers.logits(tokens, "loop")
    assert logits.shape == (3, 260, 7, 4)
    named = score.predictions(taggers, (tokens, labels), engine)
    assert torch.equal(named, logits.argmax(-1))
    right = torch.stack([(row == labels).double().mean() for row in named])
    torch.testing.assert_close(score.accuracy(taggers, (tokens, labels), engine), right)
    losses = torch.stack([F.cross_entropy(z.flatten(0, 1), labels.flatten()) for z in logits])
    torch.testing.assert_close(score.loss(taggers, (tokens, labels), engine).float(), losses)
    flat = score.calibration(taggers, (tokens, labels), engine=engine)
    confidence = logits.softmax(-1).amax(-1)
    low = torch.stack([(c.mean() - (n == labels).float().mean()).abs()     # one bin: the means' gap
                       for c, n in zip(confidence, named, strict=True)])
    torch.testing.assert_close(score.calibration(taggers, (tokens, labels), 1, engine).float(), low)
    assert (flat >= low - 1e-6).all()


def test_calibration_is_that_of_a_naive_loop(pool, data):
    chance = brute(pool, data).double().softmax(-1)
    expected = []
    for net in chance:
        bins = [[] for _ in range(5)]
        for row, y in zip(net, data.labels, strict=True):
            bins[min(int(row.max() * 5), 4)].append((float(row.max()), int(row.argmax() == y)))
        expected.append(sum(abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in bins) / 30)
    assert score.calibration(pool, data, bins=5).tolist() == pytest.approx(expected, abs=1e-5)


def test_results_have_the_promised_types(pool, data):
    assert score.errors(pool, data).dtype == torch.bool
    assert score.accuracy(pool, data).shape == (3,)
    for tensor in (score.errors(pool, data), score.accuracy(pool, data), score.loss(pool, data),
                   score.fgsm(pool, data, 0.1), score.noise_accuracy(pool, data)):
        assert tensor.device == pool.device and not tensor.requires_grad


# ---- comparing networks -----------------------------------------------------------------------
def test_R9_iou():
    def sets(*rows):
        return torch.tensor(rows, dtype=torch.bool)
    a, b = sets([1, 1, 0, 0, 1]), sets([0, 1, 1, 0, 1])
    assert score.iou(a, b).tolist() == [0.5]
    assert score.iou(sets([0, 0]), sets([0, 0])).item() == 1, "both empty"
    assert score.iou(a, a).item() == 1 and score.iou(a, ~a).item() == 0
    accuracy, mean_iou = 0.9, 0.6
    assert accuracy + 0.1 * (1 - mean_iou) == pytest.approx(0.94)     # the fitness built on it


@few
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5))
def test_pairwise_iou_is_iou_of_sets(rows):
    errors = torch.tensor(rows)
    table = score.pairwise_iou(errors)
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            one, other = {k for k in range(6) if a[k]}, {k for k in range(6) if b[k]}
            naive = len(one & other) / len(one | other) if one | other else 1.0
            assert table[i, j] == pytest.approx(naive)
            assert score.iou(errors[i], errors[j]) == pytest.approx(naive)


def test_agreement_is_a_naive_count():
    named = torch.tensor([[0, 1, 2, 2], [0, 1, 1, 1], [0, 1, 2, 2]])
    assert score.agreement(named).tolist() == [[1, 0.5, 1], [0.5, 1, 0.5], [1, 0.5, 1]]


@few
@given(st.data())
def test_ks_distance_is_scipys(data):
    numbers = st.lists(st.integers(-4, 4).map(float), min_size=3, max_size=9)      # many ties
    rows = data.draw(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=5, max_size=5),
                              min_size=1, max_size=3))
    b = data.draw(numbers)
    got = score.ks_distance(torch.tensor(rows), torch.tensor(b))
    for row, distance in zip(rows, got, strict=True):
        assert distance.item() == pytest.approx(scipys(row, b), abs=1e-12)
    a = data.draw(numbers)
    got = score.ks_distance(torch.tensor([a]), torch.tensor([b])).item()
    assert got == pytest.approx(scipys(a, b), abs=1e-12)


def scipys(a, b):
    return stats.ks_2samp(a, b, method="asymp").statistic


def test_R12_ks_distance():
    """Equal samples, shifted ones, and a Gaussian network under MGE and under plain noise."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(100_000, generator=g, dtype=torch.float64)
    assert score.ks_distance(w[None], w).item() == 0
    assert score.ks_distance(w[None] + 10 * w.std(), w).item() == pytest.approx(1, abs=1e-4)
    for energy, expected in ((0.8, 0.041), (0.95, 0.0117)):
        rho = math.sqrt(2 * (1 - energy))
        noisy = w + rho * torch.randn(100_000, generator=g, dtype=torch.float64)
        assert score.ks_distance(noisy[None], w).item() == pytest.approx(expected, abs=0.003)
    layer = nn.Linear(100_000, 1, bias=False).double()
    with torch.no_grad():
        layer.weight[0] = w
    child = generate(Pool.stack([layer]), 1, energy=0.8)
    assert score.ks_distance(child.flat(), w).item() == pytest.approx(0.0025, abs=0.003)


@pytest.mark.parametrize(("n", "critical"), [(200, 0.1358), (1_000, 0.0607), (61_706, 0.00773)])
def test_R12_critical_distance(n, critical):
    """The 5 % critical distance 1.358 √(2/n), by simulation for the smallest n."""
    assert 1.358 * math.sqrt(2 / n) == pytest.approx(critical, rel=1e-3)
    if n == 200:
        g = torch.Generator().manual_seed(1)
        a, b = (torch.randn(2_000, n, generator=g) for _ in range(2))
        refused = (score.ks_distance(a, b) > critical).double().mean()
        assert refused == pytest.approx(0.04, abs=0.015)


# ---- under attack -----------------------------------------------------------------------------
def linear(classes=2, scale=1.0, seed=0):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, classes))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        net[1].weight.copy_(scale * torch.randn(classes, 16, generator=g))
        net[1].bias.zero_()
    return net


def gray(count=8, classes=2):
    """Images away from black and white, so that nothing is clamped."""
    g = torch.Generator().manual_seed(3)
    pixels = torch.randint(90, 160, (count, 1, 4, 4), generator=g, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % classes, tuple(map(str, range(classes))))


def test_R13_fgsm_lowers_a_linear_margin_by_eps_times_the_one_norm():
    pool, data, eps = Pool.stack([linear(seed=i) for i in range(3)]), gray(), 0.05
    moved = score.fgsm(pool, data, eps)
    assert moved.shape == (3, 8, 1, 4, 4)
    for i in range(3):
        w = pool.network(i)[1].weight
        for j, (x, y) in enumerate(zip(data.floats(), data.labels, strict=True)):
            a = (w[y] - w[1 - y]).detach()                      # the margin is a·x
            drop = a @ x.flatten() - a @ moved[i, j].flatten()
            assert drop.item() == pytest.approx(eps * a.abs().sum().item(), rel=1e-4)
            torch.testing.assert_close(moved[i, j], x - eps * a.sign().view(1, 4, 4))


def test_fgsm_is_torchs_gradient_and_stays_in_range(pool, data):
    moved = score.fgsm(pool, data, 0.3)
    for i in range(3):
        x = data.floats().requires_grad_()
        F.cross_entropy(pool.network(i)(x), data.labels).backward()
        expected = (data.floats() + 0.3 * x.grad.sign()).clamp(0, 1)
        # A gradient of about zero may have either sign: this much is rounding, on any processor.
        clear = x.grad.abs() > 1e-6 * x.grad.abs().max()
        assert clear.double().mean() > 0.99
        torch.testing.assert_close(moved[i][clear], expected[clear], rtol=0, atol=1e-6)
    assert 0 <= moved.min() and moved.max() <= 1
    assert torch.equal(score.fgsm(pool, data, 0.0)[0], data.floats())


def test_fgsm_does_not_depend_on_the_batch_or_company(pool, data):
    big = data[torch.arange(30).repeat(9)]                              # more than one batch
    torch.testing.assert_close(score.fgsm(pool, big, 0.1)[:, :30], score.fgsm(pool, data, 0.1))
    torch.testing.assert_close(score.fgsm(pool, data, 0.1)[1], score.fgsm(pool[1], data, 0.1)[0])


def test_pgd_stays_in_the_ball_and_is_seeded(pool, data):
    eps = 0.1
    moved = score.pgd(pool, data, eps, steps=5, seed=1)
    assert (moved - data.floats()).abs().max() <= eps + 1e-6
    assert 0 <= moved.min() and moved.max() <= 1
    assert torch.equal(moved, score.pgd(pool, data, eps, steps=5, seed=1))
    torch.testing.assert_close(moved[:2], score.pgd(pool[:2], data, eps, steps=5, seed=1))
    assert not torch.equal(moved, score.pgd(pool, data, eps, steps=5, seed=2))
    assert torch.equal(score.pgd(pool, data, 0.0)[0], data.floats())


def test_pgd_on_a_linear_network_reaches_the_corner_that_fgsm_reaches():
    pool, data = Pool.stack([linear()]), gray()
    torch.testing.assert_close(score.pgd(pool, data, 0.05, steps=4), score.fgsm(pool, data, 0.05))


def test_attacks_hurt_and_transfer_is_scored(pool, data):
    clean = score.accuracy(pool, data)
    fgsm = score.fgsm(pool, data, 0.3)
    own = score.attacked_accuracy(pool, fgsm, data.labels)
    transfer = score.attacked_accuracy(pool, fgsm[0], data.labels)
    assert (own <= clean).all() and own.mean() < clean.mean() and transfer[0] == own[0]
    for i in range(3):
        named = pool.network(i)(fgsm[i]).argmax(1)
        assert own[i].item() == pytest.approx((named == data.labels).double().mean().item())


def test_attack_gradients_pass_batchnorm_networks_in_evaluation(data):
    pool = train.fit(Own, data, seeds=(0, 1), epochs=1)
    assert score.fgsm(pool, data, 0.1).shape == (2, 30, 1, 6, 6)
    assert all(p.grad is None for p in pool.network(0).parameters())


def test_noise_accuracy(pool, data):
    torch.testing.assert_close(score.noise_accuracy(pool, data, sd=0), score.accuracy(pool, data))
    one = score.noise_accuracy(pool, data, sd=0.5, seed=1)
    assert torch.equal(one, score.noise_accuracy(pool, data, sd=0.5, seed=1))
    assert torch.equal(one[1:], score.noise_accuracy(pool[1:], data, sd=0.5, seed=1))
    many = [score.noise_accuracy(pool, data, sd=5.0, seed=s).mean() for s in range(10)]
    assert float(sum(many)) / 10 < score.accuracy(pool, data).mean()


# ---- refusals ---------------------------------------------------------------------------------
BAD = {
    "a pool": (lambda p, d: score.accuracy("pool", d), "pool"),
    "a network": (lambda p, d: score.errors(nets.build("mlp"), d), "pool"),
    "data": (lambda p, d: score.accuracy(p, d.floats()), "data"),
    "images": (lambda p, d: score.accuracy(p, images(3, size=5)), "inputs"),
    "fewer labels": (lambda p, d: score.accuracy(p, (d.floats(), d.labels[1:])), "data.*29 labels"),
    "more labels": (lambda p, d: score.loss(p, (d.floats()[:4], d.labels)), "data.*30 labels"),
    "float labels": (lambda p, d: score.accuracy(p, (d.floats(), d.labels.float())), "data"),
    "labels of places": (lambda p, d: score.accuracy(p, (d.floats(), d.labels[:, None])), "data"),
    "no labels": (lambda p, d: score.accuracy(p, d.floats()), "data"),
    "attack on tensors": (lambda p, d: score.fgsm(p, (d.floats(), d.labels), 0.1), "data"),
    "labels": (lambda p, d: score.loss(p, images(9, classes=5, size=6)), "data"),
    "attacked labels": (lambda p, d: score.fgsm(p, images(9, classes=5, size=6), 0.1), "data"),
    "engine": (lambda p, d: score.accuracy(p, d, "fast"), "engine"),
    "bins": (lambda p, d: score.calibration(p, d, bins=0), "bins"),
    "iou dtype": (lambda p, d: score.iou(torch.zeros(3), torch.zeros(3).bool()), "a"),
    "iou list": (lambda p, d: score.iou(torch.zeros(3).bool(), [True]), "b"),
    "iou images": (lambda p, d: score.iou(torch.zeros(3).bool(), torch.zeros(2).bool()), "b"),
    "pairwise": (lambda p, d: score.pairwise_iou(torch.zeros(3).bool()), "errors"),
    "pairwise float": (lambda p, d: score.pairwise_iou(torch.zeros(3, 3)), "errors"),
    "agreement": (lambda p, d: score.agreement(torch.zeros(3)), "predictions"),
    "agreement logits": (lambda p, d: score.agreement(torch.zeros(3, 3)), "predictions"),
    "ks a": (lambda p, d: score.ks_distance(torch.zeros(3), torch.zeros(3)), "a"),
    "ks b": (lambda p, d: score.ks_distance(torch.zeros(2, 3), torch.zeros(3, 3)), "b"),
    "ks empty": (lambda p, d: score.ks_distance(torch.zeros(2, 3), torch.zeros(0)), "b"),
    "ks nan": (lambda p, d: score.ks_distance(torch.full((1, 3), float("nan")), torch.zeros(3)),
               "a.*NaN"),
    "ks list": (lambda p, d: score.ks_distance([[1.0]], torch.zeros(3)), "a"),
    "sd": (lambda p, d: score.noise_accuracy(p, d, sd=-1), "sd"),
    "sd text": (lambda p, d: score.noise_accuracy(p, d, sd="big"), "sd"),
    "eps": (lambda p, d: score.fgsm(p, d, -0.1), "eps"),
    "eps nan": (lambda p, d: score.fgsm(p, d, float("nan")), "eps"),
    "pgd eps": (lambda p, d: score.pgd(p, d, "far"), "eps"),
    "pgd steps": (lambda p, d: score.pgd(p, d, 0.1, steps=0), "steps"),
    "pgd step": (lambda p, d: score.pgd(p, d, 0.1, step=-1), "step"),
    "pgd seed": (lambda p, d: score.pgd(p, d, 0.1, seed=-1), "seed"),
    "attacked images": (lambda p, d: score.attacked_accuracy(p, torch.rand(2, 1, 6, 6), d.labels),
                        "images"),
    "attacked shape": (lambda p, d: score.attacked_accuracy(p, torch.rand(6, 6), d.labels),
                       "images"),
    "attacked pool": (lambda p, d: score.attacked_accuracy(None, d.floats(), d.labels), "pool"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case, pool, data):
    call, named = BAD[case]
    with pytest.raises(ValueError, match=f"^{named}"):
        call(pool, data)
