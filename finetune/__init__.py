"""Synthetic diaries, training rows, and the training of `pocket`."""
