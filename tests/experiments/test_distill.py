"""From a plan to an adapter, on pocket."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from icrl import load_model
from icrl.agents import LLMAgent
from icrl.cli import app
from icrl.envs import make
from icrl.experiments import distill_eval, distilling
from icrl.experiments.distill_eval import evaluate, students
from icrl.experiments.distill_found import table, verdict
from icrl.experiments.distill_home import alone
from icrl.experiments.distill_measures import compared
from icrl.experiments.distill_parts import judged, told
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_splits import splits
from icrl.finetune import data as store
from icrl.finetune.heldout import EVALUATION_SEEDS, STORIES, held_out, trained
from icrl.models.perplexity import perplexity
from icrl.prompts import scenarios

PLAN = """
model: pocket
teacher: {type: UCB, alpha: 0.5}
label: policy
data:
  tasks:
    - {n_arms: {choice: [2, 3]}, horizon: {log: [4, 8]}, means: {kind: uniform}}
    - {weight: 0.5, task: {n_arms: 2, horizon: 5, means: {kind: gap, best: {uniform: [0.5, 1.0]}, gap: 0.4}}}
  context:
    - {agent: teacher, weight: 0.7}
    - {agent: student, weight: 0.1}
    - {agent: {type: NoiseCurriculum, agent: UCB}, weight: 0.1}
    - {agent: {type: "icrl.finetune.rollin:RollIn"}, weight: 0.1}
  prompt: {scenario: {choice: [buttons, slots]}}
  decisions: 200
  validation: 40
train:
  sft: {learning_rate: 1.0e-3, logging_steps: 1}
  looks: 2
evaluate: {task: {preset: bernoulli-hard, horizon: 6}, episodes: 8, looks: 4}
"""
TRIALS = {
    "kind": "trials",
    "games": 2,
    "task": {"kind": "bandit", "n_arms": 2, "horizon": 5, "means": {"kind": "uniform"}},
}


def plan(**changes):
    fields = yaml.safe_load(PLAN)
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner = fields
        for key in outer:
            inner = inner[key]
        inner[last] = value
    return DistillPlan.model_validate(fields)


def begin(title, steps):
    return lambda name, done, tokens: None


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder in which the plan is done."""
    folder = tmp_path_factory.mktemp("distilled")
    (folder / "plan.yaml").write_text(PLAN)
    found = CliRunner().invoke(app, ["distill", str(folder / "plan.yaml"), "--out", str(folder / "run")])
    assert found.exit_code == 0, found.output
    return folder


def test_an_adapter_comes_out(out):
    run = out / "run"
    served = load_model("pocket", adapter=str(run / "training" / "adapter"))
    assert served.facts["revision"] != load_model("pocket").facts["revision"]
    found = json.loads((run / "evaluation.json").read_text())
    names = ["in distribution", "new labels", "new scenario", "larger K", "smaller gap", "horizon x3"]
    assert list(found["splits"]) == names and (run / "evaluation.csv").read_text().count("\n") == 1 + 2 * len(names)


def test_the_manifest_tells_where_rows_come_from(out):
    train, validation, manifest = store.read(out / "run" / "data")
    assert (
        manifest["written"]["train"]["rows"] == len(train)
        and len(validation) == manifest["written"]["validation"]["rows"]
    )
    assert manifest["written"]["train"]["decisions"] == sum(map(len, train["at"])) >= 200
    assert manifest["teacher"] == {"type": "UCB", "alpha": 0.5} and manifest["data"]["seed"] == 0
    assert manifest["audit"]["answers that are no label"] == [] and manifest["audit"]["passed"]
    assert manifest["held out"]["seeds"] == [0, len(EVALUATION_SEEDS)] and "trl" in manifest["versions"]
    assert manifest["held out"]["labels"]["buttons"] == list(held_out("buttons"))
    assert manifest["prompts"]["number"] == 2 and len(manifest["prompts"]["hash"]) == 16
    seen = {token for row in train["input_ids"] for token in row}
    words = {load_model("pocket").tokenizer.convert_tokens_to_ids(word) for word in held_out("buttons")}
    assert not seen & words, "held-out labels are never shown"
    assert manifest["validation rows that training has too"] == 0 and manifest["audit"]["as the chat template marks"]
    both = {tuple(ids) for part in (train, validation) for ids in part["input_ids"]}
    assert len(both) == len(train) + len(validation)


def test_the_same_command_does_nothing_twice(out, monkeypatch):
    monkeypatch.setattr(distilling.store, "write", None)
    before = {path: path.stat().st_mtime for path in (out / "run" / "data").rglob("*")}
    found = CliRunner().invoke(app, ["distill-data", str(out / "plan.yaml"), "--out", str(out / "run")])
    assert found.exit_code == 0 and "audit passed" in found.output
    assert before == {path: path.stat().st_mtime for path in (out / "run" / "data").rglob("*")}


def test_a_folder_of_another_plan_is_left_alone(out):
    with pytest.raises(ValueError, match="is of another plan: its data is .*; give another folder"):
        distilling.write(plan(data__decisions=300), out / "run", begin)
    with pytest.raises(ValueError, match="is of another plan: its train is"):
        distilling.distill(plan(train__looks=3), out / "run", begin)


@pytest.mark.filterwarnings("ignore:train. no state kept")  # after so few steps
@pytest.mark.parametrize("kind", ["dagger", "best"])
def test_rounds_on_the_models_own_histories(tmp_path, kind, monkeypatch):
    asked, write_rows = [], distilling.write_rows

    def watched(given, rows, folder, begin):
        asked.append(rows.once)
        return write_rows(given, rows, folder, begin)

    monkeypatch.setattr(distilling, "write_rows", watched)
    fields = {"rounds": {"count": 1, "kind": kind, "decisions": 60, "keep": 0.5}, "data__decisions": 60}
    given = plan(**fields, data__validation=20, data__context=[{"agent": "teacher"}], train__looks=1)
    done = distilling.distill(given, tmp_path, begin)
    assert done.trained.folder == tmp_path / "round-1" / "training" / "adapter"
    assert asked == [True, kind == "dagger"], "of what was taken, how often it was is learnt"
    first, second = (store.read(tmp_path / part / "data") for part in (".", "round-1"))
    assert second[2]["round"] == 1 and "round" not in first[2]
    gathered = distilling._gathered(tmp_path, 1)
    assert len(gathered[0]) == len(first[0]) + len(second[0])
    apart = second[2]["audit"]["divergence of context and teacher"]
    assert apart == 0 if kind == "best" else apart > 0.1, "the model is no UCB yet; its own choices are its own"
    weights = [
        (tmp_path / part / "training" / "adapter" / "adapter_model.safetensors").read_bytes()
        for part in (".", "round-1")
    ]
    assert weights[0] != weights[1]
    assert students(given, tmp_path)["student"].facts != students(given, tmp_path)["base"].facts


def test_a_model_alone_keeps_its_best_from_the_first_training_on():
    rounds, alone = {"count": 1, "kind": "best", "keep": 0.5}, [{"agent": "student"}]
    own = plan(rounds=rounds, data__context=alone, label="taken")
    pocket = load_model("pocket")
    assert own.syllabus(pocket.tokenizer, pocket).keep == own.about_data["keep"] == 0.5
    for other in (plan(rounds=rounds), plan(data__context=alone)):
        assert other.syllabus(pocket.tokenizer, pocket).keep == other.about_data["keep"] == 1


def test_some_splits_another_adapter_and_what_was_forgotten(out):
    text = out / "text.txt"
    text.write_text("Which button do you press? Reward 1. " * 20)
    command = ["distill-eval", str(out / "plan.yaml"), "--out", str(out / "run"), "--split", "new labels"]
    command += ["--adapter", str(out / "run" / "training" / "adapter"), "--text", str(text)]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    assert "new labels" in found.output and "in distribution" not in found.output
    assert len(re.findall(r"txt: (?:base|student) \d+\.", found.output)) == 2 and "The table is" not in found.output
    assert len(json.loads((out / "run" / "evaluation.json").read_text())["splits"]) == 6, "what was found of all stays"


def test_an_evaluation_goes_on_where_it_stopped(tmp_path, monkeypatch):
    both, judged, compared = {"student": load_model("pocket")}, [], distill_eval.compared

    def watched(split, *given):
        judged.append(split.name)
        if len(judged) == 3:
            raise KeyboardInterrupt
        return compared(split, *given)

    monkeypatch.setattr(distill_eval, "compared", watched)
    only = ("in distribution", "new labels", "larger K")
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan(evaluate__episodes=2), both, begin, only, tmp_path)
    found = evaluate(plan(evaluate__episodes=2), both, begin, only, tmp_path)
    assert judged == [*only, "larger K"] and tuple(found) == only
    assert tuple(json.loads((tmp_path / "evaluation.json").read_text())["splits"]) == only
    assert found == evaluate(plan(evaluate__episodes=2), both, begin, only, tmp_path) and len(judged) == 4
    evaluate(plan(evaluate__episodes=3), both, begin, only[:1], tmp_path)
    assert len(judged) == 5, "other episodes are another evaluation"


def test_splits_that_do_not_fit_into_the_window(monkeypatch):
    model = load_model("pocket")
    monkeypatch.setattr(type(model), "window", 400)
    given, both = plan(evaluate__task={"preset": "bernoulli-hard", "horizon": 20}), {"student": model}
    with pytest.warns(UserWarning, match="evaluate: left out horizon x3: prompt: at t=60 it may be"):
        assert list(evaluate(given, both, begin, ("new labels", "horizon x3"))) == ["new labels"]
    with pytest.raises(ValueError, match="prompt: at t=60 it may be .* tokens long"):
        evaluate(given, both, begin, ("horizon x3",))


def test_nobody_forgets_alone(out):
    models = students(plan(), out / "run")
    text = "Reward 1 and Reward 0, " * 30
    plain = load_model("pocket")
    assert perplexity(models["base"], text) == pytest.approx(perplexity(plain, text))
    assert perplexity(models["student"], text) != pytest.approx(perplexity(plain, text))
    with pytest.raises(ValueError, match="text: it must have two tokens at least"):
        perplexity(plain, "")


def test_a_teacher_is_as_good_as_itself():
    """A model in the teacher's place: nothing of it is apart from itself."""
    pocket, split = load_model("pocket"), splits(plan())[0]
    found = {split.name: compared(split, {"student": pocket}, LLMAgent(pocket, split.prompt), 8, 0)}
    side = found[split.name]["student"]
    assert set(side.beside.values()) == {(0.0, 0.0, 0.0)} and side.normalised[0] == 0
    assert side.agreement["agreement on its own histories"] == 1 and verdict(found) == []
    assert side.agreement["total variation on the teacher's histories"] < 1e-5
    assert list(table(found)["player"]) == ["student"]


def test_splits_are_what_they_are_called():
    by = {split.name: split for split in splits(plan())}
    assert set(by["in distribution"].prompt.words) == set(trained()) and not set(by["new labels"].prompt.words) & set(
        trained()
    )
    assert by["new scenario"].prompt.story != by["new labels"].prompt.story
    assert by["larger K"].task.n_arms == 5 and by["horizon x3"].task.horizon == 18
    assert by["smaller gap"].task.means.gap == pytest.approx(0.1)
    shown = plan(data__prompt={"labels": [*trained(), *held_out("buttons")[:9]]})
    assert set(splits(shown)[1].prompt.words) == set(held_out("buttons")[9:])
    drawn = plan(
        data__prompt={"labels": {"choice": [list("abcdefg"), list("hijklmn")]}, "history": {"choice": ["summary"]}}
    )
    assert splits(drawn)[0].prompt.words == tuple("abcdefg") and splits(drawn)[0].prompt.past.kind == "summary"
    assert [split.name for split in splits(plan(evaluate__task="switching"))] == [
        *("in distribution", "new labels", "new scenario", "horizon x3"),
    ]


def test_labels_that_rows_show_are_never_new():
    """Neither a story's own, nor those that no plan names; and stories may be drawn at any depth."""
    story = scenarios()["buttons"].model_dump() | {"labels": [*trained()[:5], *held_out("ads")[:5]]}
    assert splits(plan(data__prompt={"scenario": story}))[1].prompt.words == held_out("ads")[:5]
    all_shown = splits(plan(data__prompt={"scenario": story | {"labels": list(trained()[:6])}}))[1].prompt
    assert not set(all_shown.words) & set(trained())
    others = [name for name in scenarios() if name not in STORIES]
    deep = plan(data__prompt={"scenario": {"choice": ["buttons", {"choice": others}]}})
    assert "new scenario" not in [split.name for split in splits(deep)]


def test_games_that_rows_show_are_nobodys_evaluation():
    fields = {"demonstrations": {"teacher": "UCB"}, "labels": list("abcdefg")}
    first, second = (told(fields, np.random.default_rng(seed), make("bernoulli-hard")) for seed in (0, 1))
    assert first.games.episodes[0].seed != second.games.episodes[0].seed
    assert first.games.episodes[0].seed not in EVALUATION_SEEDS


def test_a_model_is_judged_as_it_was_trained():
    words = ["a", "b", "c", "d", "e", "f", "g"]
    given = plan(data__prompt={"history": "summary", "scenario": {"choice": ["buttons", "ads"]}, "labels": words})
    by = {split.name: split for split in splits(given)}
    assert by["in distribution"].prompt.words == tuple(words) and "new scenario" not in by
    assert by["new labels"].prompt.past.kind == "summary" and by["new labels"].prompt.words == held_out("buttons")
    own = plan(data__prompt={"history": "summary"}, evaluate__prompt={"layout": "log"})
    assert {split.prompt.past.kind for split in splits(own)} == {"raw"}


def test_labels_of_a_prompt_that_names_some_are_those():
    task = make("bernoulli-hard")
    assert judged({"labels": ["a", "b", "c", "d", "e"]}, task).words == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher": None}, "teacher: label 'policy' or the context needs one"),
        ({"teacher": "UCBB"}, "teacher: unknown algorithm 'UCBB', did you mean 'UCB'"),
        ({"label": "best"}, "Input should be 'taken'"),
        ({"data__tasks": []}, "at least 1 item"),
        ({"data__tasks": [{"n_arms": {"choice": []}}]}, "task.n_arms.choice: give a list"),
        ({"data__context": [{"agent": "UCBB"}]}, "data.context.0.agent: unknown algorithm"),
        ({"model": {"model": "pocket", "prompt": {}}}, "model.prompt: it has no place here"),
        (
            {"model": "http://127.0.0.1:9/v1"},
            "model: 'http://127.0.0.1:9/v1' is served, and only what transformers loads",
        ),
        ({"train__sft": {"max_length": 3}}, "sft.max_length: it cannot be given here"),
        ({"evaluate__seed": 10**6}, "less than 999999"),
        ({"label": "taken", "rounds": {"count": 1}}, "rounds.kind: in dagger a teacher labels"),
        ({"data__tasks": [{"task": "bernoulli-hard", "wieght": 2}]}, "unknown key 'wieght', did you mean 'weight'"),
        ({"train__sft": {"packing": True}}, "train.sft.packing: whole policies cannot be packed"),
    ],
)
def test_bad_plans(changes, sentence):
    with pytest.raises(ValueError, match=sentence.replace(".", r"\.").replace("(", r"\(")):
        plan(**changes)


def test_a_teacher_that_cannot_play_the_task(tmp_path):
    pairs = plan(data__tasks=["dueling"], data__context=[{"agent": "teacher"}], label="taken")
    with pytest.raises(ValueError, match="UCB cannot play this task"):
        distilling.write(pairs, tmp_path, begin)
    assert not Path(tmp_path / "data" / "train").exists()


@pytest.mark.parametrize("task", [TRIALS, "dueling"], ids=["games", "pairs"])
def test_what_cannot_be_judged_is_said_before_rows_are_written(tmp_path, task):
    with pytest.raises(ValueError, match="evaluate.task: students are judged in episodes of one game with one arm per"):
        distilling.distill(plan(evaluate__task=task), tmp_path, begin)
    assert not (tmp_path / "data").exists()


def test_what_could_not_be_read_is_said_before_rows_are_written(tmp_path):
    with pytest.raises(
        ValueError, match="evaluate.task: prompt: at t=3000 it may be .* but the window of pocket is 163"
    ):
        distilling.distill(plan(evaluate__task={"preset": "bernoulli-hard", "horizon": 3000}), tmp_path, begin)
    assert not (tmp_path / "data").exists()


def test_one_command_at_a_time(tmp_path):
    with alone(tmp_path), pytest.raises(ValueError, match="out: another command is at work in"):
        distilling.distill(plan(), tmp_path, begin)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="out: .*file cannot be a folder to write to"), alone(tmp_path / "file"):
        pass


def test_what_a_killed_command_has_left_is_cleared_away(tmp_path):
    (tmp_path / "data" / "scratch-1").mkdir(parents=True)
    distilling.write(plan(data__context=[{"agent": "teacher"}], data__decisions=20), tmp_path, begin)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        "manifest.json",
        "plan.json",
        "train",
        "validation",
    }


def test_another_models_histories_are_told_with_these_labels(tmp_path):
    """What it said was of its own prompt's labels."""
    words = ["red", "blue", "green", "pink"]
    given = {"data__prompt": {"labels": words}, "data__context": [{"agent": {"model": "pocket"}}]}
    distilling.write(plan(**given, data__decisions=40, data__validation=10), tmp_path, begin)
    pocket = load_model("pocket")
    for ids in store.read(tmp_path / "data")[0]["input_ids"]:
        said = re.findall(r"<\|assistant\|>(.*?)<\|end\|>", pocket.tokenizer.decode(ids))
        assert said and set(said) <= set(words)


def test_rows_do_not_depend_on_how_weights_are_stored():
    coarse, fine = (plan(model={"model": "pocket", "dtype": dtype}) for dtype in ("bfloat16", "float32"))
    assert coarse.about_data != fine.about_data, "the model plays, too"
    for context in ([{"agent": "teacher"}], [{"agent": {"type": "EpsilonMix", "agent": {"model": "pocket"}}}]):
        one, other = (given.model_copy(update={"data": plan(data__context=context).data}) for given in (coarse, fine))
        assert (one.about_data == other.about_data) == (context[0]["agent"] == "teacher")


def test_rows_of_duels(tmp_path):
    given = {
        "data__tasks": [{"preset": "dueling", "horizon": 20}],
        "data__context": [{"agent": "RUCB"}],
        "label": "taken",
    }
    found = distilling.write(plan(**given, data__decisions=60, data__validation=20), tmp_path, begin)
    assert found["written"]["train"]["decisions"] >= 60


def test_a_task_with_a_task_in_it_is_a_task():
    first, second = plan(data__tasks=[TRIALS, {"task": TRIALS, "weight": 2}]).data.tasks
    assert first.task == second.task == TRIALS and second.weight == 2


def test_rows_that_were_begun_for_another_plan(tmp_path):
    """Interrupted after the rows to train on, and gone on with by another plan."""

    def stop(title, steps):
        if title == "rows: validation":
            raise KeyboardInterrupt
        return begin(title, steps)

    with pytest.raises(KeyboardInterrupt):
        distilling.write(plan(), tmp_path, stop)
    with pytest.raises(ValueError, match="is of another plan: its teacher is"):
        distilling.write(plan(teacher="Greedy"), tmp_path, begin)
    train = store.read_rows(tmp_path / "data" / "train")
    assert distilling.write(plan(), tmp_path, begin)["written"]["train"]["rows"] == len(train)


def test_errors_of_rows_are_sentences(tmp_path, monkeypatch):
    teacher = [{"agent": "teacher"}]
    with monkeypatch.context() as narrow:
        narrow.setattr(distilling, "load_window", lambda *args: 100)
        with pytest.raises(ValueError, match=r"data: a row of \d+ tokens is longer than the model's window of 100"):
            distilling.write(plan(data__context=teacher), tmp_path / "long", begin)
    again = distilling.write(plan(data__context=teacher, data__validation=30), tmp_path / "long", begin)
    assert again["data"]["validation"] == 30, "where nothing came of a plan, another may begin"
    few = plan(
        data__tasks=[{"n_arms": 2, "horizon": 1, "means": {"kind": "uniform"}}],
        data__prompt={"labels": ["red", "blue"], "history": "summary"},
        data__context=[{"agent": "teacher"}],
    )
    with pytest.raises(ValueError, match="data.decisions: after .* only rows come that were there before"):
        distilling.write(few, tmp_path / "few", begin)


def test_of_thoughts_only_what_was_said_can_be_learnt(tmp_path):
    told = {"data__prompt": {"answer": "thought"}, "data__context": [{"agent": "teacher"}]}
    with pytest.raises(ValueError, match="label: with answer='thought' only what was taken can be learnt"):
        distilling.write(plan(**told), tmp_path / "policy", begin)
    distilling.write(plan(label="taken", **told), tmp_path / "taken", begin)
    row = store.read(tmp_path / "taken" / "data")[0][0]
    learnt = load_model("pocket").tokenizer.decode([token for token in row["labels"] if token != -100])
    assert "known yet" in learnt or "Best so far" in learnt


def test_a_model_that_was_not_made_for_chats(tmp_path):
    """It learns from a history that is no chat; of one in turns a sentence says what is missing."""
    pocket = load_model("pocket")
    pocket.model.save_pretrained(tmp_path / "plain")
    pocket.tokenizer.chat_template = None
    pocket.tokenizer.save_pretrained(tmp_path / "plain")
    given = {"model": str(tmp_path / "plain"), "data__context": [{"agent": "teacher"}]}
    with pytest.raises(ValueError, match="layout: 'turns' needs a model with a chat template; use layout='log'"):
        distilling.write(plan(**given), tmp_path / "turns", begin)
    found = distilling.write(plan(**given, data__prompt={"layout": "log"}), tmp_path / "log", begin)
    assert found["written"]["train"]["decisions"] >= 200 and found["audit"]["as the chat template marks"] is None


def test_there_is_no_such_split():
    with pytest.raises(ValueError, match="split: there is no 'newlabels' of this plan; there are in distribution, new"):
        evaluate(plan(), {"student": load_model("pocket")}, begin, ["newlabels"])


def test_there_is_nothing_to_judge_yet(tmp_path):
    with pytest.raises(ValueError, match="is not there yet; icrl distill makes it"):
        students(plan(), tmp_path)


def test_several_processes_train_as_one(tmp_path, two_processes):
    """Two of them on the CPU: rows are written once, each sees its half, and one adapter comes out."""
    (tmp_path / "plan.yaml").write_text(PLAN.replace("validation: 40", "validation: 20"))
    printed = two_processes("distill", "plan.yaml", "--out", "run", cwd=tmp_path)
    rows = store.read(tmp_path / "run" / "data")[0]
    told = json.loads((tmp_path / "run" / "training" / "training.json").read_text())
    assert told["looks"][-1]["step"] == math.ceil(len(rows) / (2 * 4 * 2)), "rows, by processes, batch and accumulation"
    assert (tmp_path / "run" / "evaluation.json").is_file()
    assert printed.count("student, base and teacher on the same luck") == 1
