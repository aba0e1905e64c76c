"""`python -m guesthouse`: the command line."""

from guesthouse.cli.main import main

main()
