"""Running statistics computed anew, against the formula, torch and networks of torchvision."""

import copy

import pytest
import torch
from small import Own, images, lived
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from wlib import mge
from wlib.core import batchnorm, nets
from wlib.core.pool import Pool


def test_the_statistics_are_the_means_over_batches_by_hand():
    data, net = images(30, seed=1), lived(Own())
    fresh = batchnorm.recalibrate(Pool.stack([net]), data, batches=2, batch=10, seed=3)
    order = torch.randperm(30, generator=batchnorm.generator(3))
    with torch.no_grad():
        seen = [net.conv(data[part].floats()) for part in order[:20].split(10)]
    mean = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    spread = torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0)
    assert torch.allclose(fresh.buffers["norm.running_mean"][0], mean, atol=1e-6)
    assert torch.allclose(fresh.buffers["norm.running_var"][0], spread, atol=1e-6)
    assert fresh.buffers["norm.num_batches_tracked"].item() == 2


def test_weights_and_the_given_pool_stay_and_each_network_is_its_own():
    pool, data = Pool.stack([lived(Own(), i) for i in range(3)]), images(30)
    before = {k: t.clone() for k, t in pool.buffers.items()}
    fresh = batchnorm.recalibrate(pool, data)
    assert torch.equal(fresh.flat(), pool.flat())
    assert all(torch.equal(t, before[k]) for k, t in pool.buffers.items())
    for i in range(3):
        alone = batchnorm.recalibrate(pool[i], data)
        assert all(torch.equal(t[0], fresh.buffers[k][i]) for k, t in alone.buffers.items())
    again = batchnorm.recalibrate(fresh, data)              # old statistics play no part
    assert all(torch.equal(t, fresh.buffers[k]) for k, t in again.buffers.items())


def test_pools_without_running_statistics_come_back_themselves():
    plain = Pool.stack([nets.fresh("mlp", 0, size=8)])
    assert batchnorm.recalibrate(plain, images(20)) is plain
    forgetful = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    pool = Pool.stack([forgetful])
    assert batchnorm.recalibrate(pool, images(20)) is pool


def test_dropout_stays_off_and_no_batch_is_too_small():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(64, 4), nn.BatchNorm1d(4))
    pool, data = Pool.stack([net]), images(21)
    one, two = (batchnorm.recalibrate(pool, data, batch=10) for _ in range(2))
    assert torch.equal(one.buffers["3.running_mean"], two.buffers["3.running_mean"])
    assert one.buffers["3.num_batches_tracked"].item() == 2      # 21 = 10 + 10 + 1


@pytest.mark.parametrize("maker", [resnet18, mobilenet_v2])
def test_networks_of_torchvision_get_their_spread_back(maker):
    """Whatever the statistics were: computed anew they are those of torch's own training pass."""
    data, net = images(8, size=32, channels=3), nets.fresh(lambda: maker(num_classes=5), 0)
    g = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, batchnorm.NORM):
            module.running_mean.uniform_(-3, 3, generator=g)
            module.running_var.uniform_(1e-3, 0.1, generator=g)
    broken = Pool.stack([net])
    fixed = batchnorm.recalibrate(broken, data, batches=1, batch=8)
    assert torch.equal(fixed.flat(), broken.flat())
    reference = copy.deepcopy(net)
    for module in reference.modules():
        if isinstance(module, batchnorm.NORM):
            module.reset_running_stats()
            module.momentum = 1.0                            # torch's own: the last batch counts
    reference.train()
    for module in reference.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        reference(data.floats())
    for name, buffer in reference.named_buffers():
        assert torch.allclose(fixed.buffers[name][0].double(), buffer.double(), rtol=1e-3,
                              atol=1e-4), name
    assert not torch.allclose(fixed.logits(data), broken.logits(data), atol=0.1)


def test_a_generated_mobilenet_is_recalibrated():
    net = nets.fresh(lambda: mobilenet_v2(num_classes=5), 0)
    pool = mge.generate(Pool.stack([net]), 1, 0.9, "tensor")
    fresh = batchnorm.recalibrate(pool, images(6, size=32, channels=3))
    assert torch.isfinite(fresh.logits(images(4, size=32, channels=3))).all()


@pytest.mark.parametrize(("arguments", "named"), [
    ({"pool": Own()}, "pool"), ({"images": torch.zeros(3, 1, 8, 8)}, "images"),
    ({"images": images(3)[:1]}, "images"), ({"batches": 0}, "batches"), ({"batch": 1}, "batch"),
    ({"batch": 2.0}, "batch"), ({"seed": -1}, "seed")])
def test_recalibrate_refuses_by_name(arguments, named):
    given = {"pool": Pool.stack([Own()]), "images": images(20)}
    with pytest.raises(ValueError, match=f"^{named}"):
        batchnorm.recalibrate(**given | arguments)
