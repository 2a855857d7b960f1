import numpy as np
import pytest
from scipy import stats

from icrl.agents import LLMAgent, rollout
from icrl.envs import Public, make, tape
from icrl.envs.tape import Stream
from icrl.prompts import Prompt
from icrl.prompts.bounds import longest

TASK = make("bernoulli-hard", horizon=8)


def prompted(model, step=-1):
    """Texts of the prompts of one call."""
    return [model.tokenizer.decode(query.ids) for query in model.asked[step]]


class TestPolicy:
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
    def test_what_is_stored(self, temperature, fakes, tokenizer):
        runs = rollout(LLMAgent(fakes.FakeModel(tokenizer), temperature=temperature), TASK, episodes=9)
        assert runs.probs.shape == (9, 8, 5) and np.allclose(runs.probs.sum(axis=2), 1)
        assert runs.mass.shape == (9, 8) and ((runs.mass > 0) & (runs.mass < 1)).all()
        assert runs.usage.shape == (9, 8, 4) and (runs.usage[:, :, 0] > 0).all()
        assert runs.failed.shape == (9, 8) and (runs.failed == 0).all()
        names = np.array(runs.names)
        assert (runs.text == np.take_along_axis(names, runs.arms, axis=1)).all()

    def test_choices_follow_the_stored_probabilities(self, fakes, tokenizer):
        runs = rollout(LLMAgent(fakes.FakeModel(tokenizer)), TASK, episodes=400)
        chosen = np.take_along_axis(runs.probs, runs.arms[:, :, None], axis=2)[:, :, 0]
        below = runs.probs.cumsum(axis=2)
        lower = np.take_along_axis(below, runs.arms[:, :, None], axis=2)[:, :, 0] - chosen
        u = tape.uniform(tape.key(0, Stream.POLICY, runs.episode[:, None], np.arange(8)))
        assert ((lower <= u) & (u < lower + chosen + 1e-12)).all(), "inverse transform of the tape's number"
        spread = np.random.default_rng(0).random(u.shape) * chosen + lower
        assert stats.kstest(spread.ravel(), "uniform").pvalue > 1e-3

    def test_zero_temperature_takes_the_most_probable(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer)
        cold = rollout(LLMAgent(model, temperature=0), TASK, episodes=9)
        assert set(np.unique(cold.probs)) == {0.0, 1.0}
        assert (cold.probs.argmax(axis=2) == cold.arms).all()
        again = rollout(LLMAgent(model, temperature=0), TASK, episodes=9)
        assert (again.arms == cold.arms).all()

    @pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
    def test_bad_temperatures(self, temperature, fakes, tokenizer):
        with pytest.raises(ValueError, match=f"temperature: .*{temperature}"):
            LLMAgent(fakes.FakeModel(tokenizer), temperature=temperature)


class TestWindow:
    def test_too_small_is_said_before_the_first_call(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer, window=200)
        agent = LLMAgent(model)
        assert longest(agent.writer(TASK.public)) < 200, "the task of this test fits"
        task = make("bernoulli-hard", horizon=50)
        needed = longest(agent.writer(task.public))
        with pytest.raises(ValueError, match=f"t=50.*{needed} tokens.*window of fake is 200.*shorter horizon"):
            rollout(agent, task, episodes=2)
        assert model.asked == []
        assert len(rollout(agent, TASK, episodes=2)) == 2

    def test_too_few_labels_are_said_before_the_first_call(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer)
        with pytest.raises(ValueError, match="labels: the task has 5 arms"):
            LLMAgent(model, Prompt(labels=("red", "blue"))).check(TASK.public)

    def test_labels_that_hold_a_mark_of_the_model(self, fakes, tokenizer):
        agent = LLMAgent(fakes.FakeModel(tokenizer), Prompt(labels=(*fakes.FIVE[:4], "go<|end|>")))
        with pytest.raises(ValueError, match=r"labels: 'go<\|end\|>' holds '<\|end\|>'"):
            agent.check(TASK.public)

    def test_labels_that_a_tokenizer_cannot_tell_apart(self, fakes):
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        words = Tokenizer(models.WordLevel({"[UNK]": 0, "red": 1, "\n": 2}, unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
        small = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
        agent = LLMAgent(fakes.FakeModel(small), Prompt(layout="log", labels=("red", "tie", "cap", "elm", "oak")))
        with pytest.raises(ValueError, match="labels: 'tie' and 'cap' are the same tokens for fake"):
            agent.check(TASK.public)

    def test_a_summary_stays_short(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer, window=200)
        rollout(LLMAgent(model, Prompt("summary")), make("bernoulli-hard", horizon=60), episodes=2)
        assert max(len(q.ids) for asked in model.asked for q in asked) < 200

    @pytest.mark.parametrize("fields", [{"slots": 2}])
    def test_tasks_that_cannot_be_told(self, fields, fakes, tokenizer):
        with pytest.raises(ValueError, match="task: prompts tell of bandits with one choice per step"):
            LLMAgent(fakes.FakeModel(tokenizer)).check(Public("other", 5, 8, "bernoulli", **fields))


class TestFreeAnswers:
    def agent(self, fakes, tokenizer, script, **fields):
        model = fakes.Writing(tokenizer, script=script)
        return model, LLMAgent(model, Prompt(answer="free", labels=fakes.FIVE, **fields))

    def test_what_is_written_is_what_is_played(self, fakes, tokenizer):
        _, agent = self.agent(fakes, tokenizer, lambda query: "I choose **Green**")
        runs = rollout(agent, TASK, episodes=4)
        assert (np.array(runs.names)[np.arange(4)[:, None], runs.arms] == "green").all()
        assert (runs.text == "I choose **Green**").all()
        assert runs.probs is None and runs.mass is None and (runs.failed == 0).all()
        written = len(tokenizer.encode("I choose **Green**", add_special_tokens=False))
        assert (runs.usage[:, :, 2] == written).all()

    def test_what_was_generated_stays_as_it_was(self, fakes, letters):
        """Not re-encoded from its text, in which spaces may be lost and other tokens may say the same."""
        model, agent = self.agent(fakes, letters, lambda query: "  red ")
        runs = rollout(agent, TASK, episodes=2)
        said = letters.encode("  red ", add_special_tokens=False)
        assert runs.text[0, 0] == "red" and runs.ids.shape == (2, 8, 16)
        assert (runs.ids[:, :, : len(said)] == said).all() and (runs.ids[:, :, len(said) :] == -1).all()
        assert prompted(model)[0].count("  red <|end|>") == 7

    def test_the_limits_reach_the_model(self, fakes, tokenizer):
        model, agent = self.agent(fakes, tokenizer, lambda query: "red", max_tokens=7)
        rollout(agent, TASK, episodes=2)
        query = model.asked[0][0]
        assert (query.choices, query.limit, query.temperature) == (None, 7, 1.0)
        assert set(tokenizer.convert_ids_to_tokens(query.until)) == {"<|end|>", *tokenizer.all_special_tokens}

    def test_seeds_differ_by_episode_time_and_attempt(self, fakes, tokenizer):
        model, agent = self.agent(fakes, tokenizer, lambda query: "?", on_failure="retry", retries=2)
        rollout(agent, TASK, episodes=3)
        seeds = [query.seed for asked in model.asked for query in asked]
        assert len(seeds) == 3 * 8 * 3 and len(set(seeds)) == len(seeds)

    def test_retry_asks_again_only_those_that_failed(self, fakes, tokenizer):
        seen = {}

        def second_time(query):  # odd episodes fail once at each step
            seen[query.key, len(query.ids)] = tries = seen.get((query.key, len(query.ids)), 0) + 1
            return "hm" if query.key[1] % 2 and tries == 1 else "red"

        model, agent = self.agent(fakes, tokenizer, second_time, on_failure="retry", retries=2)
        runs = rollout(agent, TASK, episodes=4)
        assert (runs.failed == np.array([0, 1, 0, 1])[:, None]).all()
        assert (runs.arms >= 0).all() and (runs.text == "red").all()
        assert (runs.refused == np.array(["", '["hm"]', "", '["hm"]'])[:, None]).all(), "no refused text is lost"
        assert [len(asked) for asked in model.asked] == [4, 2] * 8
        first = len(model.asked[0][0].ids)
        assert runs.usage[:, 0, 0].tolist() == [first, 2 * first] * 2, "the tokens of all tries count"

    def test_retries_end_in_a_forfeit(self, fakes, tokenizer):
        model, agent = self.agent(fakes, tokenizer, lambda query: "hm", on_failure="retry", retries=2)
        runs = rollout(agent, TASK, episodes=2)
        assert (runs.failed == 3).all() and (runs.arms == -1).all() and len(model.asked) == 8 * 3

    def test_forfeit_lets_the_step_pass(self, fakes, tokenizer):
        scripted = ["red", "I cannot decide", "blue"]
        model, agent = self.agent(
            fakes, tokenizer, lambda query: scripted[len(model.asked) % 3 - 1], on_failure="forfeit"
        )
        runs = rollout(agent, TASK, episodes=3)
        lost = np.arange(8) % 3 == 1
        assert ((runs.arms == -1) == lost).all() and (np.isnan(runs.rewards) == lost).all()
        assert (np.isnan(runs.gap) == lost).all() and (runs.failed == lost).all()
        assert (runs.text[:, lost] == "I cannot decide").all()
        assert len(model.asked) == 8, "no second try"
        last = prompted(model)[0]
        assert last.count("<|assistant|>I cannot decide<|end|><|user|>That is no button, so nothing was pressed.") == 2

    def test_forfeit_in_a_log(self, fakes, tokenizer):
        model, agent = self.agent(fakes, tokenizer, lambda query: "hm", on_failure="forfeit", layout="log")
        rollout(agent, TASK, episodes=1)
        assert prompted(model)[0].count("nothing pressed\n") == 7

    def test_resample_draws_an_arm_and_says_so(self, fakes, tokenizer):
        model, agent = self.agent(fakes, tokenizer, lambda query: "hm", on_failure="resample")
        runs = rollout(agent, TASK, episodes=200)
        assert (runs.failed == 1).all() and (runs.text == "hm").all() and not np.isnan(runs.rewards).any()
        assert stats.chisquare(np.bincount(runs.arms.ravel(), minlength=5)).pvalue > 1e-3
        assert len(model.asked) == 8 * 4, "no second try, in 4 batches"
        assert (rollout(agent, TASK, episodes=200).arms == runs.arms).all()

    def test_a_drawn_arm_takes_no_luck_of_the_world(self, fakes, tokenizer):
        _, agent = self.agent(fakes, tokenizer, lambda query: "hm", on_failure="resample")
        runs = rollout(agent, TASK, episodes=50)
        u = tape.uniform(tape.key(0, Stream.FAILURE, np.arange(50)[:, None], np.arange(8)))
        assert (runs.arms == (5 * u).astype(int)).all(), "it has a stream of its own"
        played = rollout(fakes.Scripted(runs.arms), TASK, episodes=50)
        assert (played.rewards == runs.rewards).all()


class TestCost:
    @pytest.mark.parametrize("layout", ["turns", "log"])
    def test_a_step_adds_few_tokens(self, layout, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer)
        agent = LLMAgent(model, Prompt(layout=layout))
        rollout(agent, make("bernoulli-hard", horizon=40), episodes=3)
        for t in range(1, 40):
            for before, after in zip(model.asked[t - 1], model.asked[t], strict=True):
                same = before.ids[: len(after.ids)] == after.ids[: len(before.ids)]
                new = len(after.ids) - (len(same) if same.all() else int(same.argmin()))
                tail = len(agent.writer(TASK.public).tail())
                assert new <= 9 + tail

    def test_nothing_is_tokenized_twice(self, fakes, tokenizer):
        counting = fakes.CountingTokenizer(tokenizer)
        model = fakes.FakeModel(counting)
        new = []
        rollout(
            LLMAgent(model),
            make("bernoulli-hard", horizon=30),
            episodes=8,
            on_step=lambda s: new.append(len(counting.encoded)),
        )
        per_step = np.diff(new)
        assert per_step[3:].sum() == 0, "all pieces are known by then"

    @pytest.mark.parametrize("prompt", ["llm-turns", "llm-summary", "llm-forfeit"])
    def test_each_step_is_one_call_for_all_rows(self, prompt, fakes, tokenizer):
        agent = fakes.agent(prompt, tokenizer)
        rollout(agent, TASK, episodes=20, batch=20)
        assert [len(asked) for asked in agent.model.asked] == [20] * 8

    def test_keys_follow_the_episode(self, fakes, tokenizer):
        model = fakes.FakeModel(tokenizer)
        rollout(LLMAgent(model), TASK, episodes=[4, 2], seed=3)
        assert {tuple(q.key for q in asked) for asked in model.asked} == {((3, 4), (3, 2))}


def test_the_prompts_of_one_row_hold_nothing_of_another(fakes, tokenizer):
    """With buffers that are shared and grow, a row must still say what it would say alone."""
    both, alone = fakes.FakeModel(tokenizer), fakes.FakeModel(tokenizer)
    task = fakes.Ending(n_arms=5, horizon=40, means={"kind": "uniform"}, noise={"kind": "gaussian", "sd": 3.0})
    for prompt in fakes.PROMPTS.values():
        if prompt.answer == "direct":
            both.asked.clear(), alone.asked.clear()
            rollout(LLMAgent(both, prompt), task, episodes=12)
            rollout(LLMAgent(alone, prompt), task, episodes=12, batch=1)
            said = {(q.key, t): q.ids.tolist() for t, asked in enumerate(both.asked) for q in asked}
            steps = {}
            for (query,) in alone.asked:
                t = steps[query.key] = steps.get(query.key, -1) + 1
                assert said.pop((query.key, t)) == query.ids.tolist()
            assert not said


class TestDistributions:
    def play(self, fakes, tokenizer, script, **fields):
        model = fakes.Writing(tokenizer, script=script)
        agent = LLMAgent(model, Prompt(answer="distribution", labels=fakes.FIVE, **fields))
        return model, rollout(agent, TASK, episodes=400)

    def test_arms_are_drawn_from_what_is_written(self, fakes, tokenizer):
        _, runs = self.play(fakes, tokenizer, lambda query: "red: 0.7\nblue: 0.2\ngreen: 0.1")
        names = np.array(runs.names)
        played = np.take_along_axis(names, runs.arms, axis=1)
        for label, share in (("red", 0.7), ("blue", 0.2), ("green", 0.1)):
            assert (played == label).mean() == pytest.approx(share, abs=0.03)
            assert np.allclose(runs.probs[np.arange(400), :, (names == label).argmax(axis=1)], share)
        assert (runs.failed == 0).all() and (runs.text == "red: 0.7\nblue: 0.2\ngreen: 0.1").all()

    def test_the_prompt_asks_for_it_and_keeps_it(self, fakes, tokenizer):
        model, runs = self.play(fakes, tokenizer, lambda query: "red: 1")
        assert "probability with which you press each button" in prompted(model, 0)[0]
        assert "red: 1<|end|><|user|>Reward" in prompted(model)[0]
        assert runs.public.n_arms * 16 == model.asked[0][0].limit

    @pytest.mark.parametrize("on_failure", ["retry", "forfeit", "resample"])
    def test_what_is_none_is_counted(self, on_failure, fakes, tokenizer):
        _, runs = self.play(fakes, tokenizer, lambda query: "red: 0.9\nblue: 0.9", on_failure=on_failure, retries=1)
        assert np.isnan(runs.probs).all() and (runs.text == "red: 0.9\nblue: 0.9").all()
        assert (runs.failed == (2 if on_failure == "retry" else 1)).all()
        assert ((runs.arms == -1) == (on_failure != "resample")).all()

    def test_an_arm_that_is_not_there_has_no_share(self, fakes, tokenizer):
        task = make("sleeping", n_arms=5, fewest=5, horizon=6)
        model = fakes.Writing(tokenizer, script=lambda query: "red: 0.5\nblue: 0.5")
        runs = rollout(LLMAgent(model, Prompt(answer="distribution", labels=fakes.FIVE, on_failure="forfeit")), task)
        named = np.isin(np.array(runs.names), ["red", "blue"])
        both = (runs.legal | ~named[:, None]).all(axis=2)
        assert ((runs.arms >= 0) == both).all() and 0 < both.mean() < 1
