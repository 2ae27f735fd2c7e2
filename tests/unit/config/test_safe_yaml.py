"""Wrong YAML: one line that names the place and the remedy."""

# ruff: noqa: E501 (the exact texts are easier to read whole)

import pytest

from plancton.config.load import parse
from plancton.config.safe_yaml import ConfigError

SECTIONS = "htcondor, image, worker, pool, owner, yield, docker, config"


def refusal(text: str) -> str:
    """The line with which a text is refused."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "FILE")
    return str(caught.value)


BAD = {
    "worker: {cpus: 1": "line 1, column 17: expected ',' or '}', but got '<stream end>'",
    "worker:\n\tcpus: 1": "line 2, column 1: found character '\\t' that cannot start any token",
    "worker:\n  cpus: 1\n cpus: 2": "line 3, column 2: expected <block end>, but found '<block mapping start>'",
    "worker: {}\n---\nworker: {}": "line 2, column 1: but found another document",
    "worker: *w": "line 1, column 9: found undefined alias 'w'",
    "a\0b": "line 1, column 2: character U+0000 is not allowed in YAML",
    "pool: {}\nworker: !!python/object/apply:os.system [id]": "line 2, column 9: could not determine a constructor"
    " for the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
    "worker:\n  cpus: 1\n  cpus: 2": "line 3, column 3: key 'cpus' is given twice",
    "1: 2": "line 1, column 1: a key must be text (put it in quotes)",
    "yes: 2": "line 1, column 1: a key must be text (put it in quotes)",
    "worker: {environment: {NO: 1}}": "line 1, column 24: a key must be text (put it in quotes)",
    "? [a]\n: 1": "line 1, column 3: a key must be text (put it in quotes)",
    "worker:\n  <<: {cpus: 1}": "line 2, column 3: merge keys (<<) are not supported: write the keys out",
    "worker: {user: 2020-99-01}": "line 1, column 16: '2020-99-01' is not what it looks like (put it in quotes)",
    "worker: {user: !!int x}": "line 1, column 16: 'x' is not what it looks like (put it in quotes)",
    'worker: {user: "a\\0b"}': "line 1, column 16: text must not hold null bytes or halves of characters",
    'worker: {user: "\\ud800"}': "line 1, column 16: text must not hold null bytes or halves of characters",
    "[" * 3000: "is nested too deeply to be a configuration",
    "wroker: {}": "wroker: unknown key; did you mean 'worker'?",
    "zebra: {}": f"zebra: unknown key; known: {SECTIONS}",
    "worker: {cpu: 1}": "worker.cpu: unknown key; did you mean 'cpus'?",
    "yield: {zebra: 1}": "yield.zebra: unknown key; known: grace_kill, grace_spawn, worthwhile, cap",
    'worker: {"cp\\nus": 1}': "worker.cp us: unknown key; did you mean 'cpus'?",
    "- a": "the file: must be a section (key: value lines), not a list",
    "hello": "the file: must be a section (key: value lines), not 'hello'",
    "worker: 5": "worker: must be a section (key: value lines), not 5",
    "worker: true": "worker: must be a section (key: value lines), not true",
    "worker: [cpus]": "worker: must be a section (key: value lines), not a list",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40].encode("unicode_escape").decode())
def test_bad_input(text: str) -> None:
    """Each wrong text is refused with the file, the key or line and column, and the remedy."""
    assert refusal(text) == f"FILE: {BAD[text]}"


def test_alias_bombs() -> None:
    """Aliases that stand for billions of values are refused without being written out."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    bomb = "\n".join(levels)
    assert refusal(bomb) == f"FILE: a0: unknown key; known: {SECTIONS}"
    for key in ("memory", "command", "environment", "lifetime", "user", "cpus"):
        nested = "&a0 [x, x]"
        for n in range(1, 40):
            nested = f"&a{n} [{nested}, *a{n - 1}]"
        text = f"worker:\n  {key}: {nested}"
        assert len(refusal(text)) < 200, f"seen for {key}: {refusal(text)[:300]}"
