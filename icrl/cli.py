"""The command line: `icrl run`, `report`, `envs`, `agents`, `serve`, `steer`, `distill`, `reinforce`, `doctor`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from icrl import tables
from icrl.cli_adapters import app as adapters
from icrl.cli_distill import distill, distill_data, distill_eval
from icrl.cli_reinforce import reinforce
from icrl.cli_serve import serve
from icrl.cli_steer import app as steer
from icrl.models.errors import ServerLost

if TYPE_CHECKING:
    from icrl.envs import Episodes
    from icrl.experiments import Experiment
    from icrl.experiments.cost import Cost

app = typer.Typer(
    help="In-context reinforcement learning with language-model agents.",
    epilog="A first run: icrl run examples/demo.yaml --out runs/demo, then icrl report runs/demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console()


class Meter:
    """A progress bar per agent, with steps and tokens per second."""

    def __init__(self, progress: Progress, total: int) -> None:
        """`total`: environment steps of each agent, if its episodes go to the horizon."""
        self.progress, self.total = progress, total
        self.bars: dict[str, TaskID] = {}
        self.tokens: dict[str, int] = {}

    def __call__(self, agent: str, steps: int, tokens: int) -> None:
        """Moves an agent's bar; its first call says how much was found."""
        if agent not in self.bars:
            self.bars[agent] = self.progress.add_task(escape(agent), total=self.total, completed=steps, speed="")
            return
        self.tokens[agent] = self.tokens.get(agent, 0) + tokens
        self.progress.advance(self.bars[agent], steps)
        bar = self.progress.tasks[self.bars[agent]]
        read = f", {self.tokens[agent]:,} tokens read" if self.tokens[agent] else ""
        self.progress.update(bar.id, speed=f"{bar.speed:,.0f} steps/s{read}" if bar.speed else "")


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="A YAML file with task, agents, episodes, seed.")],
    out: Annotated[
        Path | None, typer.Option(help="The run folder. The same command again continues where it stopped.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Play nothing, make no folder; estimate the tokens that it takes.")
    ] = False,
    pilot: Annotated[
        int, typer.Option(help="With --dry-run: play so many episodes to see how much models think and write.", min=0)
    ] = 0,
) -> None:
    """Play several agents on one task, on the same luck, and print a table.

    A file may read:

    [dim]task: bernoulli-hard
    episodes: 64
    tokens: 5_000_000
    prices: {new: 0.1, cached: 0.01, written: 0.4}
    agents:
      pocket: {model: pocket, prompt: {history: raw}}
      ucb: {type: UCB, c: 1.0}
      thompson: ThompsonSampling[/dim]

    Before anything is played, each model is looked at in a few prompts: how probable it finds the labels among all
    that it could write (its label mass), or how many of its written answers can be read. Below min_mass (0.9, if the
    file does not say) the run stops; with 0 it never does.

    A run stops between two steps, with exit code 3, once models have read and written as many tokens in its folder as
    the file allows (tokens; any number, if it does not say). Raise it, and the same command continues. It also stops
    so when the servers of a model are lost.

    What a run will take is estimated with --dry-run: nothing is played and no folder is made. Thoughts count as long as
    they may be, and written answers as short as they can, unless a few episodes are played to see (--pilot 2). After a
    run, what was measured stands beside the estimate: tokens that were new, cached, written as answers, and thought.
    prices are those of a million tokens; thoughts cost what answers do.
    """
    from icrl.experiments import Experiment, compare
    from icrl.experiments.cost import expected

    plan = Experiment.load(experiment)
    if dry_run:
        _estimate(plan, pilot)
        return
    if out is None:
        raise ValueError("out: a run needs a folder (--out DIR), got none; --dry-run alone plays nothing")
    if pilot:
        raise ValueError(f"pilot: episodes are tried with --dry-run only, got {pilot} without it")
    foreseen = expected(plan)  # what cannot be told is no reason not to play
    runs = _play(plan, out)
    table = compare(runs)
    console.print(tables.comparison(table, f"{plan.task}: {plan.episodes} episodes on the same luck"))
    first, folder = escape(str(table.index[0])), escape(str(out))
    console.print(f"Differences and p-values are paired, against {first}. Next: icrl report {folder}")
    _count(plan, runs, foreseen)


def _play(plan: Experiment, out: Path) -> dict[str, Episodes]:
    """Plays with a bar per agent; exits where the run is stopped."""
    from icrl.experiments import BudgetSpent
    from icrl.experiments import run as run_experiment

    try:
        with _progress() as progress:
            meter = Meter(progress, plan.episodes * (plan.build_task().public.horizon or 0))
            return run_experiment(plan, out, meter, lambda line: progress.console.print(escape(line), soft_wrap=True))
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped. What is finished is kept; the same command continues.")
        raise typer.Exit(130) from None
    except BudgetSpent as spent:
        Console(stderr=True).print(escape(str(spent)), highlight=False, soft_wrap=True)
        raise typer.Exit(3) from None
    except ServerLost as lost:
        kept = "What is finished is kept; the same command continues when it is back."
        Console(stderr=True).print(f"{escape(str(lost))}. {kept}", highlight=False, soft_wrap=True)
        raise typer.Exit(3) from None


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    return Progress(*columns, console=console)


def _estimate(plan: Experiment, pilot: int) -> None:
    """Prints what a run would take."""
    from icrl.experiments.cost import assumed, estimate

    with _progress() as progress:
        costs = estimate(plan, pilot, Meter(progress, pilot * (plan.build_task().public.horizon or 0)))
    if not costs:
        console.print("No agent holds a model, so there are no tokens to count.")
        return
    console.print(tables.tokens({"estimated": costs}, plan.prices))
    console.print(assumed(pilot))


def _count(plan: Experiment, runs: Mapping[str, Episodes], foreseen: dict[str, Cost]) -> None:
    """Prints what models have read and written, beside what was to be expected."""
    from icrl.experiments.cost import measured

    if costs := {name: measured(played) for name, played in runs.items() if played.usage is not None}:
        beside = {"estimated": foreseen} if foreseen else {}
        console.print(tables.tokens({"measured": costs} | beside, plan.prices))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write one HTML file about a run; it needs no network to be read."""
    from icrl.experiments import load
    from icrl.experiments.report import render

    plan, runs, versions = load(folder)
    settings = {key: str(value) for key, value in plan.model_dump(mode="json").items()}
    missing, played = [name for name in plan.agents if name not in runs], len(next(iter(runs.values())))
    if missing or played < plan.episodes:
        settings["unfinished"] = f"{played} of {plan.episodes} episodes" + "".join(f", no {name}" for name in missing)
        console.print(f"The run is unfinished: the report has {escape(settings['unfinished'])}.")
    path = folder / "report.html"
    path.write_text(render(runs, str(plan.task), settings, versions, plan.prices), encoding="utf-8")
    console.print(f"The report is at {escape(str(path))}", soft_wrap=True)


@app.command()
def prompt(
    experiment: Annotated[Path, typer.Argument(help="A YAML file: task, agents, episodes, seed.")],
    step: Annotated[int, typer.Option(help="Steps taken before the question.", min=0)] = 20,
    agent: Annotated[str | None, typer.Option(help="Which agent's prompt; the first one with a model.")] = None,
    episode: Annotated[int, typer.Option(help="Which episode's labels and luck.", min=0)] = 0,
) -> None:
    """Show what a model would read, after steps of a player that chooses at random; no weights are loaded.

    Green: what stood in the prompt of the step before, too, so that a cache has read it. Yellow: what is new.
    """
    from icrl.experiments import Experiment
    from icrl.experiments.preview import preview

    found = preview(Experiment.load(experiment), agent, step, episode)
    console.print(Text(found.again, "green") + Text(found.new, "bold yellow"), soft_wrap=True)
    console.rule(f"{escape(found.agent)}, step {step}")
    console.print(
        f"{found.tokens} tokens, {found.share:.0%} of them read at the step before. A whole episode: "
        f"{found.lint.with_cache:,} tokens with a cache, {found.lint.without_cache:,} without."
    )
    for warning in found.lint.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")


@app.command()
def envs() -> None:
    """List the tasks that `icrl.make` and experiment files know by name."""
    from icrl.experiments.config import presets

    table = Table(Column("name", no_wrap=True), "kind", "arms", "horizon", "what it is")
    for name, kind, arms, horizon, meaning in presets():
        table.add_row(name, kind, str(arms), str(horizon), meaning)
    console.print(table)


@app.command()
def agents(
    task: Annotated[str | None, typer.Argument(help="A task's name: only algorithms that can play it.")] = None,
) -> None:
    """List the algorithms that experiment files know by name."""
    from icrl.experiments.config import algorithms

    table = Table(Column("name", no_wrap=True), "what it does")
    for name, meaning in algorithms(task):
        table.add_row(name, escape(meaning))
    console.print(table)


app.command()(distill)
app.command("distill-data")(distill_data)
app.command("distill-eval")(distill_eval)
app.command()(reinforce)
app.command()(serve)
app.add_typer(steer, name="steer")
app.add_typer(adapters, name="adapters")


@app.command()
def doctor(
    server: Annotated[list[str] | None, typer.Option(help="The address of a model server; may be repeated.")] = None,
) -> None:
    """Say what works on this machine, and why the rest does not; of model servers, what they serve."""
    from icrl.experiments.doctor import examine

    table = Table("part", "works", "detail")
    findings = examine(server or [])
    for part, works, detail in findings:
        table.add_row(escape(part), "[green]yes[/]" if works else "[red]no[/]", escape(detail))
    console.print(table)


def main() -> None:
    """The entry point: user errors are one sentence."""
    sys.path.insert(0, "")  # experiment files name classes of modules that stand here, as `python -m icrl` finds them
    try:
        app()
    except (ValueError, ServerLost) as error:
        Console(stderr=True).print(f"[red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
