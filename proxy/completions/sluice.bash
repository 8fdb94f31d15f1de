# Completion of sluice(1) for bash.

_sluice_address() {
  local schemes=("unix:" "$@")
  # Readline takes the colon for the end of a word, and a path after it for a word of its own.
  case $current in
    unix:* | file:*) mapfile -t COMPREPLY < <(compgen -f -P "${current%%:*}:" -- "${current#*:}") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "${schemes[*]}" -- "$current") ;;
  esac
  compopt -o nospace
  if declare -F __ltrim_colon_completions > /dev/null; then
    __ltrim_colon_completions "$current"
  fi
}

_sluice() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  if declare -F _get_comp_words_by_ref > /dev/null; then
    local cur prev
    _get_comp_words_by_ref -n : cur prev
    current=$cur previous=$prev
  fi
  COMPREPLY=()
  case $previous in
    --listen | --admin) _sluice_address ;;
    --to) _sluice_address "dns:" "srv:" "file:" "discard:" "echo:" ;;
    --config | --log-file | --admin-token-file | --takeover-socket) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --capture) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    --durability)
      mapfile -t COMPREPLY < <(compgen -W "none interval batch before-forward" -- "$current")
      ;;
    --capture-full) mapfile -t COMPREPLY < <(compgen -W "auto block drop close" -- "$current") ;;
    --capture-io) mapfile -t COMPREPLY < <(compgen -W "auto buffered" -- "$current") ;;
    --capture-direction)
      mapfile -t COMPREPLY < <(compgen -W "both client upstream" -- "$current")
      ;;
    --mirror) _sluice_address ;;
    --mirror-on-lag) mapfile -t COMPREPLY < <(compgen -W "disconnect shed" -- "$current") ;;
    --mirror-max-lag | --mirror-sample | --mirror-buffers) ;;
    --congestion) mapfile -t COMPREPLY < <(compgen -W "auto system" -- "$current") ;;
    --balance)
      mapfile -t COMPREPLY < <(compgen -W "two-choices round-robin least-connections source-hash" -- "$current")
      ;;
    --proxy-in) mapfile -t COMPREPLY < <(compgen -W "off required trusted" -- "$current") ;;
    --proxy-out) mapfile -t COMPREPLY < <(compgen -W "off v1 v2" -- "$current") ;;
    --proxy-trust | --allow | --deny | --admin-host) ;;
    --health) mapfile -t COMPREPLY < <(compgen -W "none tcp exchange" -- "$current") ;;
    --zero-copy) mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$current") ;;
    --engine) mapfile -t COMPREPLY < <(compgen -W "auto uring epoll" -- "$current") ;;
    --cpu-affinity) mapfile -t COMPREPLY < <(compgen -W "auto none" -- "$current") ;;
    --log-level)
      mapfile -t COMPREPLY < <(compgen -W "trace debug info warn error off" -- "$current")
      ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W "text json" -- "$current") ;;
    -h | --help)
      mapfile -t COMPREPLY < <(compgen -W "all routes servers clients timeouts capture mirror log admin workers transfer general" -- "$current")
      ;;
    --connect-timeout | --idle-timeout | --half-close-timeout | --drain-timeout | --lame-duck | --takeover-drain | --busy-poll | --hedge-after) ;;
    --capture-limit | --capture-buffers | --segment-size | --retain-size) ;;
    --flush-interval | --sync-interval | --segment-time | --retain-age) ;;
    --workers | --retries | --max-connections | --pipe-size | --pipe-budget) ;;
    *)
      local options="--listen --to --config --check --zero-copy --congestion --balance --retries --hedge-after --health --allow --deny --proxy-in --proxy-trust --proxy-out --connect-timeout --idle-timeout
        --half-close-timeout --capture --durability --capture-full --capture-exact
        --capture-io --capture-direction --capture-limit --flush-interval --sync-interval --segment-size
        --segment-time --retain-size --retain-age --mirror --mirror-max-lag --mirror-on-lag
        --mirror-sample --mirror-buffers --capture-buffers --drain-timeout --lame-duck --takeover-drain --workers --engine --busy-poll --max-connections --cpu-affinity
        --pipe-size --pipe-budget --log-level --log-format --log-file --admin --admin-host --admin-token-file --takeover-socket --takeover --version --help"
      mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
      ;;
  esac
}

complete -F _sluice sluice
