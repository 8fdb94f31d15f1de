#include "tools/common/connections.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/capture_builder.h"

namespace sluice::capture {
namespace {

using test::CaptureRecord;
using test::MemorySegment;

// Reads all of a segment with these records; the error, or "".
std::string error_of(const std::vector<CaptureRecord>& records, std::size_t most_alive,
                     ConnectionTable& table, bool forgets) {
  const std::vector<MemorySegment> segments = {{test::build_segment({}, records)}};
  const Chain chain = test::memory_chain(segments);
  ChainReader::Options options = test::memory_options(segments);
  options.most_connections = most_alive;
  ChainReader reader(chain, options);
  const At at{0, chain, reader};
  while (true) {
    const Result<Event> event = reader.next();
    if (!event) return event.error().to_string();
    if (event->type == Event::Type::end) return "";
    const Result<Connection*> taken = table.take(*event, at);
    if (!taken) return taken.error().to_string();
    if (forgets && *taken != nullptr && (*taken)->closed) table.forget(**taken, at);
  }
}

std::vector<CaptureRecord> one_after_the_other(std::uint64_t connections) {
  std::vector<CaptureRecord> records;
  for (std::uint64_t i = 1; i <= connections; ++i) {
    for (CaptureRecord& each : test::connection_records(i, test::bytes_of("x"), {})) {
      records.push_back(std::move(each));
    }
  }
  return records;
}

std::vector<CaptureRecord> at_once(std::uint64_t connections) {
  std::vector<CaptureRecord> records;
  for (std::uint64_t i = 1; i <= connections; ++i) records.push_back(test::open_record(i));
  return records;
}

TEST(Connections, OfAReaderAreBoundedByWhatIsAliveAtATime) {
  ConnectionTable table(ConnectionTable::Keeps::chain);
  EXPECT_EQ(error_of(one_after_the_other(20), 4, table, true), "");
  EXPECT_EQ(error_of(at_once(4), 4, table, true), "");
  EXPECT_EQ(error_of(at_once(5), 4, table, true), "more than 4 connections at a time");
}

TEST(Connections, OfATableAreBounded) {
  constexpr std::size_t kMost = 4;
  ConnectionTable fits(ConnectionTable::Keeps::all, kMost);
  EXPECT_EQ(error_of(one_after_the_other(kMost), 100, fits, false), "");
  ConnectionTable keeps(ConnectionTable::Keeps::all, kMost);
  EXPECT_EQ(error_of(one_after_the_other(kMost + 1), 100, keeps, false),
            "more than 4 connections: name fewer segments at a time");
  ConnectionTable forgets(ConnectionTable::Keeps::chain, kMost);
  EXPECT_EQ(error_of(one_after_the_other(20), 100, forgets, true), "");
  ConnectionTable alive(ConnectionTable::Keeps::chain, kMost);
  EXPECT_NE(error_of(at_once(kMost + 1), 100, alive, true), "");
}

}  // namespace
}  // namespace sluice::capture
