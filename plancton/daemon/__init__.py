"""The process that stays: python -P -m plancton.daemon is what run and upgrades execute."""
