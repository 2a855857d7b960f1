"""How `pocket` plays: the table of its model card. Run: `python benchmarks/pocket.py` (about five minutes).

Labels and seeds are those that its corpus excludes; all players meet the same luck.
"""

from __future__ import annotations

import json
from pathlib import Path

import icrl
from icrl.agents.sticky import WinStayLoseShift
from icrl.finetune.corpus import TEACHER
from icrl.finetune.heldout import held_out

OUT = Path(__file__).parent / "results" / "pocket.json"
EPISODES, SEED = 512, 2026


def players(model: object) -> dict[str, object]:
    """The players, the yardstick first."""
    words = {name: held_out(name) for name in ("buttons", "clothes")}
    prompts = {
        "pocket, raw": icrl.Prompt("raw", labels=words["buttons"]),
        "pocket, summary": icrl.Prompt("summary", labels=words["buttons"]),
        "pocket, raw as a log": icrl.Prompt("raw", layout="log", labels=words["buttons"]),
        "pocket, raw, clothes": icrl.Prompt("raw", scenario="clothes", labels=words["clothes"]),
    }
    classical = {
        "Uniform": icrl.Uniform(),
        "win-stay lose-shift": WinStayLoseShift(),
        "Greedy": icrl.Greedy(),
        "Thompson sampling": icrl.ThompsonSampling(),
        "UCB(c=0.25), the teacher": TEACHER,
    }
    return classical | {name: icrl.LLMAgent(model, prompt) for name, prompt in prompts.items()}


def main() -> None:
    """Plays both tasks of Krishnamurthy et al. 2024 and writes `results/pocket.json`."""
    model = icrl.load_model("pocket")
    found = {"episodes": EPISODES, "seed": SEED, "revision": model.facts["revision"], "tasks": {}}
    for task in ("bernoulli-easy", "bernoulli-hard"):
        played = {
            name: icrl.rollout(agent, icrl.make(task), episodes=EPISODES, seed=SEED, batch=128)
            for name, agent in players(model).items()
        }
        table = icrl.compare(played)
        table["share of Uniform's regret"] = table["regret"] / table.loc["Uniform", "regret"]
        columns = ["regret", "regret_low", "regret_high", "share of Uniform's regret"]
        columns += ["suffix_failure", "min_frac", "greedy_frac", "mass"]
        print(f"\n{task}\n{table[columns].round(3).to_string()}")
        found["tasks"][task] = json.loads(table[columns].round(4).to_json(orient="index"))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
