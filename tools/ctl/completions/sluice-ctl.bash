# Completion of sluice-ctl(1) for bash.

_sluice_ctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' order='' i
  local commands="status routes servers connections captures mirrors kill drain undrain capture server log-level reload takeover ready top"
  local options="--socket --token-file --json --help" words=
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --socket | --token-file | --sort | --route | --limit | --count) ((i++)) ;;
      -*) ;;
      *) if [[ -z $command ]]; then command=${COMP_WORDS[i]}; else order=${COMP_WORDS[i]}; fi ;;
    esac
  done
  case $previous in
    --socket | --token-file)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      compopt -o filenames
      return
      ;;
    --sort)
      mapfile -t COMPREPLY < <(compgen -W "id bytes age idle" -- "$current")
      return
      ;;
    -h | --help)
      [[ -z $command ]] && mapfile -t COMPREPLY < <(compgen -W "all $commands" -- "$current")
      return
      ;;
    --route | --limit | --count) return ;;
  esac
  case $command in
    '') options+=" --version" words=$commands ;;
    connections) options+=" --route --sort --limit" ;;
    top) options="--socket --token-file --sort --count --help" ;;
    drain) options+=" --wait" ;;
    reload) options+=" --dry-run" ;;
    capture) words="on off" ;;
    server) words="up drain down" ;;
    log-level) words="trace debug info warn error off" ;;
  esac
  [[ -n $order ]] && words=
  [[ $current == -* ]] && words=$options
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _sluice_ctl sluice-ctl
