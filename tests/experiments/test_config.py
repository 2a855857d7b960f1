from pathlib import Path

import pytest

from icrl.agents import UCB
from icrl.envs import Bandit
from icrl.experiments import Experiment


def written(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


def test_objects_from_names(tmp_path):
    plan = Experiment.load(
        written(
            tmp_path,
            "task: {preset: bernoulli-easy, horizon: 7}\n"
            "agents:\n  a: {type: UCB, c: 2.0}\n  b: Uniform\n  c: {type: 'icrl.agents:EpsilonGreedy', epsilon: 0.5}\n",
        )
    )
    assert plan.build_task().public.horizon == 7
    assert plan.build_agent("a") == UCB(c=2.0)
    assert plan.build_agent("c").epsilon == 0.5


def test_a_task_by_its_fields(tmp_path):
    fields = "{n_arms: 2, horizon: 3, means: {kind: fixed, values: [0.1, 0.9]}, noise: {kind: gaussian, sd: 2.0}}"
    task = Experiment.load(written(tmp_path, f"task: {fields}\nagents: {{a: Uniform}}")).build_task()
    assert isinstance(task, Bandit)
    assert task.public.noise_sd == 2.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("task: bernoulli-hard\nagent: {a: UCB}", "did you mean 'agents'"),
        ("task: bernoulli-hard\nagents: {a: UBC}", "did you mean 'UCB'"),
        ("task: bernoulli-hard\nagents: {a: {type: UCB, alhpa: 1}}", "did you mean 'alpha'"),
        ("task: bernoulli-hard\nagents: {a: {model: pocket, promt: {}}}", "did you mean 'prompt'"),
        ("task: bernoulli-hard\nagents: {a: {model: pocket, prompt: {hystory: raw}}}", "did you mean 'history'"),
        ("task: bernoulli-hard\nagents: {a: {c: 1.0}}", "give a model .* or an algorithm"),
        ("task: bernoulli-hard\nagents: {}", "agents"),
        ("task: bernoulli-hard\nagents: {a: UCB}\nepisodes: 0", "episodes: .*greater than or equal to 1, got 0"),
        ("task: bernoulli-hard\nagents: {a: UCB}\nseed: -1", "seed: .*greater than or equal to 0, got -1"),
        ("task: bernoulli-hard\nagents: {a: UCB}\nmin_mass: 1.5", "min_mass: .*less than or equal to 1, got 1.5"),
        ("task: bernoulli-hard\nagents: {a: UCB}\nmin_mass: .nan", "min_mass: .*got nan"),
        ("task: bernoulli-hard\nagents: {a: UCB}\ntokens: 0", "tokens: .*greater than or equal to 1, got 0"),
        ("- 1", "must hold keys"),
        ("task: [", "is not YAML"),
    ],
)
def test_bad_files_are_refused_with_a_sentence(tmp_path, text, says):
    with pytest.raises(ValueError, match=says):
        Experiment.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("bernouli-hard", "did you mean 'bernoulli-hard'"),
        ("{preset: bernoulli-hard, horizont: 3}", "did you mean 'horizon'"),
        ("{preset: bernoulli-hard, horizon: 0}", "^bernoulli-hard.horizon: [^\\n]* greater than or equal to 1, got 0$"),
        ("'nowhere.at.all:Task'", "cannot import"),
        ("{preset: bernoulli-hard, name: bernoulli-easy}", "unknown key 'name'"),
        ("{preset: null}", "unknown preset None"),
        ("{preset: [1]}", "unknown preset"),
        ("'os:path'", "task: os:path gives module"),
        ("'builtins:open'", "task: builtins:open cannot be called"),
        ("{n_arms: 2, horizon: 3, means: {kind: gap, best: 1.5, gap: 0.2}}", r"\[0, 1\] for Bernoulli"),
    ],
)
def test_bad_tasks_are_refused_with_a_sentence(tmp_path, task, says):
    plan = Experiment.load(written(tmp_path, f"task: {task}\nagents: {{a: UCB}}"))
    with pytest.raises(ValueError, match=says):
        plan.build_task()


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("{model: pocket, prompt: null}", "agents.a.prompt"),
        ("{model: pocket, prompt: raw}", "agents.a.prompt"),
        (
            "{model: pocket, prompt: {history: rew}}",
            "agents.a.prompt.history: .*'rew', did you mean 'raw'",
        ),
        ("{model: pocket, temperature: hot}", "agents.a.temperature: .*'hot'"),
        ("{model: pocket, temperature: -1}", "agents.a.temperature: .*-1"),
        ("{type: UCB, c: -1}", "agents.a.c: .*-1"),
    ],
)
def test_bad_agents_are_refused_when_the_file_is_read(tmp_path, agent, says):
    with pytest.raises(ValueError, match=says):
        Experiment.load(written(tmp_path, f"task: bernoulli-hard\nagents: {{a: {agent}}}"))


def test_wrong_arguments_for_a_class_of_the_users(tmp_path):
    plan = Experiment.load(
        written(tmp_path, "task: bernoulli-hard\nagents: {a: {type: 'fractions:Fraction', wrong: 1}}")
    )
    with pytest.raises(ValueError, match="agents.a: fractions:Fraction cannot be built from"):
        plan.build_agent("a")


def test_no_key_comes_twice(tmp_path):
    with pytest.raises(ValueError, match="not YAML: the key 'a' comes twice"):
        Experiment.load(written(tmp_path, "task: bernoulli-hard\nagents:\n  a: UCB\n  a: Greedy"))


@pytest.mark.parametrize("agent", ["'builtins:dict'", "'.x:y'", "':'"])
def test_what_is_no_agent(tmp_path, agent):
    plan = Experiment.load(written(tmp_path, f"task: bernoulli-hard\nagents: {{a: {agent}}}"))
    with pytest.raises(ValueError, match="agents.a: "):
        plan.build_agent("a")


def test_a_file_in_another_encoding(tmp_path):
    (tmp_path / "plan.yaml").write_bytes(b"task: \xff")
    with pytest.raises(ValueError, match="experiment: cannot read .*plan.yaml"):
        Experiment.load(tmp_path / "plan.yaml")


def test_a_task_by_import_path_may_be_a_value(tmp_path, monkeypatch):
    (tmp_path / "mytasks.py").write_text("import icrl\nTASK = icrl.make('bernoulli-hard', horizon=7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = Experiment.load(written(tmp_path, "task: 'mytasks:TASK'\nagents: {a: UCB}"))
    assert plan.build_task().public.horizon == 7


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot read"):
        Experiment.load(tmp_path / "none.yaml")
