"""Graphs whose nodes are to be classified, and a graph convolutional network for them.

`load("citations")` makes a graph offline, like one of papers that cite each other: a paper cites
mostly its own field, and its words are partly its field's. `load("cora")` reads the real one from
files. `GCN` is the network of Kipf and Welling (1609.02907), `fit` trains it on the whole graph.

Letters: n nodes, F features, K classes, H hidden units.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.seeds import generator

OFFLINE = "citations"
LABELED = 20            # training nodes per class, as in the usual splits of Cora


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes with `features` (n,F), `labels` (n,) int64 and `classes`, K names; `links` (n,n) is
    what a node takes from each; `train`, `validation` and `test` are indices of nodes."""

    features: Tensor
    labels: Tensor
    links: Tensor
    classes: tuple[str, ...]
    train: Tensor
    validation: Tensor
    test: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def digest(self) -> str:
        """One hash of everything in it."""
        whole = hashlib.sha256(repr((self.classes, self.features.shape)).encode())
        for part in (self.features, self.labels, self.links, self.train, self.validation,
                     self.test):
            whole.update(part.contiguous().numpy().tobytes())
        return whole.hexdigest()


def load(name: str = OFFLINE, seed: int = 0, root: str | Path | None = None,
         **settings: Any) -> Graph:
    """A graph by name: "citations", made here (`settings` go to `citations`), or "cora", from the
    folder `cora` of the data root. The seed draws the graph, and which nodes are in which split."""
    require_one_of("name", name, (OFFLINE, "cora"))
    if name == OFFLINE:
        return citations(seed, **settings)
    require(not settings, "settings", settings, "none for a graph that is read from files")
    return cora(seed, root)


# ---- a graph of one's own ----------------------------------------------------------------------
def citations(seed: int = 0, nodes: int = 1400, classes: int = 7, words: int = 500,
              length: int = 18, cited: float = 4.0, within: float = 0.7,
              topical: float = 0.25) -> Graph:
    """A stochastic block model with a bag of words at every node, about as hard as Cora.

    Classes differ in size, the largest three times the smallest. A node has about `cited` links, a
    fraction `within` of them to its own class. It says about `length` different words of `words`:
    a fraction `topical` from its class's tenth of the vocabulary, the rest from all, frequent and
    rare.
    """
    for argument, value, least in (("classes", classes, 2), ("words", words, 10 * 2),
                                   ("nodes", nodes, classes * (LABELED + 10))):
        require(whole(value, least), argument, value,
                f"a whole number of at least {least}")
    for argument, part in (("within", within), ("topical", topical)):
        require(0 <= part <= 1, argument, part, "a fraction from 0 to 1")
    rng = np.random.default_rng([seed, 23])
    sizes = np.linspace(1, 3, classes)
    labels = rng.permutation(np.repeat(np.arange(classes), _quota(sizes / sizes.sum(), nodes)))
    same = labels[:, None] == labels[None]                                     # (n, n)
    own = same.sum(1, keepdims=True) - 1
    chance = np.where(same, within / own, (1 - within) / (nodes - 1 - own)) * cited
    chance = np.triu((chance + chance.T) / 2, 1)
    linked = rng.random((nodes, nodes)) < chance
    common = rng.permutation(1 / np.arange(1, words + 1) ** 0.5)
    topics = np.zeros((classes, words))
    for topic in topics:
        topic[rng.choice(words, words // 10, replace=False)] = 1
    says = topical * topics / topics.sum(1, keepdims=True) \
        + (1 - topical) * common / common.sum()                                # (K, F)
    features = rng.random((nodes, words)) < 1 - np.exp(-length * says[labels])
    return _graph(features, labels, linked, tuple(f"field {k}" for k in range(classes)), rng)


def _quota(fractions: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in these proportions that add to `total`."""
    ends = np.round(np.cumsum(fractions) * total).astype(int)
    return np.diff(ends, prepend=0)


def _graph(features: np.ndarray, labels: np.ndarray, linked: np.ndarray,
           classes: tuple[str, ...], draw: np.random.Generator) -> Graph:
    """Normalized as Kipf and Welling do, with splits like theirs: `LABELED` nodes per class
    to train on, of the others a third to choose by and two thirds to test on, 500 and 1,000 at
    most."""
    linked = linked | linked.T
    np.fill_diagonal(linked, True)                       # every node also hears itself
    degree = linked.sum(1) ** -0.5
    links = degree[:, None] * linked * degree[None]      # D^−½ (A + I) D^−½
    features = features / np.maximum(features.sum(1, keepdims=True), 1)
    order = draw.permutation(len(labels))
    train = np.concatenate([order[labels[order] == k][:LABELED] for k in range(len(classes))])
    rest = order[~np.isin(order, train)]
    third = min(500, len(rest) // 3)
    return Graph(torch.tensor(features).float(), torch.tensor(labels).long(),
                 torch.tensor(links).float(), classes, torch.tensor(train),
                 torch.tensor(rest[:third]), torch.tensor(rest[third:third + 1000]))


# ---- Cora --------------------------------------------------------------------------------------
def cora(seed: int = 0, root: str | Path | None = None) -> Graph:
    """The classic Cora (McCallum et al. 2000; Sen et al. 2008) from `cora.content` and `cora.cites`
    in the folder `cora` of the data root; the seed draws the splits.

    `FileNotFoundError` names the folder and the graph that needs no files; a line that is not in
    the published format is a `ValueError`. Links to papers without a line of content are left out.
    """
    from wlib.data.realsets import root_of  # here, because torchvision takes a second to import

    folder = root_of(root) / "cora"
    content, cites = folder / "cora.content", folder / "cora.cites"
    for path in (content, cites):
        if not path.exists():
            raise FileNotFoundError(
                f"cora: {path.name} is not in {folder}; unpack cora.tgz there (cora.content and "
                "cora.cites), name another data root with root= or the variable WLIB_DATA, or use "
                f"the graph that needs no files: {OFFLINE!r}")
    papers = [line.split("\t") for line in content.read_text().splitlines() if line.strip()]
    widths = {len(row) for row in papers}
    require(len(widths) == 1 and min(widths) >= 3, str(content),
            f"lines of {sorted(widths)} fields",
            "in each line a paper, its words (0 or 1) and its class, with tabs between")
    place = {row[0]: i for i, row in enumerate(papers)}
    require(len(place) == len(papers), str(content), "a paper twice", "one line per paper")
    words = np.array([row[1:-1] for row in papers])
    require(bool(np.isin(words, ["0", "1"]).all()), str(content), "other words", "words 0 or 1")
    labels = [row[-1] for row in papers]
    classes, counts = tuple(sorted(set(labels))), Counter(labels)
    require(len(classes) > 1 and min(counts.values()) > LABELED, str(content), dict(counts),
            f"two classes or more, each of more than {LABELED} papers")
    linked = np.zeros((len(papers), len(papers)), dtype=bool)
    for line in cites.read_text().splitlines():
        ends = line.split()
        require(len(ends) == 2 or not ends, str(cites), line, "two papers per line")
        if ends and ends[0] in place and ends[1] in place:
            linked[place[ends[0]], place[ends[1]]] = True
    numbers = np.array([classes.index(label) for label in labels])
    return _graph(words == "1", numbers, linked, classes, np.random.default_rng([seed, 23]))


# ---- the network -------------------------------------------------------------------------------
class GCN(nn.Module):
    """Two graph convolutions, Â relu(Â X W₁) W₂: every node first takes from its neighbors.

    Takes all nodes (n,F) at once, gives logits (n,K). `links` Â (n,n) is a buffer.
    """

    links: Tensor

    def __init__(self, links: Tensor, features: int, classes: int, hidden: int = 16,
                 dropout: float = 0.5):
        super().__init__()
        self.register_buffer("links", links)
        self.one, self.two = nn.Linear(features, hidden), nn.Linear(hidden, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(self.links @ x)

    def mixed(self, x: Tensor) -> Tensor:
        """From features that every node has taken already, Â X: they need it only once."""
        x = self.dropout(torch.relu(self.one(x)))                              # (n, H)
        return self.two(self.links @ x)


def fit(graph: Graph, *, seed: int = 0, epochs: int = 200, hidden: int = 16, lr: float = 0.01,
        weight_decay: float = 5e-4, device: str = "auto") -> GCN:
    """A `GCN` trained on the training nodes of the whole graph, with Kipf and Welling's settings.

    The weights after the epoch with the fewest errors on the validation nodes are kept (ties: the
    smallest loss).
    """
    require(whole(epochs), "epochs", epochs, "a whole number ≥ 1")
    where = nets.resolve_device(device)
    net: Any = GCN(graph.links, graph.features.shape[1], len(graph.classes), hidden)
    net = nets.fresh(net, int(torch.randint(2**31, (), generator=generator(seed)))).to(where)
    x, y = net.links @ graph.features.to(where), graph.labels.to(where)
    step = torch.optim.Adam(net.parameters(), lr=lr, weight_decay=weight_decay)
    best, kept = None, {}
    with torch.random.fork_rng(devices=[] if where.type == "cpu" else None):
        torch.manual_seed(seed)                                                # dropout draws
        for _ in range(epochs):
            net.train()
            step.zero_grad()
            F.cross_entropy(net.mixed(x)[graph.train], y[graph.train]).backward()
            step.step()
            with torch.no_grad():
                z, right = net.eval().mixed(x)[graph.validation], y[graph.validation]
            score = (int((z.argmax(1) != right).sum()), float(F.cross_entropy(z, right)))
            if best is None or score < best:
                best = score
                kept = {k: v.clone() for k, v in net.named_parameters()}
    net.load_state_dict(kept, strict=False)              # all but the links
    return net
