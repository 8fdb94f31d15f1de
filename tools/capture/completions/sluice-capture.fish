# Completion of sluice-capture(1) for fish.

function __sluice_capture_in
  __fish_seen_subcommand_from $argv
end

complete -c sluice-capture -n __fish_use_subcommand -f
complete -c sluice-capture -n __fish_use_subcommand -a ls -d 'List the connections'
complete -c sluice-capture -n __fish_use_subcommand -a stat -d 'Print counts of segments, records, bytes and gaps'
complete -c sluice-capture -n __fish_use_subcommand -a cat -d 'Write one side of a connection to stdout'
complete -c sluice-capture -n __fish_use_subcommand -a show -d 'Print the records as text, with their times'
complete -c sluice-capture -n __fish_use_subcommand -a follow -d 'Print records as they are written, until SIGINT'
complete -c sluice-capture -n __fish_use_subcommand -a extract -d 'Write a file per connection side, and index.json'
complete -c sluice-capture -n __fish_use_subcommand -a export -d 'Write frames for Wireshark, or lines of JSON'
complete -c sluice-capture -n __fish_use_subcommand -a search -d 'Find where the bytes of a stream match a pattern'
complete -c sluice-capture -n __fish_use_subcommand -a verify -d 'Check that nothing is missing or damaged'
complete -c sluice-capture -n __fish_use_subcommand -a recover -d 'Write everything that is intact into a new capture'
complete -c sluice-capture -n __fish_use_subcommand -l version -d 'Print the version and exit'
complete -c sluice-capture -l help -d 'Print help and exit'
complete -c sluice-capture -n '__sluice_capture_in ls stat cat show follow extract search verify recover' -l json -d 'Print JSON, for programs'
set -l filtered '__sluice_capture_in show follow export search'
complete -c sluice-capture -n '__sluice_capture_in cat show follow export search' -l connection -x -d 'Select the connection with this id, as sluice-capture ls shows it'
complete -c sluice-capture -n '__sluice_capture_in cat show follow export search' -l side -x -a 'client upstream' -d 'Select the bytes that this side sent: client or upstream'
complete -c sluice-capture -n $filtered -l peer -x -d 'Select connections whose client or upstream has one of these addresses, such as 10.0.0.0/8'
complete -c sluice-capture -n $filtered -l port -x -d 'Select connections whose client or upstream has this port'
complete -c sluice-capture -n $filtered -l route -x -d 'Select connections of this route'
complete -c sluice-capture -n $filtered -l from -x -d 'Select what was recorded from this time on'
complete -c sluice-capture -n $filtered -l until -x -d 'Select what was recorded before this time'
complete -c sluice-capture -n $filtered -l to -x -d 'Select what was recorded before this time'
complete -c sluice-capture -n '__sluice_capture_in cat' -l skip-gaps -d 'Go on behind missing bytes'
complete -c sluice-capture -n '__sluice_capture_in show follow' -l hex -d 'Print bytes as hexadecimal numbers'
complete -c sluice-capture -n '__sluice_capture_in follow' -l until-idle -x -d 'End after this time without a new record, such as 5s'
complete -c sluice-capture -n '__sluice_capture_in extract recover' -l out -x -a '(__fish_complete_directories)' -d 'Write to this directory, which must be new or empty'
complete -c sluice-capture -n '__sluice_capture_in export' -l pcapng -r -F -d 'Write Ethernet frames to this new file'
complete -c sluice-capture -n '__sluice_capture_in export' -l jsonl -r -F -d 'Write a JSON object for each record to this new file'
complete -c sluice-capture -n '__sluice_capture_in search' -l text -x -d 'Find these bytes'
complete -c sluice-capture -n '__sluice_capture_in search' -l hex -x -d 'Find these bytes, written as hexadecimal numbers'
complete -c sluice-capture -n '__sluice_capture_in search' -l regex -x -d 'Find matches of this extended regular expression'
