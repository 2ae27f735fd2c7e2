"""What this host did: history.sqlite in the state directory, the writer's side and the reader's."""
