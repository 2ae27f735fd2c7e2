"""The process that stays: upgrades execute `python -P -m plancton.daemon`."""
