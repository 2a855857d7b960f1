"""The commands `icrl steer fit`, `icrl steer sweep` and `icrl steer show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from icrl import steer_tables
from icrl.bars import bars

if TYPE_CHECKING:
    from icrl.experiments.progress import Begin
    from icrl.experiments.sweep_plan import SteeringPlan

app = typer.Typer(
    help="Steer what a model does by adding a direction to its residual stream: fit it, try it, look at it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
console = Console()

_Plan = Annotated[Path, typer.Argument(help="A YAML file with task, agent, seed, fit, sweep.")]
_Out = Annotated[Path, typer.Option(help="The folder for vectors, runs, table and figure.")]
STOPPED = "Stopped. Fitted vectors and what was swept are kept; the same command continues, a fit begins anew."
CONFOUNDED = 0.9
"""From which cosine with the direction of time on a user is warned."""


@app.command()
def fit(plan: _Plan, out: _Out) -> None:
    """Fit a steering vector for each layer, and the controls that mean nothing.

    A file may read:

    [dim]task: bernoulli-hard
    agent: {model: pocket, prompt: {history: raw}}
    fit: {method: east, episodes: 65}
    sweep: {relative: [0.1, 0.2, 0.4, 0.8], episodes: 64}[/dim]

    The agent plays; method east then finds the direction that goes with its policy's entropy. DIR/vectors has a
    file for each layer, which an experiment file names:

    [dim]agents:
      steered:
        model: pocket
        steering: {vector: DIR/vectors/east-layer2.safetensors, strength: 4.0}[/dim]

    Other methods on the same play are mean-difference, principal and in-context.

    In the table, the unit is what a vector at strength 1 is to the residual stream, by their lengths; time is the
    cosine with the direction in which the stream moves from step to step.
    """
    from icrl.experiments.sweep_plan import SteeringPlan

    given, out = SteeringPlan.load(plan), out.expanduser()
    with bars(STOPPED) as begin:
        _fit(given, out, begin)
    console.print(f"Next: icrl steer sweep {escape(str(plan))} --out {escape(str(out))}", soft_wrap=True)


@app.command()
def sweep(plan: _Plan, out: _Out) -> None:
    """Try each layer with each strength, beside baselines and controls, and choose.

    Vectors are fitted first, unless they are there (icrl steer fit --help has an example of a file). What is tried
    plays on other luck than they were fitted on, and all of it on the same. Baselines are temperatures, random choices
    (epsilon) and hints; controls, at the layer of the best setting, are the vector's contrary (minus), its numbers
    shuffled, random directions and refits on permuted entropies, all as long as the vector.

    The same command again continues where it stopped. DIR then holds sweep.png, sweep.csv and sweep.json; and DIR/runs
    two run folders for icrl report.
    """
    from icrl.experiments import sweep_chart
    from icrl.experiments.sweep import save, told
    from icrl.experiments.sweep import sweep as sweep_all
    from icrl.experiments.sweep_plan import SteeringPlan

    given, out = SteeringPlan.load(plan), out.expanduser()
    with bars(STOPPED) as begin:
        _fit(given, out, begin)
        found = sweep_all(given, out, begin)
    title = f"{given.fit.method} on {given.task}: {given.sweep.episodes} episodes on the same luck"
    console.print(steer_tables.settings(found.table, given.fit.method, title))
    console.print(escape(told(found)))
    if found.steering is not None:
        console.print(f"In an experiment file: {escape(steer_tables.inline(found.steering))}", soft_wrap=True)
    save(found, out)
    sweep_chart.draw(found, out / "sweep.png")
    console.print(f"The figure is {escape(str(out / 'sweep.png'))}, the table sweep.csv beside it.", soft_wrap=True)


@app.command()
def show(file: Annotated[Path, typer.Argument(help="A vector: .safetensors, or .gguf of other tools.")]) -> None:
    """Say what a steering vector is, and where it comes from."""
    from icrl.experiments.vectors import read

    vector = read(file)
    console.print(steer_tables.origin(vector, str(file)))


def _fit(plan: SteeringPlan, out: Path, begin: Begin) -> None:
    """Fits, unless that is done, and shows what is there."""
    from icrl.experiments import vectors

    known, where = vectors.is_fitted(plan, out), escape(str(out / "vectors"))
    vectors.fit(plan, out, begin)
    times = vectors.along_time(plan, out)
    console.print(f"The vectors {'were there already' if known else 'are there now'}: {where}", soft_wrap=True)
    console.print(steer_tables.vectors(vectors.load(plan, out), times))
    if drifting := [str(layer) for layer, time in enumerate(times) if abs(time) > CONFOUNDED]:
        console.print(
            f"[yellow]warning:[/] at layer {', '.join(drifting)} the vector is little else than the direction of time "
            f"(|cosine| above {CONFOUNDED}), as entropy and activations both move with the step; centre: run+time "
            "takes out what the step explains."
        )
