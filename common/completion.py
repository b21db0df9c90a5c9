"""Completion of `python -m MODULE ...` in bash and zsh.

Shells choose a completion by the name of the program, which is `python` here. One script therefore
serves all command lines of the project: it asks the module that stands after `-m`, and leaves all
other uses of Python to what the shell does by itself.
"""

import click
from click import shell_completion

SHELLS = ("bash", "zsh")
"""Shells that words can be completed in."""
VARIABLE = "_GRID_LSTM_COMPLETE"
"""Variable by which a script asks a command for completions."""

_BASH = """\
_grid_lstm() {
    case "$COMP_CWORD ${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
        [012]\\ *) return ;;
        *\\ -m\\ benchmarks.*|*\\ -m\\ experiments|*\\ -m\\ model) ;;
        *\\ -m\\ pipeline|*\\ -m\\ serving) ;;
        *) return ;;
    esac
    local IFS=$'\\n' completion type value
    for completion in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \
            %(complete_var)s=bash_complete "$1" -m "${COMP_WORDS[2]}"); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
}
# Where there is nothing to say, the shell completes names of files as it does without this.
complete -o nosort -o bashdefault -o default -F _grid_lstm python python3
"""
_ZSH = """\
_grid_lstm() {
    if (( CURRENT < 4 )) || [[ $words[2] != -m || \
            $words[3] != (benchmarks.*|experiments|model|pipeline|serving) ]]; then
        (( $+functions[_python] )) && _python "$@" || _default "$@"
        return
    fi
    local -a response plain described
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \
        %(complete_var)s=zsh_complete $words[1] -m $words[3])}")
    local type key text
    for type key text in $response; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain) [[ $text == _ ]] && plain+=($key) || described+=("$key:$text") ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
}
(( $+functions[_python] )) || autoload -Uz +X _python 2>/dev/null
compdef _grid_lstm python python3
"""


class _AfterModule(shell_completion.ShellComplete):
    """Completes the words after `-m MODULE`."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Returns the whole words of the command line, and the one to complete.

        Options with dashes are accepted, and completed as they are spelled.
        """
        arguments, incomplete = super().get_completion_args()
        if incomplete.startswith("--"):
            incomplete = "--" + incomplete[2:].replace("-", "_")
        return arguments[2:], incomplete


class _Bash(_AfterModule, shell_completion.BashComplete):
    source_template = _BASH


class _Zsh(_AfterModule, shell_completion.ZshComplete):
    source_template = _ZSH


def register() -> None:
    """Makes Click answer the scripts of this module in place of its own."""
    for shell in (_Bash, _Zsh):
        shell_completion.add_completion_class(shell)


def script(command: click.Command, shell: str) -> str:
    """Returns the script that completes words in a shell, the same for all commands.

    Args:
      command: A command.
      shell: Name of the shell, one of `SHELLS`.
    """
    register()
    chosen = shell_completion.get_completion_class(shell)
    assert chosen is not None  # it is registered
    return chosen(command, {}, "python", VARIABLE).source()
