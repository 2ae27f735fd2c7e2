"""The process that stays: `run` and upgrades execute `python -P -m plancton.daemon`."""
