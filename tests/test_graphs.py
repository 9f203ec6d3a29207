"""Graphs: the one made here, Cora's files in the true format, and the network that reads them."""

import pytest
import torch

from wlib import mda, store
from wlib.mda import graphs, wiring

SMALL = {"nodes": 200, "classes": 4, "words": 60}


@pytest.fixture(scope="module")
def papers():
    return graphs.load("citations", 0, **SMALL)


# ---- the graph made here -----------------------------------------------------------------------
def test_splits_hold_each_class_and_share_no_node(papers):
    assert papers.labels[papers.train].bincount().tolist() == [graphs.LABELED] * 4
    every = torch.cat([papers.train, papers.validation, papers.test])
    assert len(every.unique()) == len(every) == len(papers) == 200
    assert len(papers.validation) == 40 and len(papers.test) == 80
    counts = papers.labels.bincount()
    assert counts[3] == pytest.approx(3 * counts[0], abs=2)      # the classes differ in size


def test_links_are_normalized_and_mostly_within_a_class():
    papers = graphs.load("citations", 1)
    linked = papers.links > 0
    assert torch.equal(linked, linked.T) and linked.diagonal().all()
    degree = linked.sum(1)                                       # D^−½ (A + I) D^−½ by hand
    torch.testing.assert_close(papers.links, linked / (degree[:, None] * degree[None]) ** 0.5)
    cited = linked & ~torch.eye(len(papers), dtype=torch.bool)
    same = papers.labels[:, None] == papers.labels[None]
    assert cited.sum() / len(papers) == pytest.approx(4, abs=0.3)
    assert (cited & same).sum() / cited.sum() == pytest.approx(0.7, abs=0.03)
    torch.testing.assert_close(papers.features.sum(1), torch.ones(len(papers)))
    assert (papers.features > 0).sum(1).float().mean() == pytest.approx(18, abs=1.5)


def test_a_seed_draws_the_graph(papers):
    again, other = (graphs.load("citations", s, **SMALL) for s in (0, 1))
    assert papers.digest() == again.digest() != other.digest()
    assert store.describe(papers) == {"Graph": papers.digest()}


# ---- Cora's files ------------------------------------------------------------------------------
def written(folder, extra="", cites="100\t101\n7\t100\n103 102\n"):
    """Tiny files in the published format: 21 papers of each of two fields, three words."""
    (folder / "cora").mkdir(exist_ok=True)
    lines = [f"{100 + i}\t{i % 2}\t{i // 2 % 2}\t1\t{('Theory', 'Case_Based')[i % 2]}\n"
             for i in range(42)]
    (folder / "cora" / "cora.content").write_text("".join(lines) + extra)
    (folder / "cora" / "cora.cites").write_text(cites)
    return folder


def test_cora_is_read_from_its_files(tmp_path):
    cora = graphs.load("cora", root=written(tmp_path))
    assert cora.classes == ("Case_Based", "Theory") and len(cora) == 42
    assert cora.labels[:3].tolist() == [1, 0, 1]
    assert cora.features[3].tolist() == pytest.approx([1 / 3] * 3)
    linked = (cora.links > 0).nonzero().tolist()
    assert [0, 1] in linked and [1, 0] in linked and [2, 3] in linked
    assert len(linked) == 42 + 4                   # paper 7 has no line of content
    assert cora.labels[cora.train].bincount().tolist() == [20, 20] and len(cora.test) == 2
    assert graphs.load("cora", 1, tmp_path).digest() != cora.digest()        # other splits


def test_missing_cora_names_the_folder_and_what_needs_no_files(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="cora.content is not in .*cora; .*citations"):
        graphs.load("cora")
    (written(tmp_path) / "cora" / "cora.cites").unlink()
    with pytest.raises(FileNotFoundError, match="cora.cites"):
        graphs.load("cora")


@pytest.mark.parametrize(("extra", "cites", "message"), [
    ("9\t0\t1\tTheory\n", "", "fields"), ("9\t0\t1\t2\tTheory\n", "", "words 0 or 1"),
    ("100\t0\t1\t1\tTheory\n", "", "twice"), ("9\t0\t1\t1\tRare\n", "", "more than 20"),
    ("", "100\t101\t102\n", "two papers")])
def test_files_of_another_format_are_refused(tmp_path, extra, cites, message):
    with pytest.raises(ValueError, match=message):
        graphs.load("cora", root=written(tmp_path, extra, cites))


# ---- the network -------------------------------------------------------------------------------
def test_the_network_is_two_graph_convolutions(papers):
    net = graphs.fit(papers, seed=0, epochs=2, hidden=5, device="cpu").eval()
    x, links = papers.features, papers.links
    with torch.no_grad():
        hidden = torch.relu(links @ x @ net.one.weight.T + net.one.bias)
        wanted = links @ hidden @ net.two.weight.T + net.two.bias
        torch.testing.assert_close(net(x), wanted)
        torch.testing.assert_close(net.mixed(links @ x), wanted)


def test_training_is_repeatable_and_better_than_words_alone():
    papers = graphs.load("citations", 2)
    one, again = (graphs.fit(papers, seed=s, epochs=60, device="cpu") for s in (0, 0))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(),
                                                 strict=True))

    def right(net, nodes):
        named = wiring.logits(net, papers.features, at_once=len(papers)).argmax(1)
        return (named[nodes] == papers.labels[nodes]).float().mean().item()

    alone = graphs.Graph(papers.features, papers.labels, torch.eye(len(papers)), papers.classes,
                         papers.train, papers.validation, papers.test)
    deaf = graphs.fit(alone, seed=0, epochs=60, device="cpu")
    assert 0.75 < right(one, papers.test) < 0.95
    assert right(one, papers.test) > right(deaf, papers.test) + 0.1


def test_a_part_is_smaller_and_equals_the_masked_network(papers):
    net = graphs.fit(papers, seed=1, epochs=30, device="cpu").eval()
    masks = mda.masks(mda.contributions(net, papers.features, papers.labels, nodes=papers.train),
                      mode="graph")
    part, keep = mda.disassemble(net, masks, [1, 2]), masks["two"][[1, 2]].any(0)
    assert part.one.out_features == int(keep.sum()) < 16
    with torch.no_grad():
        hidden = torch.relu(net.one(papers.links @ papers.features)) * keep
        torch.testing.assert_close(part(papers.features),
                                   net.two(papers.links @ hidden)[:, [1, 2]])


def test_bad_requests_are_refused(tmp_path, papers):
    for call, words in [(lambda: graphs.load("citation"), "citations"),
                        (lambda: graphs.load("cora", root=tmp_path, nodes=9), "settings"),
                        (lambda: graphs.citations(nodes=20), "nodes"),
                        (lambda: graphs.citations(within=1.2), "within"),
                        (lambda: graphs.citations(classes=1), "classes"),
                        (lambda: graphs.fit(papers, epochs=0), "epochs")]:
        with pytest.raises(ValueError, match=words):
            call()
