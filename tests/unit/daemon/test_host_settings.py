"""What the configuration means on a host, as far as it changes from tick to tick."""

from plancton.config.load import parse
from plancton.config.resolve import Host
from plancton.daemon.host_settings import HostSettings
from plancton.host.signals.catalog import Reference

HOST = Host(8, 16_000_000_000)


def test_max_workers_follow_signals() -> None:
    """pool.max_workers is worked out at each tick where it goes by a signal; while that is unknown the
    last good value stays, and it is said."""
    it = HostSettings()
    it.update(parse("pool: {max_workers: 2 if sessions > 0 else ncpus}", "FILE"), HOST, None)
    sessions: dict[Reference, float | None] = {}
    for value, most in ((1.0, 2), (0.0, 8), (None, 8), (3.0, 2)):
        sessions["sessions",] = value
        it.look(sessions.__getitem__)
        assert it.max_workers == most
        assert ("sessions is unknown" in it.problem) is (value is None)


def test_nothing_is_read_without_signals() -> None:
    """Where it goes by none, nothing is read, and it is worked out once."""
    read = list[Reference]()
    it = HostSettings()
    it.update(parse("pool: {max_workers: ncpus - 1}", "FILE"), HOST, None)
    for _ in range(2):
        it.look(lambda reference: read.append(reference))
        assert (it.max_workers, it.problem, read) == (7, "", [])
