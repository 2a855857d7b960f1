"""The report: what it says, that it escapes what it was told, and that it loads nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

import icrl.envs
from icrl.agents import UCB, Greedy, Uniform, rollout
from icrl.envs import Episodes
from icrl.experiments.config import Prices
from icrl.experiments.report import describe, render

EVIL = '<script>alert("1")</script> & $x_'
TASK = icrl.envs.make("bernoulli-hard", horizon=12)


class Elements(HTMLParser):
    """All elements of a page, with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> Iterator[str]:
        return (attrs[name] or "" for _, attrs in self.found if name in attrs)


def model(run: Episodes) -> Episodes:
    """As if a language model had played: with its policy, its failures and its tokens."""
    shape = run.arms.shape
    probs = np.full((*shape, run.public.n_arms), 1 / run.public.n_arms)
    usage = np.full((*shape, 4), (1000, 500, 1, 70))
    return replace(run, agent=EVIL, probs=probs, mass=np.full(shape, 0.9), failed=np.ones(shape, np.int64), usage=usage)


def page_of(runs: dict[str, Episodes]) -> str:
    return render(runs, EVIL, {EVIL: f"agents: {EVIL}"}, {"icrl": EVIL}, Prices(new=1, written=10))


@pytest.fixture(scope="module")
def runs() -> dict[str, Episodes]:
    played = {n: rollout(a, TASK, episodes=8) for n, a in {"ucb": UCB(), "greedy": Greedy(), EVIL: Uniform()}.items()}
    return played | {EVIL: model(played[EVIL])}


@pytest.fixture(scope="module")
def page(runs: dict[str, Episodes]) -> str:
    return page_of(runs)


def test_everything_told_is_escaped(page: str) -> None:
    elements = Elements(page)
    assert not {"script", "img", "iframe", "object", "embed", "link", "image"} & {tag for tag, _ in elements.found}
    assert elements.text.count(EVIL) >= 8  # title twice, tables, legends, settings, versions, the agent's repr
    assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]


def test_nothing_is_loaded(page: str) -> None:
    elements = Elements(page)
    assert "http" not in page.replace("http-equiv", "")
    assert not list(elements.attributes("src")) and "@import" not in page
    assert all(target.startswith("#") for target in elements.attributes("href"))
    assert all(target.startswith("#") for target in re.findall(r"url\((.)", page))
    assert "default-src 'none'" in " ".join(elements.attributes("content"))


def test_ids_are_unique_and_found(page: str) -> None:
    elements = Elements(page)
    ids = Counter(elements.attributes("id"))
    targets = {target.removeprefix("#") for target in elements.attributes("href")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert max(ids.values()) == 1
    assert targets and targets <= set(ids)


def test_charts_are_vectors_with_text(page: str) -> None:
    charts = re.findall(r'<svg [^>]*role="img".*?</svg>', page, re.DOTALL)
    assert len(charts) == 4 + 3  # curves, and one histogram per agent
    for chart in charts:
        texts = [node.text for node in ElementTree.fromstring(chart).iter("text")]
        assert texts and not any("alert" in (text or "") for text in texts)
        assert "currentColor" in chart and "#111111" not in chart


def test_equal_arguments_give_equal_pages(runs: dict[str, Episodes], page: str) -> None:
    assert page_of(runs) == page


def test_it_says_what_was_played(page: str) -> None:
    text = " ".join(Elements(page).text.split())
    assert "A bandit with 5 arms and Bernoulli rewards; an episode has 12 steps." in text
    assert "the best mean is 0.6, the second best 0.4" in text
    assert "8 episodes per agent, seed 0. All agents met the same luck" in text
    tokens = re.findall(r"<td>([^<]*)</td>", page.partition("New per episode")[2].partition("</table>")[0])
    assert tokens == ["96", "96,000", "48,000", "96", "6,720", "12,000", "0.21"]  # of an episode; what all cost
    assert "A million new tokens cost 1.0, cached ones 1.0, written and thought ones 10.0." in text
    assert '"horizon": 12' in text


def test_best_values_are_marked(runs: dict[str, Episodes]) -> None:
    best = replace(runs["greedy"], gap=np.zeros_like(runs["greedy"].gap))
    marked = re.findall(r"<tr>(?:(?!</tr>).)*class=\"best\">0\.00<", page_of({"ucb": runs["ucb"], "b": best}))
    assert len(marked) == 1 and "</svg>b</th>" in marked[0]


def test_classical_agents_alone_need_no_model_charts(runs: dict[str, Episodes]) -> None:
    text = Elements(page_of({"ucb": runs["ucb"]})).text
    for absent in ("Action entropy", "Label mass", "Tokens", "Invalid", "same luck", "Difference"):
        assert absent not in text
    assert "Suffix failure" in text


def test_small_and_bare_runs_are_rendered(runs: dict[str, Episodes]) -> None:
    one = {"a": rollout(UCB(), icrl.envs.make("bernoulli-hard", horizon=1), episodes=1)}
    assert "1 episode per agent" in page_of(one)
    unknown = replace(runs["ucb"], means=None, best_arm=None, gap=np.full_like(runs["ucb"].gap, np.nan))
    text = Elements(page_of({"ucb": unknown, "again": unknown})).text
    assert "Over time" not in text and "Pulls of the best arm" not in text and "Coverage" in text


def test_the_noise_is_described() -> None:
    run = rollout(UCB(), icrl.envs.make("evolve-gaussian-k5-easy", horizon=2), episodes=2)
    assert describe(run).startswith(
        "A bandit with 5 arms and Gaussian rewards (standard deviation 1); an episode has 2"
    )
