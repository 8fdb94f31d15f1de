#pragma once

namespace sluice {

/// Takes the places of stdin, stdout and stderr that are closed, so that no file opened later gets
/// one of them, and the messages meant for it. To use them still fails. For the start of main().
void occupy_closed_streams();

}  // namespace sluice
