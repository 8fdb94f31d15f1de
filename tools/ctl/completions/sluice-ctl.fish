# Completion of sluice-ctl(1) for fish.

function __sluice_ctl_in
  __fish_seen_subcommand_from $argv
end

complete -c sluice-ctl -f
complete -c sluice-ctl -n __fish_use_subcommand -a status -d 'Print the state of the daemon'
complete -c sluice-ctl -n __fish_use_subcommand -a routes -d 'List the routes'
complete -c sluice-ctl -n __fish_use_subcommand -a servers -d 'List the servers of the routes, and their health'
complete -c sluice-ctl -n __fish_use_subcommand -a connections -d 'List the connections'
complete -c sluice-ctl -n __fish_use_subcommand -a captures -d 'List the capture directories'
complete -c sluice-ctl -n __fish_use_subcommand -a mirrors -d 'List the mirrors'
complete -c sluice-ctl -n __fish_use_subcommand -a kill -d 'Reset connections'
complete -c sluice-ctl -n __fish_use_subcommand -a drain -d 'Make /readyz answer 503'
complete -c sluice-ctl -n __fish_use_subcommand -a undrain -d 'Undo drain'
complete -c sluice-ctl -n __fish_use_subcommand -a capture -d 'Record new connections of a route, or do not'
complete -c sluice-ctl -n __fish_use_subcommand -a server -d 'Take a server out of a route, or put it back'
complete -c sluice-ctl -n __fish_use_subcommand -a log-level -d 'Print or set the log level'
complete -c sluice-ctl -n __fish_use_subcommand -a reload -d 'Apply the configuration file, or nothing of it'
complete -c sluice-ctl -n __fish_use_subcommand -a takeover -d 'Let the installed program take over'
complete -c sluice-ctl -n __fish_use_subcommand -a ready -d 'Exit with 0 if the daemon is ready'
complete -c sluice-ctl -n __fish_use_subcommand -a top -d 'Show routes and the busiest connections, live'
complete -c sluice-ctl -n __fish_use_subcommand -l version -d 'Print the version and exit'
complete -c sluice-ctl -s h -l help -d 'Print the common options, or a topic of the help'
complete -c sluice-ctl -l socket -r -F -d 'Ask the daemon at this address'
complete -c sluice-ctl -l token-file -r -F -d 'Send the token in this file'
complete -c sluice-ctl -l json -d 'Print the answer as JSON, for programs'
complete -c sluice-ctl -n '__sluice_ctl_in connections' -l route -x -d 'Select connections of this route'
complete -c sluice-ctl -n '__sluice_ctl_in connections' -l sort -x -a 'id bytes age idle' -d 'Sort by'
complete -c sluice-ctl -n '__sluice_ctl_in connections' -l limit -x -d 'List at most this many'
complete -c sluice-ctl -n '__sluice_ctl_in top' -l sort -x -a 'bytes age idle id' -d 'Show the connections with the most'
complete -c sluice-ctl -n '__sluice_ctl_in top' -l count -x -d 'End after this many tables'
complete -c sluice-ctl -n '__sluice_ctl_in drain' -l wait -d 'Wait until there is no connection, at most for this time'
complete -c sluice-ctl -n '__sluice_ctl_in reload' -l dry-run -d 'Only print what it would change'
complete -c sluice-ctl -n '__sluice_ctl_in capture' -a 'on off'
complete -c sluice-ctl -n '__sluice_ctl_in server' -a 'up drain down'
complete -c sluice-ctl -n '__sluice_ctl_in log-level' -a 'trace debug info warn error off'
