"""Whether what goes over the network costs money, as NetworkManager knows or guesses."""

from pathlib import Path

from plancton.host.signals.programs import output_of

NAME = "org.freedesktop.NetworkManager"
PATH = "/org/freedesktop/NetworkManager"
ANSWERS = {"u 1": True, "u 2": False, "u 3": True, "u 4": False}
"""NMMetered: yes, no, perhaps yes, perhaps no; 0 is unknown."""


def runs_network_manager(run: Path) -> bool:
    return (run / "NetworkManager").is_dir()


def ask_metered() -> bool | None:
    """None if NetworkManager does not know or answer. This may wait for a second."""
    said = output_of(["busctl", "--system", "get-property", NAME, PATH, NAME, "Metered"])
    return ANSWERS.get((said or "").strip())
