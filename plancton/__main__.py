"""``python -m plancton`` is the command line."""

from plancton.cli.entry import main

main()
