"""Short programs of the host's, for what the kernel has no file for: nft, tc, ip, systemctl."""

ANSWER = 20.0
"""Seconds that one has."""


class ProgramError(Exception):
    """Why it has not done it, in one line."""


class NoAnswer(ProgramError):
    """It has not ended in time: whether it has done it is unknown."""


def call(command: list[str], package: str = "", text: str | None = None, seconds: float = ANSWER) -> str:
    """What it prints; ``package`` is what has it, ``text`` its input."""
    import subprocess  # seldom needed: not worth its memory from the start

    stdin = subprocess.DEVNULL if text is None else None
    try:
        done = subprocess.run(
            command, stdin=stdin, input=text, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        raise ProgramError(f"there is no {command[0]} here: install the package {package}") from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]}: no answer within {seconds:g} s") from None
    except (OSError, ValueError) as error:
        raise ProgramError(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ProgramError(f"`{' '.join(command)}`: {said[0] if said else f'exit code {done.returncode}'}")
    return done.stdout


def nft(*arguments: str, text: str | None = None) -> str:
    return call(["nft", *arguments], "nftables", text)


def removal(family: str, name: str) -> str:
    """The text for nft that removes this table, there or not."""
    return f"table {family} {name} {{ }}\ndelete table {family} {name}\n"


def nft_table(family: str, name: str) -> str:
    """Its rules; empty if it is not there."""
    try:
        return nft("list", "table", family, name)
    except ProgramError as error:
        if "No such file or directory" in str(error):
            return ""
        raise
