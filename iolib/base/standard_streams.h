#pragma once

namespace sluice {

/// Opens /dev/null on those of descriptors 0, 1 and 2 that are closed. Otherwise a file opened
/// later could get one of these numbers, and the program's messages with it. Reads and writes of
/// these streams still fail. main() calls it first.
void occupy_closed_streams();

}  // namespace sluice
