"""`python -m icrl`."""

from icrl.cli import main

main()
