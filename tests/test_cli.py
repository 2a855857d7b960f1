"""The command line, as a user meets it: real processes, real files."""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icrl.cli import app

PLAN = """
task: {preset: bernoulli-easy, horizon: 8}
episodes: 6
agents: {'any [/b]': Uniform, pocket: {model: pocket}}
"""


def icrl(*arguments, cwd):
    command = [sys.executable, "-m", "icrl", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_run_and_report(tmp_path, plan):
    done = icrl("run", plan, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pocket" in done.stdout and "any [/b]" in done.stdout
    assert "regret" in done.stdout
    assert re.match(r"pocket: label mass (0\.9|1\.0)", done.stdout)
    again = icrl("run", plan, "--out", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    shown = icrl("report", "run", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    html = (tmp_path / "run" / "report.html").read_text()
    assert "<svg" in html
    assert "pocket" in html


def test_columns_that_say_nothing_are_left_out(tmp_path, plan):
    def columns(agents):
        plan.write_text(PLAN.replace("agents", "min_mass: 0\nagents").partition("agents")[0] + f"agents: {agents}")
        done = CliRunner().invoke(app, ["run", str(plan), "--out", str(tmp_path / str(len(agents)))])
        assert done.exit_code == 0, done.output
        return next(line.split() for line in done.output.splitlines() if line.strip().startswith("agent "))

    rest = ["agent", "regret", "[95%]", "differs", "p", "failure", "arm"]
    assert columns("{a: Uniform}") == rest
    assert columns("{a: {model: pocket}}") == [*rest, "mass"]
    assert columns("{a: {model: pocket, prompt: {answer: distribution}}}") == [*rest, "unread"]


def test_a_spent_budget(tmp_path, plan):
    plan.write_text(PLAN + "tokens: 500\n")
    spent = icrl("run", plan, "--out", "run", cwd=tmp_path)
    assert spent.returncode == 3 and "Traceback" not in spent.stderr
    assert " of 500 are spent; pocket has played " in spent.stderr
    shown = icrl("report", "run", cwd=tmp_path)
    assert shown.returncode == 0 and "no pocket" in shown.stdout
    plan.write_text(PLAN)
    assert icrl("run", plan, "--out", "run", cwd=tmp_path).returncode == 0


def test_too_little_label_mass(tmp_path, plan):
    words = "aardvark, bumblebee, cormorant, dromedary, earwig"  # that it never read
    plan.write_text(PLAN.replace("{model: pocket}", f"{{model: pocket, prompt: {{labels: [{words}]}}}}"))
    refused = icrl("run", plan, "--out", "run", cwd=tmp_path)
    assert refused.returncode == 2 and "agents.pocket: the labels hold 0." in refused.stderr
    assert not (tmp_path / "run").exists()


def test_classes_of_modules_that_stand_here(tmp_path):
    """By the installed command, which does not look here by itself."""
    (tmp_path / "mine.py").write_text("import icrl\n\nclass Mine(icrl.Greedy):\n    pass\n")
    (tmp_path / "plan.yaml").write_text("task: bernoulli-easy\nagents: {m: 'mine:Mine'}")
    command = [Path(sys.executable).with_name("icrl"), "run", "plan.yaml", "--out", "out [/b]"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "out [/b]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "none.yaml", "--out", "x"), "cannot read none.yaml"),
        (("report", "nowhere"), "there is no run in nowhere"),
    ],
)
def test_errors_are_one_sentence(tmp_path, arguments, says):
    failed = icrl(*arguments, cwd=tmp_path)
    assert failed.returncode == 2
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_model_that_is_not_there(tmp_path):
    (tmp_path / "plan.yaml").write_text("task: bernoulli-easy\nagents: {m: {model: ./nowhere}}")
    failed = icrl("run", "plan.yaml", "--out", "x", cwd=tmp_path)
    assert failed.returncode == 2
    assert "no model at" in failed.stderr


def test_interruption_keeps_what_is_finished(tmp_path):
    (tmp_path / "plan.yaml").write_text("task: bernoulli-hard\nepisodes: 64\nagents: {pocket: {model: pocket}}")
    command = [sys.executable, "-m", "icrl", "run", "plan.yaml", "--out", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heeding
    )
    while not steps(tmp_path / "run" / "run.sqlite"):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "What is finished is kept" in said
    assert steps(tmp_path / "run" / "run.sqlite") % 64 == 0  # whole lockstep steps


def test_a_server_that_is_lost(tmp_path, servers):
    """One sentence; and the same command continues when it is back."""
    with servers.VLLMServer() as server:
        model = f"{{model: '{server.url}', server: {{patience: 0.5, deadline: 2}}}}"
        (tmp_path / "plan.yaml").write_text(f"task: bernoulli-hard\nmin_mass: 0\nagents: {{llm: {model}}}")
        command = [sys.executable, "-m", "icrl", "run", "plan.yaml", "--out", "run"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not steps(tmp_path / "run" / "run.sqlite"):
            assert process.poll() is None
            time.sleep(0.02)
        server.stop()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 3 and "Traceback" not in said
        assert re.match(r"server: no answer in \d+ tries within 0.5 s; the last: http", said)
        assert said.rstrip().endswith("What is finished is kept; the same command continues when it is back.")
        kept = steps(tmp_path / "run" / "run.sqlite")
        assert kept % 64 == 0 and 0 < kept < 6400
        server.start()
        done = icrl("run", "plan.yaml", "--out", "run", cwd=tmp_path)
        assert done.returncode == 0 and "measured" in done.stdout, done.stderr
    assert steps(tmp_path / "run" / "run.sqlite") == 6400


def test_what_a_server_cannot_count_beforehand(tmp_path, servers):
    with servers.VLLMServer(kind="hosted") as server:
        plan = f"task: {{preset: bernoulli-hard, horizon: 5}}\nepisodes: 4\nagents: {{m: {{model: '{server.url}'}}}}"
        (tmp_path / "plan.yaml").write_text(plan)
        refused = icrl("run", "plan.yaml", "--dry-run", cwd=tmp_path)
        assert refused.returncode == 2 and "only a pilot can tell its tokens (--pilot 1)" in refused.stderr
        told = icrl("run", "plan.yaml", "--dry-run", "--pilot", "2", cwd=tmp_path)
        assert told.returncode == 0 and "estimated" in told.stdout, told.stderr
        assert not (tmp_path / "run").exists()
        played = icrl("run", "plan.yaml", "--out", "run", cwd=tmp_path)
        assert played.returncode == 0 and "measured" in played.stdout and "estimated" not in played.stdout


def heeding():
    """Under nohup, and behind a shell's &, a process is born deaf to interruptions."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def steps(file):
    if not file.exists():
        return 0
    db = sqlite3.connect(file, timeout=30)
    try:
        return db.execute("SELECT count(*) FROM steps").fetchone()[0]
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0
    finally:
        db.close()


def test_envs_and_help(tmp_path):
    listed = icrl("envs", cwd=tmp_path)
    assert "bernoulli-hard" in listed.stdout
    assert "evolve-gaussian-k20-hard" in listed.stdout
    assert "run" in icrl("--help", cwd=tmp_path).stdout
    told = icrl("run", "--help", cwd=tmp_path).stdout
    assert all(word in told for word in ("same luck", "min_mass", "tokens", "exit code 3"))


def test_doctor_says_what_works(tmp_path):
    looked = icrl("doctor", cwd=tmp_path)
    assert looked.returncode == 0, looked.stderr
    assert "played a game" in looked.stdout


def test_a_prompt_is_shown_without_its_model(tmp_path):
    agents = "{raw: {model: pocket}, sum: {model: pocket, prompt: {history: summary}}, ucb: UCB}"
    (tmp_path / "plan.yaml").write_text(f"task: bernoulli-hard\nagents: {agents}")
    raw = icrl("prompt", "plan.yaml", "--step", "7", cwd=tmp_path)
    assert raw.returncode == 0 and raw.stdout.count("Reward ") == 7 and "raw, step 7" in raw.stdout
    assert "tokens with a cache" in " ".join(raw.stdout.split())
    summary = icrl("prompt", "plan.yaml", "--agent", "sum", cwd=tmp_path)
    assert "Mean reward" in summary.stdout and "sum, step 20" in summary.stdout
    for arguments, says in ((["--step", "100"], "step: the task has 100 steps"), (["--agent", "ucb"], "agents: ucb")):
        failed = icrl("prompt", "plan.yaml", *arguments, cwd=tmp_path)
        assert failed.returncode == 2 and says in failed.stderr and "Traceback" not in failed.stderr
