"""Wrong YAML: one line that names the place and the remedy."""

import pytest

from plancton.config.load import parse
from plancton.config.safe_yaml import ConfigError


def refusal(text: str) -> str:
    """The line with which a text is refused."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "FILE")
    return str(caught.value)


BAD = {
    "worker: {cpus: 1": ("line 1, column 17: ", "expected"),
    "worker:\n\tcpus: 1": ("line 2, column 1: ", "\\t"),
    "worker:\n  cpus: 1\n cpus: 2": ("line 3, column 2: ", "expected"),
    "worker: {}\n---\nworker: {}": ("line 2, column 1: ", "another document"),
    "worker: *w": ("line 1, column 9: ", "undefined alias 'w'"),
    "a\0b": ("line 1, column 2: ", "U+0000 is not allowed"),
    "pool: {}\nworker: !!python/object/apply:os.system [id]": ("line 2, column 9: ", "os.system"),
    "worker:\n  cpus: 1\n  cpus: 2": ("line 3, column 3: ", "key 'cpus' is given twice"),
    "1: 2": ("line 1, column 1: ", "put it in quotes"),
    "yes: 2": ("line 1, column 1: ", "put it in quotes"),
    "worker: {environment: {NO: 1}}": ("line 1, column 24: ", "put it in quotes"),
    "? [a]\n: 1": ("line 1, column 3: ", "a key must be text"),
    "worker:\n  <<: {cpus: 1}": ("line 2, column 3: ", "merge keys"),
    "worker: {user: 2020-99-01}": ("line 1, column 16: ", "put it in quotes"),
    "worker: {user: !!int x}": ("line 1, column 16: ", "'x' is not what it looks like"),
    'worker: {user: "a\\0b"}': ("line 1, column 16: ", "null bytes"),
    'worker: {user: "\\ud800"}': ("line 1, column 16: ", "halves of characters"),
    "[" * 3000: ("", "too deep"),
    "wroker: {}": ("wroker: ", "did you mean 'worker'?"),
    "zebra: {}": ("zebra: ", "known: htcondor, image, worker, pool, owner, yield, docker, config"),
    "worker: {cpu: 1}": ("worker.cpu: ", "did you mean 'cpus'?"),
    "yield: {zebra: 1}": ("yield.zebra: ", "known: grace_kill, grace_spawn, worthwhile, cap"),
    'worker: {"cp\\nus": 1}': ("worker.cp us: ", "did you mean 'cpus'?"),
    "htcondor: {central_manager: cm}": ("htcondor.token_file: ", "missing"),
    "- a": ("the file: ", "must be a section (key: value lines), not a list"),
    "hello": ("the file: ", "not 'hello'"),
    "worker: 5": ("worker: ", "not 5"),
    "worker: true": ("worker: ", "not true"),
    "worker: [cpus]": ("worker: ", "not a list"),
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:40])
def test_bad_input(text: str) -> None:
    """Each wrong text is refused with the file, the key or line and column, and the remedy."""
    place, words = BAD[text]
    assert refusal(text).startswith(f"FILE: {place}") and words in refusal(text)


def test_alias_bombs() -> None:
    """Aliases that stand for billions of values are refused without being written out."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    bomb = "\n".join(levels)
    assert refusal(bomb).startswith("FILE: a0: unknown key")
    for key in ("memory", "command", "environment", "lifetime", "user", "cpus"):
        nested = "&a0 [x, x]"
        for n in range(1, 40):
            nested = f"&a{n} [{nested}, *a{n - 1}]"
        text = f"worker:\n  {key}: {nested}"
        assert len(refusal(text)) < 200, f"seen for {key}: {refusal(text)[:300]}"
