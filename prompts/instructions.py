"""The system text: sentences that depend on the task and on the prompt, in the words of the story."""

from __future__ import annotations

from icrl.envs.types import Public, RewardFamily
from icrl.prompts.history import Trials, Window
from icrl.prompts.prompt import Prompt

REWARDS: dict[RewardFamily, str] = {
    "bernoulli": "A reward is {no} or {yes}.",
    "gaussian": "A reward is a number and may be negative.",
}
IN_WORDS = "A reward is {yes} or {no}."
OF_DUELS = "The reward is {yes} if the one named first is preferred, and {no} if it is the other."
_MEAN = "Each {unit} has its own mean reward, which never changes and which you do not know."
RULES = {
    "bandit": _MEAN,
    "best-arm": _MEAN,
    "moving": "Each {unit} has its own mean reward, which may change over time and which you do not know.",
    "contextual": "How much each {unit} pays depends on what you are told before each choice, in a way that does not "
    "change and that you do not know.",
    "dueling": "How often one {unit} is preferred to another never changes, and you do not know it.",
}
ALWAYS = "which never changes"
IN_A_GAME = "which stays the same during a game"
WHEN = "You want the highest total reward over many {tries}, so learn when which {unit} is best."
NAME_THE_BEST = "Only your last choice counts: it has to be the best {unit}, so learn which one that is before."
PREFERRED = "You want to name the {units} that are preferred to others, so learn which they are while you choose."
ADVICE = (
    " Any {unit} that paid badly at first may still be the best one: balance trying the {units} that you know little "
    "about with taking the one that seems best."
)
ADVICE_OF_DUELS = (
    " Any {unit} that lost at first may still be the best one: balance naming {units} that you know little about with "
    "naming those that seem best."
)
HORIZON = " There are {horizon} {tries} in all."
HORIZON_OF_TRIALS = " There are {horizon} {tries} in each game."
COME_AND_GO = " Not all {units} are there every time: you are told which are."
TRIALS = " You play {trials} games, one after the other; what is good in one may be bad in the next."
GAMES = " First you see {count} of another player's games, as examples; what was good there may be bad here."
HINTED = " Before each choice you see notes of an algorithm that has seen all your rewards so far."
SHOWN = {
    "raw": "",
    "summary": "",
    "window": " Of the past you see the last {last} {tries}.",
    "sink": " Of the past you see the first {first} and the last {last} {tries}.",
    "positive": " Of the past you see only the {tries} that paid.",
    "stochastic": " Of the past you see only some {tries}, drawn at random.",
    "trials": " Of the past you see this game, and {past} before it.",
}
_NAME = "the name of one {unit}"
_PAIR = "the names of two {units}, as in `name, name`,"
_SHARES = "the probability with which you {act} each {unit}, one per line, as in `name: 0.25`. They must sum to 1."
_THINK = "Think first; then write `Answer:`, and below it "
ANSWERS = {
    "direct": f"Answer with {_NAME} and nothing else.",
    "free": f"Answer with {_NAME} and nothing else.",
    "thought": f"{_THINK}{_NAME} and nothing else.",
    "distribution": f"Answer with {_SHARES}",
    "thought-distribution": f"{_THINK}{_SHARES}",
}
SENTENCES = (*REWARDS.values(), *RULES.values(), *ANSWERS.values(), *SHOWN.values())


def refuses(public: Public) -> str | None:
    """Why such a task cannot be told; None if it can."""
    if public.kind in RULES and public.slots == (2 if public.kind == "dueling" else 1):
        return None
    return f"task: prompts tell of bandits with one choice per step, or of duels ({', '.join(RULES)}); got {public}"


def instructions(prompt: Prompt, public: Public, games: int = 0, channel: bool = False) -> tuple[str, str]:
    """The system text, before and after the list of the labels.

    Args:
        prompt: What is asked for.
        public: Of the task.
        games: How many demonstrations follow.
        channel: Whether the model thinks in a place of its own, so that no words are needed on where.
    """
    story = prompt.story
    shown = {
        "{setting}": story.duel if public.kind == "dueling" else story.setting,
        "{rule}": _rule(public),
        "{rewards}": _rewards(prompt, public),
        "{goal}": {"best-arm": NAME_THE_BEST, "dueling": PREFERRED, "contextual": WHEN}.get(public.kind, story.goal),
        "{advice}": _advice(prompt, public, games),
        "{horizon}": _horizon(prompt, public),
        "{answer}": _answer(prompt, public, channel),
    }
    text = story.system
    for placeholder, value in shown.items():
        text = text.replace(placeholder, value)
    numbers = {"{n}": public.n_arms, "{horizon}": public.game, "{trials}": public.trials}
    for placeholder, count in numbers.items():
        text = text.replace(placeholder, str(count))
    before, _, after = story.told(text).partition("{labels}")
    return (f"{prompt.system}\n\n" if prompt.system else "") + before, after


def _rule(public: Public) -> str:
    """What an arm is worth, and for how long."""
    rule = RULES[public.kind]
    return rule if public.trials == 1 else rule.replace(ALWAYS, IN_A_GAME)


def _rewards(prompt: Prompt, public: Public) -> str:
    """What a reward is."""
    words = prompt.past.rewards == "words"
    no, yes = ("no", "yes") if words else (number(x, public, prompt.past.decimals) for x in (0.0, 1.0))
    text = OF_DUELS if public.kind == "dueling" else IN_WORDS if words else REWARDS[public.reward]
    return text.replace("{yes}", yes).replace("{no}", no)


def _history(prompt: Prompt, public: Public) -> str:
    """What of the past is shown, where it is not all."""
    past = prompt.past
    if isinstance(past, Trials) and public.trials == 1:
        return ""
    text = SHOWN["sink" if isinstance(past, Window) and past.first else past.kind]
    for field in ("first", "last", "past"):
        text = text.replace(f"{{{field}}}", str(getattr(past, field, "")))
    return text


def _advice(prompt: Prompt, public: Public, games: int) -> str:
    """What stands between the aim and the horizon."""
    said = ""
    if prompt.instructions == "advice":
        said = ADVICE_OF_DUELS if public.kind == "dueling" else ADVICE
    said += COME_AND_GO if public.variable else ""
    said += TRIALS if public.trials > 1 else ""
    said += _history(prompt, public)
    if games:
        shown = games * public.trials
        said += GAMES.replace("{count}", "one" if shown == 1 else str(shown))
    return said + (HINTED if prompt.hints is not None else "")


def _horizon(prompt: Prompt, public: Public) -> str:
    """How many steps there are, if that is told; whoever has to name the best at the end must know."""
    if prompt.horizon == "hidden" and public.kind != "best-arm":
        return ""
    return HORIZON_OF_TRIALS if public.trials > 1 else HORIZON


def _answer(prompt: Prompt, public: Public, channel: bool) -> str:
    """How to answer."""
    aloud = prompt.answer.removeprefix("thought-")
    text = ANSWERS[("direct" if aloud == "thought" else aloud) if channel else prompt.answer]
    return text.replace(_NAME, _PAIR) if public.slots == 2 else text


def number(value: float, public: Public, decimals: int | None = None) -> str:
    """A reward as text: 0 or 1 for Bernoulli rewards, else two decimals, unless told otherwise."""
    digits = (0 if public.reward == "bernoulli" else 2) if decimals is None else decimals
    return f"{value:z.{digits}f}"  # z: never "-0.00"
