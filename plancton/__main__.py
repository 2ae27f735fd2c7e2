"""``python -m plancton`` is the command line."""

from plancton.cli.app import main

main()
