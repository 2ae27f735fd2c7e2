"""Short programs of the host's that set what the kernel has no file for: nft, tc, ip."""

ANSWER = 20.0
"""Seconds that one has."""


class ProgramError(Exception):
    """Why it has not done it, in one line."""


def call(command: list[str], package: str, text: str | None = None) -> str:
    """What it prints; ``package`` is what has it, ``text`` its input."""
    import subprocess  # seldom needed: not worth its memory from the start

    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=ANSWER, check=False
        )
    except FileNotFoundError:
        raise ProgramError(f"there is no {command[0]} here: install the package {package}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramError(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ProgramError(f"`{' '.join(command)}`: {said[0] if said else f'exit code {done.returncode}'}")
    return done.stdout
