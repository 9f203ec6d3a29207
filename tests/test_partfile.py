"""Parts and joined networks written to files and read back."""

import json
import os

import pytest
import torch
from cutnets import Random, drawn_keep, lived, some
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from wlib import mda
from wlib.core import nets
from wlib.mda import cutting, lego, wiring
from wlib.mda.partfile import load_part, save_part


def uncut(seed=0, kinds=("residual", "branches", "depthwise", "gate")):
    return lived(Random(kinds, 0), seed)


def part_of(net, classes=(0, 2), seed=1):
    """A part with drawn channels."""
    wires = wiring.trace(net)
    keep = drawn_keep(wires, seed)
    part = mda.disassemble(cutting.narrow(net, keep, wires), {}, classes)
    return part


def alike(back, net, x):
    """Not a bit of what was written is lost, and the network says what it said."""
    assert all(torch.equal(t, net.state_dict()[k]) for k, t in back.state_dict().items())
    assert back.state_dict().keys() == net.state_dict().keys()
    torch.testing.assert_close(back(x), net(x), rtol=1e-4, atol=1e-5)


JOINS = {"grouped": dict(), "dense": dict(execution="dense"),
         "merged": dict(merge="max", names=[["a", "b"], ["c", "a"]]),
         "dense and merged": dict(execution="dense", merge="logsumexp",
                                  names=[["a", "b"], ["c", "a"]])}


def test_a_part_comes_back_as_it_was(tmp_path):
    part, (x, _) = part_of(uncut()), some(4)
    path = save_part(part, tmp_path / "new" / "part.safetensors", names=["cat", "lion"])
    back = load_part(path, uncut(seed=7))
    alike(back, part, x)
    assert type(back) is Random and not back.training
    assert back.names == ("cat", "lion") and back.classes == (0, 2) and back.rescued == ()
    assert str(back) == str(part)                  # widths of every layer, also for the reader
    assert [p.name for p in path.parent.iterdir()] == ["part.safetensors"]
    wires = wiring.trace(back)                     # and it is cut again
    alike(cutting.narrow(back, torch.ones(wires.wires).bool()), part, x)


@pytest.mark.parametrize("name", JOINS)
def test_a_joined_network_comes_back_from_one_template(name, tmp_path):
    kinds, (x, _) = ["depthwise", "gate", "residual"], some(4)      # that can be padded
    parts = [part_of(uncut(s, kinds), (0, 2), s) for s in (1, 2)]
    joined = lego.assemble(parts, **JOINS[name])
    back = load_part(save_part(joined, tmp_path / "joined"), lambda: uncut(3, kinds))
    alike(back, joined, x)
    assert back.names == joined.names


def test_a_joined_network_of_several_architectures_takes_a_template_for_each(tmp_path):
    parts = [part_of(uncut(1)), part_of(uncut(2, ["gate"]), (1, 3))]
    joined, (x, _) = lego.assemble(parts), some(4)
    path = save_part(joined, tmp_path / "joined")
    back = load_part(path, [uncut, uncut(3, ["gate"])])
    alike(back, joined, x)
    with pytest.raises(ValueError, match="template: got '1 networks', want one, or one for each"):
        load_part(path, [uncut])
    with pytest.raises(ValueError, match=r"parts\.1\.blocks\.0: got 'Residual', want Gate"):
        load_part(path, uncut)


def test_dtype_and_what_is_not_a_weight_travel(tmp_path):
    part = part_of(uncut()).half()
    part.stem[1].num_batches_tracked += 5
    back = load_part(save_part(part, tmp_path / "half"), uncut)
    assert {k: (t.dtype, t.tolist()) for k, t in back.state_dict().items()} == {
        k: (t.dtype, t.tolist()) for k, t in part.state_dict().items()}


def test_a_bias_that_joining_added_and_heads_that_cutting_left_out_travel(tmp_path):
    net = lived(nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 4, False)))
    shifted = lego.scaled(net, lego.Scale(torch.ones(4), torch.arange(4.)))
    x, _ = some(4)
    back = load_part(save_part(shifted, tmp_path / "a"), net)
    alike(back, shifted, x)
    assert net[3].bias is None

    class Extra(Random):                           # a head that evaluation does not reach
        def __init__(self):
            super().__init__(["gate"], 0)
            self.extra = nn.Linear(3, 3)

    part = part_of(lived(Extra()))
    back = load_part(save_part(part, tmp_path / "b"), Extra)
    assert back.extra is None
    alike(back, part, x)


def test_a_network_of_the_book_forgets_its_spec(tmp_path):
    net = lived(nets.build("resnet", classes=3))
    part = part_of(net)
    back = load_part(save_part(part, tmp_path / "part"), lambda: nets.build("resnet", classes=3))
    assert not hasattr(back, "spec") and back.image_size == 28
    both = lego.assemble([part, part])
    back = load_part(save_part(both, tmp_path / "both"), net)
    assert not hasattr(back.parts[1], "spec") and back.parts[1].image_size == 28
    whole = load_part(save_part(net, tmp_path / "whole"), net)
    assert whole.spec == net.spec                  # an uncut one keeps it


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = save_part(part_of(uncut()), tmp_path / "part")
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save_part(part_of(uncut(), (0,)), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_other_networks_are_no_template(tmp_path):
    net = lived(nn.Sequential(nn.Conv2d(2, 6, 3, stride=2), nn.ReLU(), nn.Flatten(),
                              nn.Linear(24, 4)))
    path = save_part(part_of(net), tmp_path / "part")

    def changed(i, layer):
        return nn.Sequential(*net[:i], layer, *net[i + 1:])

    for other, message in (
            (changed(0, nn.Conv2d(2, 6, 3, stride=1)), r"template\.0\.stride: got \[1, 1\], want"),
            (changed(1, nn.ELU()), r"template\.1: got 'ELU', want ReLU"),
            (net[:3], r"template\.3: got 'no such module', want Linear"),
            (nn.Sequential(*net, nn.ReLU()), r"modules \['4'\] that the file does not know"),
            (changed(3, nn.Linear(24, 4, bias=False)), None),
            (uncut, "template: got 'Random', want Sequential"),
            (3, "template: got 3, want the uncut network"),
            (lambda: 3, "template: got 3, want the uncut network")):
        if message is None:                        # the file's bias is taken all the same
            assert load_part(path, other)[3].bias is not None
            continue
        with pytest.raises(ValueError, match=message):
            load_part(path, other)


class Held(nn.Module):
    """What it does is in attributes that are no settings: a function and a plain tensor."""

    def __init__(self, act=torch.relu, gain=2.0):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 4)
        self.act, self.gain = act, torch.tensor([gain])

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).mean((2, 3)) * self.gain)


def test_a_template_that_answers_otherwise_is_refused(tmp_path):
    torch.manual_seed(0)
    part = mda.disassemble(Held(), {}, [1, 3])
    save_part(part, tmp_path / "part")
    x = torch.randn(3, 3, 5, 5)
    assert torch.equal(load_part(tmp_path / "part", Held)(x), part(x))
    for other in (lambda: Held(torch.tanh), lambda: Held(gain=3.0)):
        with pytest.raises(ValueError, match="template: .*other answers"):
            load_part(tmp_path / "part", other)


def test_bad_files_are_refused_in_words(tmp_path):
    net, path = uncut(), tmp_path / "part"
    save_part(part_of(net), path)
    whole = path.read_bytes()
    with safe_open(path, "pt") as file:
        header, tensors = file.metadata(), {
            k: file.get_tensor(k).clone() for k in file.keys()}

    def refused(message):
        with pytest.raises(ValueError, match=message):
            load_part(path, net)

    path.write_bytes(whole[:-5])
    refused("path: .*no whole safetensors file")
    path.write_bytes(b"PK\x03\x04 a pickle")
    refused("path: .*no whole safetensors file")
    save_file(tensors, path)
    refused("want a file that save_part wrote")
    save_file(tensors, path, metadata=header | {"modules": "{"})
    refused("damaged header")
    for key, text in (("modules", "[]"), ("modules", '{"": {"class": "Net"}}'), ("made of", "{}"),
                      ("answers", "")):
        save_file(tensors, path, metadata=header | {key: text})
        refused("damaged header")
    save_file(tensors | {"head.bias": tensors["head.bias"] + 1}, path, metadata=header)
    refused("template: .*other answers")
    save_file(tensors | {"head.bias": torch.ones(9)}, path, metadata=header)
    refused("template: .*does not run")
    save_file({k: t for k, t in tensors.items() if k != "head.bias"}, path, metadata=header)
    refused(r"path: got \"no tensors \['head.bias'\]\", want all")
    save_file(tensors | {"more": torch.ones(1)}, path, metadata=header)
    refused("path: got 'a tensor more', want tensors that the template has")
    path.unlink()
    refused("want a file that save_part wrote")


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path):
    part, path = part_of(uncut()), tmp_path / "part"
    shared = nn.Linear(2, 2)
    for net, names, message in (
            ("part", None, "net: got 'part', want an nn.Module"),
            (part, ["cat"], r"names: got \['cat'\], want a name for each of 2 outputs"),
            (part, "ab", "names: got 'ab', want the names of the outputs"),
            (part, [1, 2], r"names: got \[1, 2\], want the names"),
            (nn.Sequential(shared, shared), None, "used twice")):
        with pytest.raises(ValueError, match=message):
            save_part(net, path, names=names)
    assert not path.exists()


def test_the_header_can_be_read_without_torch(tmp_path):
    path = save_part(part_of(uncut()), tmp_path / "part", names=["cat", "lion"])
    raw = path.read_bytes()
    header = json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    assert json.loads(header["modules"])[""]["told"]["names"] == ["cat", "lion"]
    assert json.loads(header["modules"])["head"]["settings"]["out_features"] == 2
