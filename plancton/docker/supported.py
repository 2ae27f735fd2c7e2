"""Which engines can serve: a Docker Engine that root runs on this host. Others are refused before
anything is made; docs/yielding.md ("Which engines") says why, with what was measured."""

from plancton.docker.replies import Info

OLDEST_API = (1, 41)
"""Of Docker Engine 20.10."""
REMEDY = "set docker.socket to the socket of a Docker Engine that root runs"


def objection(info: Info) -> str:
    """Why this engine can't serve; empty if it can."""
    if info.is_podman:
        return (
            f"this is Podman {info.server_version}: it can't part workers from each other nor bound their CPU"
            " once they run, and a busy owner starves its helpers while they hold its locks"
        )
    if "name=rootless" in info.security_options:
        return "a rootless Docker's containers are never in a slice of this host: nothing protects the owner"
    if info.cgroup_driver not in ("cgroupfs", "systemd"):
        return "a Docker that keeps no cgroups has no slice for its containers: nothing protects the owner"
    return ""
