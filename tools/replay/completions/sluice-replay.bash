# Completion of sluice-replay(1) for bash.

_sluice_replay() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  case $previous in
    --to)
      mapfile -t COMPREPLY < <(compgen -W "unix:" -- "$current")
      compopt -o nospace
      ;;
    --speed) mapfile -t COMPREPLY < <(compgen -W "1x 10x 0.5x max" -- "$current") ;;
    -h | --help) mapfile -t COMPREPLY < <(compgen -W "all" -- "$current") ;;
    --json | --html) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --max-gap | --connections | --repeat | --response-timeout | --ignore | --ignore-pattern) ;;
    --connection | --peer | --port | --route | --from | --until) ;;
    *)
      if [[ $current == -* ]]; then
        local options="--to --speed --max-gap --connections --repeat --wait-responses --response-timeout
          --compare --ignore --ignore-pattern --json --html --connection
          --peer --port --route --from --until --version --help"
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
      else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames
      fi
      ;;
  esac
}

complete -F _sluice_replay sluice-replay
