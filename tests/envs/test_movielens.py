import tempfile
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from icrl.envs import MovieLens, make, movielens, tape
from icrl.envs.factors import complete, completed, zero_filled
from icrl.envs.tape import Stream

GENRES = "|" + "|".join("0" * 19)
STARS = (
    np.array(  # users x movies 10, 20, 30, 40; 0 where there is no rating; movie 40 has the fewest, user 5 none else
        [[5, 4, 0, 0], [4, 0, 2, 0], [1, 2, 5, 0], [0, 5, 1, 0], [0, 0, 0, 3], [2, 1, 4, 0], [3, 3, 3, 1]]
    )
)
EPISODES = np.arange(300)


@pytest.fixture
def folder(tmp_path):
    """STARS as ML-100K files."""
    rows = [f"{u + 1}\t{10 * (m + 1)}\t{STARS[u, m]}\t0" for u, m in np.argwhere(STARS > 0)[::-1]]
    movies = [f"{10 * (m + 1)}|{title}|||{GENRES}" for m, title in enumerate(("A (1990)", "B (1991)", "C", "D"))]
    users = [f"{u + 1}|{20 + u}|{'MF'[u % 2]}|writer|0" for u in range(len(STARS))]
    for name, lines in {"u.data": rows, "u.item": movies, "u.user": users}.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="latin-1")
    return str(tmp_path)


def low_rank(n, k, rank, missing, seed=0):
    """A table of exactly this rank around the movies' means, and which of its cells are seen (rank + 1 or more)."""
    rng = np.random.default_rng(seed)
    full = rng.uniform(2, 4, k) + rng.normal(size=(n, rank)) @ rng.normal(size=(rank, k))
    seen = rng.random((n, k)) > missing
    keep = seen.sum(axis=1) > rank
    return full[keep], seen[keep]


class TestFactors:
    @pytest.mark.parametrize(("rank", "d", "missing"), [(1, 1, 0.5), (2, 2, 0.4), (3, 3, 0.3), (2, 4, 0.3)])
    def test_held_out_cells_are_recovered(self, rank, d, missing):
        full, seen = low_rank(300, 12, rank, missing)
        found = complete(np.where(seen, full, np.nan), d)
        assert np.abs(found - full)[~seen].max() < 0.01 < full.std(), "stars"

    def test_noise_is_shrunk(self):
        """With noise, better than the movies' means and than what ordinary least squares gives on the true loadings."""
        full, seen = low_rank(800, 10, 2, 0.5)
        noisy = np.where(seen, full + np.random.default_rng(1).normal(size=full.shape), np.nan)
        error = np.sqrt(((complete(noisy, 2) - full)[~seen] ** 2).mean())
        means = np.nanmean(noisy, axis=0)
        assert error < 0.8 * np.sqrt(((means - full)[~seen] ** 2).mean())
        loadings = np.linalg.svd(full - full.mean(axis=0), full_matrices=False)[2][:2].T
        plain = np.stack(
            [
                means + loadings @ np.linalg.lstsq(loadings[s], (row - means)[s], rcond=None)[0]
                for row, s in zip(noisy, seen, strict=True)
            ]
        )
        assert error < np.sqrt(((plain - full)[~seen] ** 2).mean())

    def test_features_have_unit_variance_and_explain_the_means(self):
        full, seen = low_rank(200, 8, 3, 0.3)
        features, means = completed(np.where(seen, full, np.nan), 3)
        assert features.shape == (len(full), 4) and (features[:, 0] == 1).all()
        assert np.allclose(features.T @ features / len(full), np.eye(4), atol=1e-6), "uncorrelated, of variance 1"
        _, left, _, _ = np.linalg.lstsq(features, means, rcond=None)
        assert left.max() < 1e-12, "linear"

    def test_features_beyond_the_rank_are_zero(self):
        first = np.array([5.0, 1.0, 3.0, 2.0])
        features, _ = completed(np.column_stack([first, 6 - first, np.full(4, 3.0)]), 2)
        assert np.allclose(np.abs(features[:, 1]), np.abs(first - first.mean()) / first.std())
        assert (features[:, 2] == 0).all()

    def test_zero_filled_is_the_truncated_svd(self):
        table = np.where(STARS > 0, STARS, np.nan)
        u, s, v = np.linalg.svd(STARS.astype(float))
        for d in (1, 2, 3):
            features, means = zero_filled(table, d)
            assert np.allclose(means, u[:, :d] * s[:d] @ v[:d], atol=1e-8)
            assert np.allclose(np.abs(features), np.abs(u[:, :d]), atol=1e-8), "up to the signs, which are free"
        assert (zero_filled(table, 4)[1] == STARS).all()


class TestWorld:
    def test_evolve_pays_the_raw_ratings_where_the_rank_is_full(self, folder):
        """Movies by number of ratings: 20 and 30 have five, as 10; then 40 with two."""
        world = MovieLens(n_arms=4, horizon=5, folder=folder, rank=9, rewards="evolve")
        assert world.titles == ("A (1990)", "B (1991)", "C", "D") and world.public.context_dim == 4
        state = world.start(EPISODES, 0)
        users = (tape.uniform(tape.key(0, Stream.CONTEXT, EPISODES)) * 7).astype(int)
        for t in range(5):
            arm = (EPISODES + t) % 4
            state, outcome, truth = world.step(state, arm[:, None])
            assert np.array_equal(outcome.reward, STARS[users, arm].astype(float))
            assert np.array_equal(truth.gap, (STARS[users].max(axis=1) - STARS[users, arm]).astype(float))
            users = (tape.uniform(tape.key(0, Stream.CONTEXT, EPISODES), t + 1) * 7).astype(int)
        assert set(users.tolist()) == set(range(7)), "everybody comes"

    def test_most_rated_movies_are_the_arms(self, folder):
        assert MovieLens(n_arms=2, horizon=5, folder=folder, rank=1).titles == ("A (1990)", "B (1991)")

    def test_who_rated_none_of_the_arms_does_not_come_unless_missing_is_zero(self, folder):
        for rewards, ages in (("completed", {20, 21, 22, 23, 25, 26}), ("evolve", set(range(20, 27)))):
            world = MovieLens(n_arms=3, horizon=5, folder=folder, rank=2, rewards=rewards, text=True)
            texts = world.view(world.start(EPISODES, 0)).obs
            assert {int(text.split(", ")[1].split()[0]) for text in texts} == ages

    def test_texts(self, folder):
        world = MovieLens(n_arms=4, horizon=5, folder=folder, rank=4, rewards="evolve", text=True)
        view = world.view(world.start(np.arange(2), 0))
        u = np.linalg.svd(STARS.astype(float))[0][:, :4]
        users = (tape.uniform(tape.key(0, Stream.CONTEXT, np.arange(2))) * 7).astype(int)
        for text, context, user in zip(view.obs, view.context, users, strict=True):
            who, what = text.removesuffix(".").split(" Preferences: ")
            assert who == f"A {('male', 'female')[user % 2]} user, {20 + user} years old, occupation: writer."
            assert what == ", ".join(f"{x:.4f}" for x in context) and np.allclose(np.abs(context), np.abs(u[user]))

    def test_a_text_of_the_embedded_data(self):
        world = make("movielens-k10", text=True)
        text = world.view(world.start(np.arange(1), 0)).obs[0]
        assert text == "A male user, 49 years old, occupation: writer. Preferences: -1.57, 0.41, 0.05, -1.88, 1.96."
        assert make("movielens-k10").view(world.start(np.arange(1), 0)).obs is None

    def test_rewards_lie_on_the_tape(self):
        """Mean + sd z, z the standard normal at the n-th uniform of (seed, episode, arm)."""
        exact, noisy = make("movielens-k10", horizon=6), make("movielens-k10", horizon=6, sd=0.7)
        a, b = (world.start(EPISODES, 5) for world in (exact, noisy))
        for n in range(3):
            for arm in (2, 7):
                a, mean, truth = exact.step(a, np.full((300, 1), arm))
                b, paid, same = noisy.step(b, np.full((300, 1), arm))
                u = tape.uniform(tape.key(5, Stream.REWARD, EPISODES, arm), n)
                assert np.allclose(paid.reward, mean.reward + 0.7 * norm.ppf(u))
                assert np.array_equal(truth.gap, same.gap)

    def test_contexts_are_linear_in_the_means_and_of_variance_one(self):
        world = make("movielens-k30", horizon=2)
        episodes = np.arange(4000)
        context = world.view(world.start(episodes, 0)).context
        means = np.column_stack(
            [world.step(world.start(episodes, 0), np.full((4000, 1), arm))[1].reward for arm in range(30)]
        )
        assert context.shape == (4000, world.public.context_dim) and (context[:, 0] == 1).all()
        assert np.abs(context[:, 1:].mean(axis=0)).max() < 0.1 and np.abs(context[:, 1:].std(axis=0) - 1).max() < 0.1
        assert np.linalg.lstsq(context, means, rcond=None)[1].max() < 1e-9
        assert 2.5 < means.mean() < 4.5 and means.std() > 0.3, "stars"

    def test_a_context_is_worth_knowing(self):
        """The best movie of each user beats the best movie for all by a quarter of a star."""
        world = make("movielens-k10", horizon=2)
        gaps = [
            world.step(world.start(EPISODES, 0), np.full((300, 1), arm))[2].gap.mean() for arm in range(world.n_arms)
        ]
        assert 0.15 < min(gaps) < max(gaps)

    def test_it_says_what_it_is(self):
        public = make("movielens-k10", sd=0.5).public
        assert (public.kind, public.reward, public.noise_sd, public.context_dim) == ("contextual", "gaussian", 0.5, 6)
        assert not public.per_arm and make("movielens-k10").public.noise_sd == 0.0

    def test_no_file_is_left(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        movielens._ratings.cache_clear()
        assert len(movielens._ratings(None).rated) > 10_000 and not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"sd": -1}, "sd: .*-1"),
            ({"rank": 0}, "rank: .*0"),
            ({"rewards": "raw"}, "rewards: .*'raw'"),
            ({"rewards": "evolve", "sd": 1}, "sd must be 0 for rewards='evolve'.* got 1"),
            ({"fodler": "x"}, "did you mean 'folder'"),
        ],
    )
    def test_bad_fields_are_refused(self, wrong, says):
        with pytest.raises(ValueError, match=says):
            make("movielens-k10", **wrong)

    def test_too_few_movies_are_refused(self, folder):
        task = MovieLens(n_arms=5, horizon=5, folder=folder)
        with pytest.raises(ValueError, match="n_arms: .* has 4 rated movies, got 5"):
            task.start(EPISODES, 0)

    def test_too_few_users_are_refused(self, folder):
        task = MovieLens(n_arms=4, horizon=5, folder=folder, rank=4)
        data = Path(folder, "u.data")
        data.write_text("".join(row for row in data.read_text().splitlines(keepends=True) if row[0] in "1256"))
        with pytest.raises(ValueError, match="rank: must be below the number of users who may come, 4, got 4"):
            task.start(EPISODES, 0)
