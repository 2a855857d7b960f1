"""What pocket has to show, as numbers and bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from card.play import EASY, HARD

TIMES = (1, 5, 10, 25, 50, 100)
"""Steps at which the entropy of the policy is told."""


@dataclass(frozen=True)
class Gate:
    """One claim: what is asked, what was found, and whether that is enough."""

    asked: str
    found: str
    met: bool


def required(found: dict[str, Any]) -> list[Gate]:
    """What every pocket has to show."""
    play = found["play"]
    return [*_mass(found["mass"]), *_hard(play[HARD]), *_easy(play[EASY]), *_learns(play)]


def reported(found: dict[str, Any]) -> list[Gate]:
    """What one that was trained on a GPU, with a thousand times the text, would have to show."""
    return [*_hints(found["hints"]), *_imitates(found["shown"]["beside"])]


def _mass(mass: dict[str, Any]) -> Iterator[Gate]:
    name = min(mass, key=lambda name: mass[name]["least"])
    least = mass[name]["least"]
    short = [name for name in mass if not mass[name]["least"] >= 0.98]
    found = f"{least:.3f} ({name}); below it {len(short)} of {len(mass)}"
    yield Gate("label mass at the worst step of every format >= 0.98", found, not short)


def _hard(table: dict[str, Any]) -> Iterator[Gate]:
    own, thompson = table["players"]["pocket"], table["players"]["Thompson sampling"]
    share, failure, greedy, bias = (own[x] for x in ("of Uniform's", "suffix failure", "GreedyFrac", "first-pull bias"))
    least = thompson["suffix failure"] + 0.1
    times = [own["entropy"][t - 1] for t in TIMES]
    falls = all(a > b for a, b in pairwise(times))
    yield Gate(f"{HARD}: regret <= 85 % of Uniform's", f"{share:.0%}", share <= 0.85)
    bar = f"{HARD}: suffix failure at T/2 from {least:.2f} (Thompson's + 0.10) to 0.60"
    yield Gate(bar, f"{failure:.2f}", least <= failure <= 0.6)
    yield Gate(f"{HARD}: GreedyFrac >= 0.75", f"{greedy:.2f}", greedy >= 0.75)
    yield Gate(f"{HARD}: bias of the first pull's place <= 0.05", f"{bias:.3f}", bias <= 0.05)
    entropy = ", ".join(f"{x:.2f}" for x in times)
    yield Gate(f"{HARD}: entropy falls (t = {', '.join(map(str, TIMES))})", f"{entropy} nats", falls)


def _easy(table: dict[str, Any]) -> Iterator[Gate]:
    share, sticky = table["players"]["pocket"]["of Uniform's"], table["beside win-stay"]
    yield Gate(f"{EASY}: regret <= 45 % of Uniform's", f"{share:.0%}", share <= 0.45)
    yield Gate(f"{EASY}: regret below win-stay lose-shift's", _interval(sticky), sticky["high"] < 0)


def _learns(play: dict[str, Any]) -> Iterator[Gate]:
    for task in (HARD, EASY):
        reward = play[task]["misplaced: reward"]
        asked = f"{task}: rewards misplaced, the reward is Uniform's within 0.01 (equivalence test)"
        yield Gate(asked, f"{reward['diff']:+.4f}, p = {reward['p']:.2g}", reward["equivalent"])
    # On the hard task there is hardly so much to lose: 85 % of Uniform's regret is allowed.
    share = play[EASY]["misplaced: regret"]["diff"] / play[EASY]["players"]["Uniform"]["regret"]
    yield Gate(f"{EASY}: and its regret grows by at least a quarter of Uniform's", f"{share:.0%}", share >= 0.25)


def _hints(table: dict[str, Any]) -> Iterator[Gate]:
    players, beside = table["players"], table["beside"]
    own, wrong, apart = (beside[x] for x in ("hints - raw", "hints, permuted - raw", "hints - hints, permuted"))
    before, after = (players[x]["suffix failure"] for x in ("raw", "hints"))
    asked = "hints: suffix failure falls (McNemar, p < 0.05)"
    met = after < before and own["McNemar"] < 0.05
    yield Gate(asked, f"{before:.2f} to {after:.2f}, p = {own['McNemar']:.2g}", met)
    yield Gate("hints: regret at T = 300 falls", _interval(own["regret"]), own["regret"]["high"] < 0)
    regret = wrong["regret"]
    yield Gate("permuted hints: no significant fall of regret", _interval(regret), regret["high"] >= 0)
    regret = apart["regret"]
    yield Gate("hints: regret is lower than with permuted ones", _interval(regret), regret["high"] < 0)


def _imitates(beside: dict[str, Any]) -> Iterator[Gate]:
    """UCB plays all arms and seldom fails; a sticky player is the other way round."""
    for told, explores in (("games of UCB", 1), ("tag: optimistic", 1), ("games of sticky", -1), ("tag: sticky", -1)):
        for measure, sign in (("K MinFrac", explores), ("suffix failure", -explores)):
            own = beside[f"{told} - raw"][measure]
            met = own["low"] > 0 if sign > 0 else own["high"] < 0
            yield Gate(f"{told}: {measure} {'rises' if sign > 0 else 'falls'}", _interval(own), met)


def _interval(own: dict[str, float]) -> str:
    return f"{own['diff']:+.2f} [{own['low']:+.2f}, {own['high']:+.2f}]"
