"""What the rules in a configuration ask for, with the signals as a test has them."""

import json
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plancton.config.load import parse
from plancton.config.owner_rules import LEAST_CAP, Rules
from plancton.config.profiles import PROFILES, settings_of
from plancton.config.rule_checks import doubtful_rules
from plancton.config.safe_yaml import ConfigError
from plancton.config.show import example
from plancton.host.signals.catalog import Reference, say
from plancton.model import OwnerRules

NIGHT = time.struct_time((2024, 1, 3, 23, 15, 0, 2, 3, 0))
NOON = time.struct_time((2024, 1, 3, 12, 0, 0, 2, 3, 0))


class Values:
    """Signals that a test has set; all others are unknown."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self.values = {tuple(name.split()): value for name, value in values.items()}
        self.read_ones: list[Reference] = []

    def read(self, reference: Reference) -> float | None:
        self.read_ones.append(reference)
        return self.values.get(reference)

    def describe(self, reference: Reference) -> str:
        return say(reference, self.values[reference])


def rules(**owner: object) -> Rules:
    return Rules(parse(json.dumps({"owner": owner}), "FILE"))


def judged(
    owner: Mapping[str, object], values: Mapping[str, float], local: time.struct_time = NOON
) -> OwnerRules:
    return rules(**owner).judge(Values(values), 8.0, local)


@pytest.mark.parametrize(
    ("rule", "values", "words"),
    [
        ("on_battery", {"on_battery": True}, "on battery"),
        ("on_battery", {"on_battery": False}, ""),
        ("not on_battery", {"on_battery": False}, "on mains power"),
        ("on_battery or hour < 8", {"on_battery": True, "hour": 7}, "on battery"),
        ("sessions > 0 and hour < 8", {"sessions": 2, "hour": 7}, "logged in: 2 and it is 7 o'clock"),
        ("battery < 30", {"battery": 12.4}, "the battery has 12 %"),
        ('running("steam", "zoom")', {"running steam zoom": True}, "steam or zoom runs"),
        ('between("22:00", "07:00")', {"between 22:00 07:00": True}, "between 22:00 and 07:00"),
        ("idle_seconds < 600", {"idle_seconds": 42}, "last input 42s ago"),
        ("weekday >= 6", {"weekday": 6}, "it is Saturday"),
        ("temperature > 80", {"temperature": 91}, "the CPU has 91 °C"),
        ("1 < 2", {}, "owner.pause_when is '1 < 2'"),
    ],
)
def test_conditions(rule: str, values: dict[str, float], words: str) -> None:
    """A condition that holds gives its reason in words; one that doesn't gives none."""
    assert judged({"pause_when": rule}, values) == OwnerRules(pause=words)
    assert judged({"leave_when": rule}, values).leave == words.replace("pause_when", "leave_when")


@pytest.mark.parametrize("rule", ["battery < 30", "not metered", "battery < 30 and sessions > 0"])
def test_unknown(rule: str) -> None:
    """A condition that is unknown does not hold, and it is said which signal is."""
    found = judged({"pause_when": rule}, {"sessions": 1})
    assert found.pause == ""
    assert found.unknown.startswith("owner.pause_when: ") and found.unknown.endswith(" is unknown")


def test_failing() -> None:
    """A rule that can't be computed now does not hold, and it is said why."""
    found = judged({"pause_when": "10 / battery > 1", "cpu_cap": "8 // hour"}, {"battery": 0, "hour": 0})
    assert (found.pause, found.cap) == ("", None)
    assert "owner.pause_when" in found.unknown and "owner.cpu_cap" in found.unknown


@pytest.mark.parametrize(
    ("cap", "values", "expected"),
    [
        (2, {}, 2),
        (0.5, {}, 0.5),
        ("50%", {}, 4),
        (" 12.5 % ", {}, 1),
        ("100%", {}, None),
        (8, {}, None),
        (100, {}, None),
        ('"25%" if sessions else "100%"', {"sessions": 1}, 2),
        ('"25%" if sessions else "100%"', {"sessions": 0}, None),
        ('"25%" if sessions else "100%"', {}, None),
        ("ncpus - 2 if sessions else ncpus", {"sessions": 1}, 6),
        ("2 - owner_cpus", {"owner_cpus": 5}, LEAST_CAP),
        ("9" * 400, {}, None),
    ],
)
def test_cap(cap: object, values: dict[str, float], expected: float | None) -> None:
    """A number of CPUs, a percentage of all, or an expression that gives one; none that is no limit."""
    assert judged({"cpu_cap": cap}, values).cap == expected


def test_hours() -> None:
    """Outside of the hours workers leave."""
    hours = {"hours": "22:00-07:00"}
    assert judged(hours, {}, NIGHT) == OwnerRules()
    assert "22:00-07:00" in judged(hours, {}, NOON).leave


def test_temperature() -> None:
    """The temperature is read where a maximum is set; where it is unknown, that is said."""
    assert judged({"max_temperature": 75}, {"temperature": 61}).temperature == 61
    assert "temperature is unknown" in judged({"max_temperature": 75}, {}).unknown


def test_without_rules() -> None:
    """Without rules nothing is read, and nothing asked for."""
    none = rules()
    values = Values({})
    assert not none and none.references == ()
    assert none.judge(values, 8.0, NOON) == OwnerRules() and values.read_ones == []


def test_references() -> None:
    """It tells which signals are used, each once."""
    used = rules(
        pause_when='on_battery or running("zoom")', leave_when="on_battery", cpu_cap="ncpus / 2",
        max_temperature=70,
    )  # fmt: skip
    assert used.references == (("on_battery",), ("running", "zoom"), ("temperature",))


BAD = {
    ("pause_when", "on_batery"): "did you mean 'on_battery'?",
    ("pause_when", 'between("22:00", "7")'): "'7' is not a time of day",
    ("pause_when", 'between("25:00", "07:00")'): "'25:00' is not a time of day",
    ("pause_when", "between(22, 7)"): "takes texts in quotes only",
    ("pause_when", "running(steam)"): 'such as running("…")',
    ("pause_when", 'running("/usr/bin/steam")'): "is not a program's name",
    ("pause_when", "running()"): "takes programs' names",
    ("leave_when", "runing('steam')"): "did you mean 'running'?",
    ("leave_when", '"yes"'): "not 'yes'",
    ("leave_when", "ncpus > 2"): "unknown name 'ncpus'",
    ("cpu_cap", "150%"): "is not a percentage",
    ("cpu_cap", "0%"): "is not a percentage",
    ("cpu_cap", '"25%" if sessions else "250%"'): "'250%' is not a percentage",
    ("cpu_cap", '"half" if sessions else "100%"'): "'half' is not a percentage",
    ("cpu_cap", 0): "leaves the workers nothing",
    ("cpu_cap", -1): "leaves the workers nothing",
    ("cpu_cap", "min(2, 3"): "is not an expression",
    ("hours", "22:00-25:00"): "'25:00' is not a time of day",
    ("hours", "nights"): "is not a day",
    ("pause_hold", "2h"): "must be at most 1h",
    ("max_temperature", 20): "must be from 30 to 110",
}


@pytest.mark.parametrize("key", BAD, ids=lambda key: f"{key[0]} {str(key[1])[:30]}")
def test_bad_input(key: tuple[str, object]) -> None:
    """What can't be meant is refused when it is read, in one line that begins with the key."""
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps({"owner": dict([key])}), "FILE")
    said = str(caught.value)
    assert said.startswith(f"FILE: owner.{key[0]}: ") and BAD[key] in said and "\n" not in said


# ---------------------------------------------------------------- rules that were not meant so


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("hour >= 22 and hour < 7", "can never be true; over midnight write between"),
        ("hour > 24", "can never be true"),
        ("battery > 100", "can never be true"),
        ("sessions < 0", "can never be true"),
        ("on_battery and not on_battery", "can never be true"),
        ('between("8:00", "12:00") and hour >= 12', "can never be true"),
        ("weekday == 0", "can never be true"),
        ("3 < 2", "can never be true"),
        ("temperature > 80 and temperature < 79.9", "can never be true"),
        ("idle_seconds >= 0", "is always true"),
        ("on_battery or not on_battery", "is always true"),
        ("hour < 24", "is always true"),
        ("hour >= 22 or hour < 7", ""),
        ("battery > 50 and battery < 50.001", ""),
        ("on_battery and battery < 40", ""),
        ("weekday >= 6 or between('22:00', '7:00')", ""),
        ("hour % 2 == 1", ""),
        ("sessions", ""),
        ("owner_cpus * 2 < -1", ""),
        ("10 if temperature > 90 else 0", ""),
    ],
)
def test_never_and_always(rule: str, said: str) -> None:
    """A rule that no values make true, or all, is named; nothing is said where that is not sure."""
    found = list(doubtful_rules(rules(pause_when=rule)))
    assert len(found) == bool(said) and all(said in each for each in found), found


COMPARED = st.builds(
    "{} {} {}".format,
    st.sampled_from(["on_battery", "battery", "hour", "sessions", "idle_seconds"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.sampled_from([-1, 0, 0.5, 1, 5, 23, 24, 50, 100, 900]),
)
WHOLE_RULES = st.recursive(
    COMPARED,
    lambda part: st.one_of(
        st.builds("({} and {})".format, part, part),
        st.builds("({} or {})".format, part, part),
        st.builds("(not {})".format, part),
    ),
    max_leaves=5,
)
SOME = st.fixed_dictionaries({
    "on_battery": st.booleans(),
    "battery": st.floats(0, 100),
    "hour": st.integers(0, 23),
    "sessions": st.integers(0, 5),
    "idle_seconds": st.floats(0, 900),
})  # fmt: skip


@given(WHOLE_RULES, st.lists(SOME, min_size=20, max_size=20))
@settings(max_examples=60)
def test_never_is_never(rule: str, tried: list[dict[str, float]]) -> None:
    """Of a rule that is called never or always true no values show the contrary."""
    found = "".join(doubtful_rules(rules(pause_when=rule)))
    for values in tried:
        holds = bool(judged({"pause_when": rule}, values).pause)
        assert not (holds and "never" in found), f"{rule} holds for {values}"
        assert holds or "always" not in found, f"{rule} does not hold for {values}"


@pytest.mark.parametrize(
    ("cap", "said"),
    [
        ("on_battery", "is neither a number of CPUs nor a percentage"),
        ("4 if sessions else 0", "to let workers have nothing"),
        ('"50%" if idle_seconds < 600 else "100%"', ""),
        ("max(1, ncpus - sessions)", ""),
        ("4 / hour", ""),
    ],
)
def test_doubtful_caps(cap: str, said: str) -> None:
    """A cap that may be no number of CPUs is named."""
    found = list(doubtful_rules(rules(cpu_cap=cap)))
    assert len(found) == bool(said) and all(said in each for each in found), found


# ---------------------------------------------------------------- profiles


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles(profile: str) -> None:
    """Each profile is a good configuration without a doubtful rule, and each setting has a reason."""
    config = parse(example(settings_of(profile)), "FILE")
    assert list(doubtful_rules(Rules(config))) == []
    changed = {key for key in PROFILES[profile] if getattr(config.owner, key.removeprefix("owner."))}
    assert changed == set(PROFILES[profile]) and all(each.why for each in PROFILES[profile].values())


def test_unknown_profile() -> None:
    with pytest.raises(ValueError, match="'tablet' is none of laptop, desktop, server, lab"):
        settings_of("tablet")
