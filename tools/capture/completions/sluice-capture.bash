# Completion of sluice-capture(1) for bash.

_sluice_capture() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  local filters="--connection --side --peer --port --route --from --until --to" options= common="--json --help"
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "ls stat cat show follow extract export search verify recover
      --help --version" -- "$current")
    return
  fi
  case $previous in
    -h | --help)
      ((COMP_CWORD == 2)) && mapfile -t COMPREPLY < <(compgen -W "all ls stat cat show follow extract export search verify recover" -- "$current")
      return
      ;;
    --side)
      mapfile -t COMPREPLY < <(compgen -W "client upstream" -- "$current")
      return
      ;;
    --out)
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
    --connection | --peer | --port | --route | --from | --until | --to | --until-idle | --text | --regex | --mtu) return ;;
  esac
  [[ $previous == --hex && $command == search ]] && return
  case $command in
    cat) options="--connection --side --skip-gaps" ;;
    show) options="$filters --hex" ;;
    follow) options="$filters --hex --until-idle" ;;
    extract | recover) options="--out" ;;
    export) options="$filters --pcapng --mtu --keylog --jsonl" common=--help ;;
    search) options="$filters --text --hex --regex" ;;
  esac
  compopt -o filenames
  mapfile -t COMPREPLY < <(
    [[ $current != -* ]] || compgen -W "$options $common" -- "$current"
    compgen -f -- "$current"
  )
}

complete -F _sluice_capture sluice-capture
