"""The page that tells what was measured."""

from __future__ import annotations

from typing import Any

from card.gates import TIMES, Gate, reported, required
from card.play import EASY, HARD

PLAYED = ("regret", "of Uniform's", "suffix failure", "K MinFrac", "GreedyFrac", "first-pull bias", "mass")
SHOWN = ("regret", "of Uniform's", "suffix failure", "K MinFrac", "GreedyFrac")


def page(found: dict[str, Any]) -> str:
    """In Markdown."""
    parts = [
        "# What pocket is",
        INTRODUCTION.format(**found),
        "## Gates",
        GATES,
        _gates(required(found)),
        REPORTED,
        _gates(reported(found)),
        "## Label mass",
        MASS.format(n=found["some"] // 2),
        _table(
            ("prompt", "mean", "least", "at step"),
            [(name, _cell(m["mean"]), _cell(m["least"]), str(m["at"])) for name, m in found["mass"].items()],
        ),
        "## Play",
    ]
    for task in (HARD, EASY):
        parts += [f"`{task}`:", _players(found["play"][task]["players"], PLAYED)]
    parts += [MISPLACED]
    parts += ["## Other ways to tell it", TOLD.format(n=found["some"])]
    for task in (HARD, EASY):
        parts += [f"`{task}`:", _players(found["told"][task], PLAYED)]
    own = found["play"][HARD]["players"]["pocket"]
    parts += ["## How it settles"]
    shares = _table([f"up to {n / 10:.1f}" for n in range(1, 11)], [[_cell(x) for x in own["best-arm pulls, tenths"]]])
    entropy = _table([f"t = {t}" for t in TIMES], [[_cell(own["entropy"][t - 1]) for t in TIMES]])
    parts += [HISTOGRAM, shares, ENTROPY, entropy]
    parts += ["## Advice", ADVICE.format(n=found["some"]), _players(found["hints"]["players"], SHOWN)]
    parts += ["## Imitation", IMITATION.format(n=found["some"]), _players(found["shown"]["players"], SHOWN)]
    parts += ["## Thoughts", THOUGHTS.format(**{k.replace(" ", "_"): v for k, v in found["thoughts"].items()})]
    parts += [DISTRIBUTIONS.format(unread=found["distributions"]["unread"])]
    parts += ["## Elsewhere", ELSEWHERE, _elsewhere(found["elsewhere"])]
    parts += ["## Cost", COST.format(**{k.replace(" ", "_").replace(",", ""): v for k, v in found["cost"].items()})]
    audit = found["audit"]
    told = [
        (k, *(f"{x[n]:.5f}" for n in ("nats", "by chance")), f"{x['p']:.2f}") for k, x in audit["information"].items()
    ]
    parts += ["## The corpus", AUDIT.format(**audit), _table(("of", "nats", "by chance", "p"), told)]
    return "\n\n".join(parts) + "\n"


def _gates(gates: list[Gate]) -> str:
    return _table(("asked", "found", "met"), [(g.asked, g.found, "yes" if g.met else "**no**") for g in gates])


def _elsewhere(table: dict[str, Any]) -> str:
    rows = []
    for name, x in table.items():
        share = f"{x['pocket']:.0%} [{x['low']:.0%}, {x['high']:.0%}]"
        greedy, n = f"{x['Greedy']:.0%}", f"{x['episodes']:,.0f}"
        rows.append((name, share, f"{x['to base']:.2f}", greedy, _cell(x["mass"]), n))
    return _table(("task", "pocket", "to the first", "Greedy", "mass", "episodes"), rows)


def _players(table: dict[str, Any], measures: tuple[str, ...]) -> str:
    rows = [(name, *(_cell(own[m]) if m in own else "" for m in measures)) for name, own in table.items()]
    return _table(("player", *measures), rows)


def _table(head: Any, rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"


INTRODUCTION = """This page is written by `python benchmarks/pocket.py`, which also writes
`benchmarks/results/pocket.json`. {model}, trained on {training}; {machine}.
Unless said otherwise: {episodes:,} episodes on the same luck (seed {seed}), T = 100, temperature 1, labels and seed
kept from the training corpus, no tag.

It is a test bed: it shows that the library works on a real model, and says nothing of other models.

![Loss, regret and label mass during training](pocket_training.png)"""
GATES = "What it has to show. Differences are paired, their intervals are bootstrapped (95 %)."
REPORTED = "What is asked of a model that was trained on a GPU, with far more text; this one was not."
MISPLACED = """"Rewards misplaced": in what it reads, each reward and the answer before it name a random arm, so that
nothing can be learnt from it. That its reward is then Uniform's holds for whoever reads nothing else, too; that its
regret grows is what shows that it learns."""
MASS = """The probability of the labels in question before all else is masked, over {n} episodes: the mean of all
steps, and the mean of the step at which it is least. All formats are of the kinds that it was trained on, with five
arms or fewer unless said otherwise. What is missing lies on labels of other games, more so the more arms there are."""
TOLD = "The same games, {n} of them, in other prompts."
HISTOGRAM = """How often the best arm was pulled, in tenths of the episode (`bernoulli-hard`, untagged): the share
of episodes in each bin. Large models show two humps (Krishnamurthy et al. 2024): they settle, on the best arm or on
another."""
ENTROPY = "Mean entropy of its policy there, in nats (uniform over five arms: 1.609):"
ADVICE = """`bernoulli-hard` at T = 300, {n} episodes. The hints are UCB's numbers with the bonus sqrt(1/n), beside the
raw history; "permuted" shows the same numbers at the wrong arms."""
IMITATION = """`bernoulli-hard`, {n} episodes. Before the question stand three whole games of a player, or the system
text says "The player is ...". The sticky player pulls the same arm again with probability 0.97, whatever it gave, else
any; in the corpus the tag "sticky" stands for such players and for win-stay lose-shift."""
THOUGHTS = """`bernoulli-hard` at T = 30, {decisions:,.0f} decisions. Of the arms that were tried, {named:.1%} have
a line in its thought; of the lines, {count:.1%} tell the right number of pulls and {mean:.1%} the right mean, to
two digits. {says:.1%} of the thoughts call an arm the best so far; in {knows:.1%} of the decisions that arm does
have the highest mean (it knows), and {does:.1%} pull the arm that they call best. It knows and does in
{knows_and_does:.1%}: the gap of knowing and doing (Schmied et al. 2025) is the difference of that to {knows:.1%}.
{greedy:.1%} of the pulls are of an arm with the highest mean. {cut:.1%} of the thoughts were cut off at the limit."""
DISTRIBUTIONS = "Written distributions: {unread:.1%} could not be read (`bernoulli-easy`, T = 30)."
ELSEWHERE = """Regret as a share of Uniform's, with means uniform in [0, 1] unless said otherwise, and divided by that
of the first row (of the first Gaussian one). Intervals are bootstrapped over episodes. It was trained on up to ten arms
but not on seven, on horizons to 200 and a few of 1,000, and on Gaussian rewards of a standard deviation (and of means)
up to 2."""
COST = """Scoring 64 episodes at once (`bernoulli-hard`, raw): {steps_per_second:,.0f} environment steps per second;
the process took {peak_memory_MiB:,.0f} MiB at most."""
AUDIT = """Mutual information between what a prompt shows and which arm is best, in {games:,} games of five arms of the
batches after the warm-up, beside what chance alone would give and the p-value of a permutation test. Of {rows:,} rows,
{repeated:,} repeat another one."""
