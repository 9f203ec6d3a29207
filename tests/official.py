"""MDA's mask pass as the official code runs it, to hold `wlib.mda` against and to time it by."""

import numpy as np
import torch
from torch import nn


def official_masks(net, x, y, classes, at_once=256):
    """Contributions and masks, lists from the head down: one explicit partial map after another.

    Layers in reverse order of definition; per-sample ReLU, samples added one by one on the host;
    a mask of all ones where sizes differ.
    """
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))][::-1]
    seen = {}
    hooks = [m.register_forward_hook(lambda m, i, o: seen.__setitem__(m, (i[0], o)))
             for m in layers]
    values = [[0] * classes for _ in layers]
    net.eval()
    with torch.no_grad():
        for images, labels in zip(x.split(at_once), y.split(at_once), strict=True):
            net(images)
            for number, layer in enumerate(layers):
                s = sample_contributions(layer, *seen[layer]).numpy()          # (B, Q, P)
                for b in range(len(labels)):
                    values[number][labels[b]] = values[number][labels[b]] + s[b]
    for hook in hooks:
        hook.remove()
    values = [torch.from_numpy(np.asarray(v)) for v in values]                 # (K, Q, P) each
    mask, masks = torch.eye(classes, dtype=torch.long), []
    for layer, v in zip(layers, values, strict=True):
        if v.shape[1] != mask.shape[1]:
            mask = torch.ones(v.shape[0], v.shape[1], dtype=torch.long)
        alpha, beta = (0.3, 0.2) if isinstance(layer, nn.Conv2d) else (0.4, 0.3)
        votes = torch.where(minmax(v) > alpha, 1, 0)
        mask = torch.where(minmax(torch.einsum("co,coi->ci", mask, votes)) > beta, 1, 0)
        masks.append(mask)
    return values, masks


def sample_contributions(layer, x, output):
    """(B,Q,P) of one layer, rectified for each sample."""
    if isinstance(layer, nn.Conv2d):
        return torch.relu(partial_maps(layer, x, *output.shape[2:]).sum((3, 4)))
    return torch.relu(torch.einsum("bi,oi->boi", x, layer.weight))


def partial_maps(conv, x, high, wide):
    """(B,Q,P,H,W): every filter's every channel on every input channel, by unfolding."""
    weight = conv.weight.view(*conv.weight.shape[:2], -1).permute(1, 2, 0)
    unfold = nn.Unfold(conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    windows = unfold(x).view(*x.shape[:2], weight.shape[1], high, wide)
    return torch.einsum("ijkmn,jkl->iljmn", windows, weight)


def minmax(a):
    least = a.min(-1, keepdim=True)[0]
    return (a - least) / (a.max(-1, keepdim=True)[0] - least + 1e-5)
