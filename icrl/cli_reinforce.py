"""The command `icrl reinforce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from icrl import distill_tables as tables
from icrl.bars import bars
from icrl.cli_distill import judge

STOPPED = "Stopped. Checkpoints that are whole are kept; the same command continues."


def reinforce(
    plan: Annotated[Path, typer.Argument(help="A YAML file with model, data, reinforce, train, evaluate.")],
    out: Annotated[Path, typer.Option(help="The folder; it may be that of a distillation.")],
) -> None:
    """Train a model on its own play, by TRL's GRPO on whole episodes.

    The plan is that of `icrl distill`: its tasks are played, told by its prompt. What is particular:

    [dim]reinforce:
      reward: regret        # or return, or agreement (with the teacher)
      start: base           # or distilled: what icrl distill has left in DIR
      steps: 100            # of the optimiser, each on new games
      games: 8
      plays: 8              # of each game, on the same luck: what one earned beyond the others is its advantage
      grpo: {learning_rate: 1.0e-4}   # fields of trl.GRPOConfig[/dim]

    DIR/reinforced/adapter is the state that played best at the looks; it is judged as in icrl distill, beside the base.
    The same command again continues where it stopped.
    """
    from icrl.experiments.distill_eval import students
    from icrl.experiments.distill_home import student, trained_in
    from icrl.experiments.distill_plan import DistillPlan
    from icrl.experiments.distill_watch import is_main
    from icrl.experiments.reinforcing import reinforce as train

    given, out = DistillPlan.load(plan), out.expanduser()
    with bars(STOPPED) as begin:
        done = train(given, out, begin)
    if not is_main():
        return
    Console().print(tables.looks(done.trained))
    models = students(given, out, str(done.trained.folder))
    if given.reinforce.start == "distilled":
        models["distilled"] = student(given, trained_in(given, out, given.rounds.count), models["base"])
    judge(done, models, done.trained.folder.parent)
