"""What a container's command line tells an engine: options in command, args and shell scripts.

Spellings: `--shutdown-timeout=60`, two words, underscores for dashes (vLLM takes both). `$(NAME)`, and in a
shell `$NAME` and `${NAME}`, are replaced where the container's `env` gives a value. What a configuration
file says is not seen here: an option that is absent then is unknown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.kube.api.plain import Plain, parts, text, texts

_SCRIPT_CHARACTERS_MAX = 100_000
"""Of one script: Kubernetes starts none that is longer (128 KiB for one argument)."""
_SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh"})
_WRAPPERS_MAX = 3
"""Words before a shell: `tini -- sh -c`, `env sh -c`."""
_FILES = ("--config", "--config-file")
_VARIABLE = re.compile(r"\$\(([A-Za-z_][\w.-]*)\)")
_SHELL_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")
_UNCLEAR = re.compile(r"[$`]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """The words that a container is started with, as far as they can be told."""

    words: tuple[str, ...]
    complete: bool
    """False: a file, a script that cannot be read or an image's own entry point may say more."""

    def value(self, *names: str) -> str | None:
        """Return the last value of an option under one of its names; None: it is not given."""
        values = self.values(*names)
        return values[-1] if values else None

    def values(self, *names: str) -> list[str]:
        """Return all values of an option; one without a value, or with an unclear one, is `?`."""
        found = []
        for index, word in enumerate(self.words):
            name, equals, value = word.partition("=")
            if name.replace("_", "-") not in names:
                continue
            if not equals:
                value = self.words[index + 1] if index + 1 < len(self.words) else ""
            found.append("?" if not value or value.startswith("--") or unclear(value) else value)
        return found

    def has(self, *names: str) -> bool:
        """Tell whether an option is given, with a value or without."""
        return any(word.partition("=")[0].replace("_", "-") in names for word in self.words)

    def seconds(self, *names: str) -> float | None:
        """Return an option's value as a number; NaN where it cannot be told, None where it is absent."""
        value = self.value(*names)
        return None if value is None else number(value)


def unclear(value: str) -> bool:
    """Tell whether a word depends on what is not seen here."""
    return _UNCLEAR.search(value) is not None


def number(value: str) -> float:
    """Read a number >= 0; NaN where it is none."""
    return float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) else float("nan")


def environment(container: Plain) -> dict[str, str]:
    """Return the variables whose values stand in the object."""
    return {
        text(variable, "name"): text(variable, "value")
        for variable in parts(container, "env")
        if isinstance(variable.get("value"), str)
    }


def command_line(container: Plain) -> CommandLine:
    """Read what a container starts: its command and arguments, a shell's script taken apart."""
    given = environment(container)
    command = texts(container, "command")
    words = [_replaced(word, given) for word in (*command, *texts(container, "args"))]
    words, readable = spread(words, given)
    file = any(word.partition("=")[0].replace("_", "-") in _FILES for word in words)
    return CommandLine(words=tuple(words), complete=readable and not file)


def spread(words: list[str], given: Mapping[str, str]) -> tuple[list[str], bool]:
    """Take the script of `sh -c` apart into words; and whether all of it could be read."""
    shells = [at for at, word in enumerate(words) if word.rpartition("/")[2] in _SHELLS]
    if not shells or shells[0] > _WRAPPERS_MAX:
        return words, True
    begin = shells[0] + 1
    flag = next(
        (at for at in range(begin, len(words)) if re.fullmatch(r"-\w*c", words[at])), len(words)
    )
    if flag + 1 >= len(words):
        return words, False
    # words behind a script are its parameters: `$@` passes them on
    script, parameters = words[flag + 1], words[flag + 2 :]
    try:
        found = shlex.split(script[:_SCRIPT_CHARACTERS_MAX].replace("\\\n", " "), comments=True)
    except ValueError:  # a quotation that is not closed: a heredoc, mostly
        return [*script.split(), *parameters], False
    known = [_shell_replaced(word, given) for word in found]
    return [*known, *parameters], len(script) <= _SCRIPT_CHARACTERS_MAX


def _replaced(word: str, given: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: given.get(match[1], match[0]), word)


def _shell_replaced(word: str, given: Mapping[str, str]) -> str:
    # an operator may stand at the end of a word: `sleep 90; kill 1`
    word = word if len(word) == 1 else word.rstrip(";&|")
    return _SHELL_VARIABLE.sub(lambda match: given.get(match[1], match[0]), word)
