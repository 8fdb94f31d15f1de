# Completion of sluice-capture(1) for fish.

function __sluice_capture_in
  __fish_seen_subcommand_from $argv
end

complete -c sluice-capture -n __fish_use_subcommand -f
complete -c sluice-capture -n __fish_use_subcommand -a ls -d 'The connections'
complete -c sluice-capture -n __fish_use_subcommand -a stat -d 'What there is, in numbers'
complete -c sluice-capture -n __fish_use_subcommand -a cat -d 'The bytes of one side of a connection'
complete -c sluice-capture -n __fish_use_subcommand -a show -d 'The records, readable'
complete -c sluice-capture -n __fish_use_subcommand -a follow -d 'The same while it is being written'
complete -c sluice-capture -n __fish_use_subcommand -a extract -d 'A file for each side of each connection'
complete -c sluice-capture -n __fish_use_subcommand -a export -d 'Frames for Wireshark, or lines of JSON'
complete -c sluice-capture -n __fish_use_subcommand -a search -d 'Where the bytes of a stream match'
complete -c sluice-capture -n __fish_use_subcommand -a verify -d 'Whether all that was recorded is there'
complete -c sluice-capture -n __fish_use_subcommand -a recover -d 'All that is good, as a new capture'
complete -c sluice-capture -n __fish_use_subcommand -l version -d 'Say the version'
complete -c sluice-capture -l help -d 'Say what there is'
complete -c sluice-capture -n '__sluice_capture_in ls stat cat show follow extract search verify recover' -l json -d 'For programs'
set -l filtered '__sluice_capture_in show follow export search'
complete -c sluice-capture -n '__sluice_capture_in cat show follow export search' -l connection -x -d 'Its id'
complete -c sluice-capture -n '__sluice_capture_in cat show follow export search' -l side -x -a 'client upstream' -d 'Whose bytes'
complete -c sluice-capture -n $filtered -l peer -x -d "The client's or the upstream's address (CIDR)"
complete -c sluice-capture -n $filtered -l port -x -d "The client's or the upstream's"
complete -c sluice-capture -n $filtered -l route -x -d "The route's name"
complete -c sluice-capture -n $filtered -l from -x -d 'Not before'
complete -c sluice-capture -n $filtered -l until -x -d 'Before'
complete -c sluice-capture -n $filtered -l to -x -d 'Before'
complete -c sluice-capture -n '__sluice_capture_in cat' -l skip-gaps -d 'Go on behind missing bytes'
complete -c sluice-capture -n '__sluice_capture_in show follow' -l hex -d 'Bytes as hexadecimal numbers'
complete -c sluice-capture -n '__sluice_capture_in follow' -l until-idle -x -d 'End once nothing has come for so long'
complete -c sluice-capture -n '__sluice_capture_in extract recover' -l out -x -a '(__fish_complete_directories)' -d 'A new or empty directory'
complete -c sluice-capture -n '__sluice_capture_in export' -l pcapng -r -F -d 'Frames, to this new file'
complete -c sluice-capture -n '__sluice_capture_in export' -l jsonl -r -F -d 'Lines of JSON, to this new file'
complete -c sluice-capture -n '__sluice_capture_in search' -l text -x -d 'These bytes'
complete -c sluice-capture -n '__sluice_capture_in search' -l hex -x -d 'These bytes, as hexadecimal numbers'
complete -c sluice-capture -n '__sluice_capture_in search' -l regex -x -d 'An extended regular expression'
