// Seals what a crash left: good checksums over arbitrary bytes. Everything that was readable before
// is readable afterwards, and a second recovery has nothing to do.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "iolib/capture/store.h"
#include "tests/fuzz/resealed.h"
#include "tests/fuzz/walk.h"
#include "tests/support/simulated_disk.h"

namespace sluice::fuzz {
namespace {

std::vector<FuzzedSegment> chain_of(const test::SimulatedDisk::Files& files) {
  std::vector<FuzzedSegment> chain;
  for (const auto& [name, bytes] : files) {
    chain.push_back({*capture::parse_segment_name(name), bytes});
  }
  return chain;
}

void recover(const std::vector<FuzzedSegment>& chain) {
  test::SimulatedDisk::Files files;
  for (const FuzzedSegment& each : chain) files[to_string(each.name)] = each.bytes;
  test::SimulatedDisk disk(1, files);
  capture::Store store(disk, {});
  const auto leftovers = store.recover();
  must(leftovers.has_value());
  files = disk.files();
  must(files.size() == chain.size() - leftovers->empty);
  const auto before = records_of(chain);
  const auto after = records_of(chain_of(files));
  // If recovery removes an empty segment, a suspect one before it counts to its end.
  if (before && leftovers->empty == 0) must(after == before);
  const std::uint64_t calls = disk.calls();
  capture::Store again(disk, {});
  must(again.recover().has_value());
  must(disk.calls() == calls + 1);  // the listing
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::fuzz;
  const auto chain = resealed_chain(std::as_bytes(std::span(data, size)));
  if (!chain.empty()) recover(chain);
  return 0;
}
