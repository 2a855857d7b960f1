"""The parts of `benchmarks/pocket.py`: what the embedded model is measured by, and the page that tells it."""
