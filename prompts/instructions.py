"""The system text: sentences that depend on the task and on the prompt, in the words of the story."""

from __future__ import annotations

from icrl.envs.types import Public, RewardFamily
from icrl.prompts.prompt import Prompt

REWARDS: dict[RewardFamily, str] = {
    "bernoulli": "A reward is 0 or 1.",
    "gaussian": "A reward is a number and may be negative.",
}
IN_WORDS = "A reward is yes or no."
_MEAN = "Each {unit} has its own mean reward, which never changes and which you do not know."
RULES = {
    "bandit": _MEAN,
    "best-arm": _MEAN,
    "moving": "Each {unit} has its own mean reward, which may change over time and which you do not know.",
    "contextual": "How much each {unit} pays depends on what you are told before each choice, in a way that does not "
    "change and that you do not know.",
}
NAME_THE_BEST = "Only your last choice counts: it has to be the best {unit}, so learn which one that is before."
ADVICE = (
    " Any {unit} that paid badly at first may still be the best one: balance trying the {units} that you know little "
    "about with taking the one that seems best."
)
HORIZON = " There are {horizon} {tries} in all."
COME_AND_GO = " Not all {units} are there every time: you are told which are."
GAMES = " First you see {count} of another player's games, as examples; there the {units} had other mean rewards."
HINTED = " Before each choice you see notes of an algorithm that has seen the same rewards."
ANSWERS = {
    "direct": "Answer with the name of one {unit} and nothing else.",
    "free": "Answer with the name of one {unit} and nothing else.",
    "distribution": "Answer with the probability with which you {act} each {unit}, one per line, as in `name: 0.25`. "
    "They must sum to 1.",
}
SENTENCES = (*REWARDS.values(), *RULES.values(), *ANSWERS.values())


def refuses(public: Public) -> str | None:
    """Why such a task cannot be told; None if it can."""
    if public.kind in RULES and public.slots == 1:
        return None
    return f"task: prompts tell of bandits with one choice per step ({', '.join(RULES)}); got {public}"


def instructions(prompt: Prompt, public: Public) -> tuple[str, str]:
    """The system text, before and after the list of the labels."""
    story = prompt.story
    words = prompt.past.rewards == "words"
    advice = (ADVICE if prompt.instructions == "advice" else "") + (COME_AND_GO if public.variable else "")
    if (games := prompt.games) is not None:
        advice += GAMES.replace("{count}", "one" if games.count == 1 else str(games.count))
    advice += HINTED if prompt.hints is not None else ""
    shown = {
        "{setting}": story.setting,
        "{rule}": RULES[public.kind],
        "{rewards}": IN_WORDS if words else REWARDS[public.reward],
        "{goal}": NAME_THE_BEST if public.kind == "best-arm" else story.goal,
        "{advice}": advice,
        "{horizon}": HORIZON if prompt.horizon == "told" or public.kind == "best-arm" else "",
        "{answer}": ANSWERS[prompt.answer],
    }
    text = story.system
    for placeholder, value in shown.items():
        text = text.replace(placeholder, value)
    for placeholder, number in {"{n}": public.n_arms, "{horizon}": public.horizon}.items():
        text = text.replace(placeholder, str(number))
    before, _, after = story.told(text).partition("{labels}")
    return (f"{prompt.system}\n\n" if prompt.system else "") + before, after


def number(value: float, public: Public, decimals: int | None = None) -> str:
    """A reward as text: 0 or 1 for Bernoulli rewards, else two decimals, unless told otherwise."""
    digits = (0 if public.reward == "bernoulli" else 2) if decimals is None else decimals
    return f"{value:z.{digits}f}"  # z: never "-0.00"
