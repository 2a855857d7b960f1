"""`kill -9` at random moments of a real run, then the same command."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np

from icrl.experiments import load

EXPERIMENT = """
task: {preset: bernoulli-hard, horizon: 60}
episodes: 24
batch: 12
agents:
  pocket: {model: pocket}
  ucb: UCB
"""
TOTAL = 24 * 60


def stored(folder):
    if not (folder / "run.sqlite").exists():
        return []
    db = sqlite3.connect(folder / "run.sqlite", timeout=30)
    try:
        return db.execute("SELECT * FROM steps ORDER BY episode, t").fetchall()
    except sqlite3.OperationalError:  # the tables are not there yet
        return []
    finally:
        db.close()


def start(plan, folder):
    command = [sys.executable, "-m", "icrl", "run", str(plan), "--out", str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"COLUMNS": "200"}
    )


def test_kill_at_five_random_moments(tmp_path, assert_same_play):
    plan = tmp_path / "plan.yaml"
    plan.write_text(EXPERIMENT)
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    assert start(plan, calm).wait(timeout=300) == 0

    goals = np.sort(np.random.default_rng(0).integers(1, TOTAL - 100, 5))
    before: list = []
    for goal in goals:
        process = start(plan, cut)
        while len(stored(cut)) < goal and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = stored(cut)
        assert set(before) <= set(now), "a stored step was changed or lost"
        before = now
    assert start(plan, cut).wait(timeout=300) == 0

    after = stored(cut)
    assert set(before) <= set(after)
    assert len(after) == TOTAL
    assert len({row[1:3] for row in after}) == TOTAL
    runs, again = load(calm)[1], load(cut)[1]
    assert_same_play(runs["pocket"], again["pocket"])
    np.testing.assert_array_equal(runs["ucb"].arms, again["ucb"].arms)
