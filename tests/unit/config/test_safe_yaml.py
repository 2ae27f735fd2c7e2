"""Wrong YAML: one line that names the place and the remedy."""

import tracemalloc

import pytest

from plancton.config.load import parse
from plancton.config.repository_limits import Allow
from plancton.config.safe_yaml import ConfigError, read_yaml


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
    "worker: *w": ("line 1, column 9: ", "aliases (*w) are not supported: write the value out"),
    "pool: &p {spawn_per_tick: 1}\nyield: *p": ("line 2, column 8: ", "write the value out"),
    "- *w": ("line 1, column 3: ", "aliases (*w) are not supported"),
    "? *w\n: 1": ("line 1, column 3: ", "aliases (*w) are not supported"),
    "influxdb_url: &u x\nimage_name: *u": ("line 2, column 13: ", "aliases (*u) are not supported"),
    "pool: [" + "1, " * 20_001 + "]": ("line 1, column ", "more than 20000 keys and values"),
    "a\0b": ("line 1, column 2: ", "U+0000 is not allowed"),
    "pool: {}\nworker: !!python/object/apply:os.system [id]": ("line 2, column 9: ", "os.system"),
    "worker:\n  cpus: 1\n  cpus: 2": ("line 3, column 3: ", "key 'cpus' is given twice"),
    "1: 2": ("line 1, column 1: ", "put it in quotes"),
    "yes: 2": ("line 1, column 1: ", "put it in quotes"),
    "? [a]\n: 1": ("line 1, column 3: ", "a key must be text"),
    "worker:\n  <<: {cpus: 1}": ("line 2, column 3: ", "merge keys"),
    "worker: {cpus: 2020-99-01}": ("line 1, column 16: ", "put it in quotes"),
    "worker: {user: !!int x}": ("line 1, column 16: ", "'x' is not what it looks like"),
    'worker: {user: "a\\0b"}': ("line 1, column 16: ", "null bytes"),
    'worker: {user: "\\ud800"}': ("line 1, column 16: ", "halves of characters"),
    "[" * 33: ("line 1, column 33: ", "too deep"),
    "[" * 200_000: ("line 1, column 33: ", "too deep"),
    "a:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 50)): ("line 32, column 32: ", "too deep"),
    "wroker: {}": ("wroker: ", "did you mean 'worker'?"),
    "zebra: {}": ("zebra: ", "known: htcondor, image, worker, pool, owner, yield, docker, config"),
    "worker: {cpu: 1}": ("worker.cpu: ", "did you mean 'cpus'?"),
    "yield: {zebra: 1}": (
        "yield.zebra: ",
        "known: grace_kill, grace_spawn, stake, longest_wait, worthwhile, cap",
    ),
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
    """Aliases that stand for any amount of values are refused before one is written out: by an
    ordinary key, in an unknown one, in 0.6's form and in allow.yaml."""
    nested = "&a0 [x, x]"
    for n in range(1, 20):
        nested = f"&a{n} [{nested}, *a{n - 1}]"
    assert len(nested) < 488
    tracemalloc.start()
    for key in ("worker:\n  command: ", "worker:\n  memory: ", "a0: ", "docker_cmd: "):
        assert "aliases (*a" in refusal(f"{key}{nested}")
    with pytest.raises(ConfigError, match=r"^allow.yaml: line 1, column .*aliases"):
        read_yaml(f"mounts: {nested}", "allow.yaml", Allow)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


WRITTEN = (
    *("3.10", "0022", "0123", "12:30", "1_000", "1e3", "0x1F", "0b11", "1.0", "00042", "9007199254740993"),
    *(
        ".5",
        "-1",
        "+1",
        "yes",
        "No",
        "on",
        "OFF",
        "true",
        "False",
        "2026-01-01",
        "2020-99-01",
        ".inf",
        "1:2:3",
    ),
)


@pytest.mark.parametrize("text", WRITTEN)
def test_text_is_as_written(text: str) -> None:
    """Whatever YAML takes a plain word for, it stays text as written where the schema wants text:
    a variable and its name, a word of a command, a user, a tag, a label."""
    worker = parse(
        f"worker: {{environment: {{{text}: {text}}}, command: [{text}], user: {text}}}", "F"
    ).worker
    assert worker.environment == {text: text} and worker.command == [text] and worker.user == text
    quoted = parse(f'worker: {{environment: {{A: "{text}"}}}}', "F").worker
    assert quoted.environment == {"A": text}


def test_what_is_no_text() -> None:
    """Nothing is not text, nor is what has another tag; a number stays one where one is wanted."""
    assert "not nothing" in refusal("worker: {environment: {A: }}")
    assert "not nothing" in refusal("worker: {environment: {A: ~}}")
    config = parse("worker: {cpus: 2, memory: 100000000}\npool: {max_workers: 3}", "F")
    assert (config.worker.cpus, int(config.worker.memory), config.pool.max_workers) == (2, 100_000_000, 3)


@pytest.mark.parametrize("text", ["010", "1:30"])
def test_an_expression_is_no_octal_number(text: str) -> None:
    """An expression that YAML takes for another number is refused instead of being that number."""
    assert "pool.max_workers: " in refusal(f"pool: {{max_workers: {text}}}")
