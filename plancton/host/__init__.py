"""The kernel: what it tells of this host, and what it is told about the workers' cgroup."""
