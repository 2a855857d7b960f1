"""The commands `icrl distill-data`, `icrl distill` and `icrl distill-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from icrl import distill_tables as tables
from icrl.bars import bars

if TYPE_CHECKING:
    import pandas as pd

    from icrl.experiments.distilling import Distilled
    from icrl.models.hf import TransformersModel

console = Console()
STOPPED = "Stopped. Checkpoints and rows that are whole are kept; the same command continues."
_Plan = Annotated[Path, typer.Argument(help="A YAML file with model, teacher, label, data, train, evaluate.")]
_Out = Annotated[Path, typer.Option(help="The folder for rows, checkpoints, adapter and evaluation.")]


def distill_data(plan: _Plan, out: _Out) -> None:
    """Write the rows that a model is to be trained on, and look through them.

    Tasks, prompts and players are drawn as the file says, games are played and told by the prompts that also play.
    DIR/data then holds the rows (Hugging Face datasets) and manifest.json: what they were drawn from, how many there
    are, the longest one, and what an audit found: whether the place or the label of an arm gives away that it is the
    best, and how far players are from the teacher.
    """
    from icrl.experiments.distill_home import alone
    from icrl.experiments.distill_plan import DistillPlan
    from icrl.experiments.distilling import write

    given, out = DistillPlan.load(plan), out.expanduser()
    with alone(out), bars(STOPPED) as begin:
        manifest = write(given, out, begin)
    console.print(tables.manifest(manifest))
    console.print(f"The rows are in {escape(str(out / 'data'))}.", soft_wrap=True)


def distill(plan: _Plan, out: _Out) -> None:
    """Train a model to play like a teacher: rows, training, evaluation.

    A file may read:

    [dim]model: pocket
    teacher: {type: UCB, alpha: 0.5}
    label: policy
    data:
      tasks:
        - task: {n_arms: {choice: [3, 5, 8]}, horizon: {log: [40, 120]}, means: {kind: uniform}}
      context:
        - {agent: teacher, weight: 0.8}
        - {agent: Uniform, weight: 0.2}
      decisions: 150_000
    train:
      lora: {r: 32, lora_alpha: 64}
      sft: {learning_rate: 5.0e-4}
    evaluate: {task: bernoulli-hard, episodes: 256}[/dim]

    label says what is learnt at each step of a history: what was taken; what the teacher would choose there, or one
    draw of its policy (teacher_sample), or the policy as a whole; or the optimal arm. Fields of lora and sft are those
    of PEFT's LoraConfig and of TRL's SFTConfig.

    Now and then during training the model plays; DIR/training/adapter is the state with the least regret. The same
    command again continues where it stopped.
    """
    from icrl.experiments.distill_eval import students
    from icrl.experiments.distill_plan import DistillPlan
    from icrl.experiments.distill_watch import is_main
    from icrl.experiments.distilling import distill as distil_all

    given, out = DistillPlan.load(plan), out.expanduser()
    with bars(STOPPED) as begin:
        done = distil_all(given, out, begin)
    if is_main():
        console.print(tables.looks(done.trained))
        judge(done, students(given, out), out)


def distill_eval(
    plan: _Plan,
    out: _Out,
    adapter: Annotated[str | None, typer.Option(help="Judge another adapter of the same base.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.")] = None,
    text: Annotated[Path | None, typer.Option(help="A text file: what the model forgot, by its perplexity.")] = None,
) -> None:
    """Judge what was learnt: student, base and teacher on the same luck.

    Splits are what was trained for (in distribution), new labels, a new scenario, more arms, a smaller gap, and three
    times the horizon. Normalised regret is 0 for the teacher's and 1 for that of uniform play. For the plan's own
    adapter and all splits DIR/evaluation.json is written, split by split: splits that are there are not played again.
    """
    from icrl.experiments.distill_eval import evaluate, students
    from icrl.experiments.distill_found import card, table, verdict
    from icrl.experiments.distill_home import trained_in
    from icrl.experiments.distill_plan import DistillPlan
    from icrl.experiments.planned import keep
    from icrl.models.perplexity import perplexity

    given, out = DistillPlan.load(plan), out.expanduser()
    read = None if text is None else _read(text)
    own = adapter is None and not split
    with bars(STOPPED) as begin:
        models = students(given, out, adapter)
        found = evaluate(given, models, begin, tuple(split or ()), out if own else None)
    if own:
        card(given, found, out, trained_in(given, out, given.rounds.count))
    _told(table(found), verdict(found), out if own else None)
    if read is not None:
        forgot = {name: perplexity(model, read) for name, model in models.items()}
        if adapter is None:
            keep(out / "perplexity.json", {"text": str(text), "perplexity": forgot})
        for name, value in forgot.items():
            console.print(f"Perplexity of {escape(str(text))}: {name} {value:.4g}", soft_wrap=True)


def _read(text: Path) -> str:
    """Raises ValueError for a file that is no text, or too short."""
    try:
        found = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"text: {text} cannot be read: {error}") from error
    if len(found.split()) < 2:
        raise ValueError(f"text: {text} must have two words at least, got {found!r}")
    return found


def judge(done: Distilled, models: dict[str, TransformersModel], home: Path) -> None:
    """Sets what came of a plan beside its teacher and others; what is found goes to `home` and onto the card."""
    from icrl.experiments.distill_eval import evaluate
    from icrl.experiments.distill_found import card, table, verdict

    if done.plan.teacher is None:
        where = escape(str(done.trained.folder))
        console.print(f"What was trained is in {where}; without a teacher nothing is judged.", soft_wrap=True)
        return
    with bars(STOPPED) as begin:
        found = evaluate(done.plan, models, begin, out=home)
    card(done.plan, found, done.folder, done.trained.folder)
    _told(table(found), verdict(found), home)


def _told(rows: pd.DataFrame, worse: list[str], out: Path | None) -> None:
    console.print(tables.evaluation(rows))
    for sentence in worse:
        console.print(f"[yellow]differs:[/] {escape(sentence)}", soft_wrap=True)
    if not worse:
        console.print("Nowhere do regret and exploration differ from the teacher's, as far as these episodes tell.")
    if out is not None:
        console.print(f"The table is {escape(str(out / 'evaluation.csv'))}.", soft_wrap=True)
