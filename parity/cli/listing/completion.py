"""parity completion: a script for the shell, made from the parser, that completes commands, options and names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from textwrap import shorten

from parity import catalog
from parity.causes import CAUSES
from parity.cli.exits import DONE
from parity.cli.parser import COMMANDS, parser

FILES = {"F", "F.py", "M:A", "PATH", "REPORT.json", "SRC", "DST", "[NAME=]SPEC"}
"""What stands in the help for values that are, or may be, files."""
COMMITS = "git for-each-ref --format='%(refname:short)' 2>/dev/null"
"""Lists the branches and tags, which values called COMMIT may be."""
LONGEST = 60
"""Characters of a description in a list."""

BASH = """\
# parity completion bash: eval "$(parity completion bash)", or a file in ~/.local/share/bash-completion/completions/
_parity() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}} words= front=
    COMPREPLY=()
    if [ "$COMP_CWORD" -le 1 ]; then
        COMPREPLY=($(compgen -W "{commands} --help --version" -- "$word"))
        return
    fi
    case "$before $word" in
        -*' =') before=$before word= ;;  # bash parts --option=value in three
        '= '*) before=${{COMP_WORDS[COMP_CWORD-2]}} ;;
        *' --'*=*) before=${{word%%=*}} front=${{word%%=*}}= word=${{word#*=}} ;;  # zsh does not
    esac
    case "$command $before" in
{values}
    esac
    case "$word" in
        -*) case "$command" in
{options}
            esac ;;
        *) case "$command" in
{names}
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _parity parity
"""
ZSH = """\
# parity completion zsh: eval "$(parity completion zsh)" behind compinit in ~/.zshrc
autoload -U +X bashcompinit && bashcompinit
"""


def run(options: argparse.Namespace) -> int:
    """Print the script of one shell."""
    print(script(options.shell), end="")
    return DONE


def script(shell: str) -> str:
    """The script.

    Args:
        shell: "bash", "zsh" or "fish".
    """
    if shell == "fish":
        return "\n".join(["# parity completion fish | source", *_fish()]) + "\n"
    return (ZSH if shell == "zsh" else "") + _bash()


def _bash() -> str:
    options, names, values = [], [], []
    for command, made in _commands():
        flags = [flag for action in made._actions for flag in action.option_strings]
        options.append(f'            {command}) words="{" ".join(flags)}" ;;')
        if _names(command):
            names.append(f'            {command}) words="{" ".join(_names(command))}" ;;')
        for action in made._actions:
            if not action.option_strings or action.nargs == 0:
                continue
            pattern = "|".join(f'"{command} {flag}"' for flag in action.option_strings)
            values.append(f"        {pattern}) {_bash_value(action)} return ;;")
    return BASH.format(
        commands=" ".join(COMMANDS),
        values="\n".join(values),
        options="\n".join(options),
        names="\n".join(names),
    )


def _bash_value(action: argparse.Action) -> str:
    """What completes the value of an option in bash; nothing where it may be anything."""
    if action.choices:
        words = f'-W "{" ".join(action.choices)}"'
    elif action.metavar == "COMMIT":
        words = f'-W "$({COMMITS})"'
    elif action.metavar in FILES:
        words = "-f"
    else:
        return ""
    return f'COMPREPLY=($(compgen -P "$front" {words} -- "$word"));'


def _fish() -> Iterator[str]:
    first = "not __fish_seen_subcommand_from " + " ".join(COMMANDS)
    yield "complete -c parity -f"
    for flag, text in (("help", "show the commands"), ("version", "show the version")):
        yield f"complete -c parity -n '{first}' -l {flag} -d '{text}'"
    for command, (text, _) in COMMANDS.items():
        yield f"complete -c parity -n '{first}' -a {command} -d {_quoted(text)}"
    for command, made in _commands():
        here = f"complete -c parity -n '__fish_seen_subcommand_from {command}'"
        if _names(command):
            yield f"{here} -a '{' '.join(_names(command))}'"
        for action in made._actions:
            if not action.option_strings:
                continue
            flags = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                for flag in action.option_strings
            )
            text = shorten((action.help or "").partition("; ")[0], LONGEST, placeholder=" ...")
            yield f"{here} {flags}{_fish_value(action)} -d {_quoted(text)}"


def _fish_value(action: argparse.Action) -> str:
    """What completes the value of an option in fish; nothing where it has none."""
    if action.nargs == 0:
        return ""
    if action.choices:
        return f" -x -a '{' '.join(action.choices)}'"
    if action.metavar == "COMMIT":
        return f" -x -a {_quoted(f'({COMMITS})')}"
    return " -r -F" if action.metavar in FILES else " -x"


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    (commands,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    yield from commands.choices.items()


def _names(command: str) -> list[str]:
    """What may stand without an option."""
    pairs = list(catalog.entries())
    known = {"check": pairs, "bisect": pairs, "causes": list(CAUSES), "completion": ["bash", "zsh", "fish"]}
    return known.get(command, [])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
