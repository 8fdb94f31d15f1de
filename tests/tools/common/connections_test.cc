#include "tools/common/connections.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "iolib/base/crc32c.h"
#include "tests/support/capture_builder.h"

namespace sluice::capture {
namespace {

using test::CaptureRecord;
using test::MemorySegment;

// Reads the whole chain. Returns the error, or "".
std::string error_of(const Chain& chain, const ChainReader::Options& options,
                     ConnectionTable& table, bool forgets = false) {
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

std::string error_of(const std::vector<CaptureRecord>& records, std::size_t most_alive,
                     ConnectionTable& table, bool forgets) {
  const std::vector<MemorySegment> segments = {{test::build_segment({}, records)}};
  ChainReader::Options options = test::memory_options(segments);
  options.most_connections = most_alive;
  return error_of(test::memory_chain(segments), options, table, forgets);
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

// Retention deletes them while the first is read. That is not damage, but part of the connection is
// missing.
TEST(Connections, WhoseSegmentsAreDeletedMeanwhileHaveAGap) {
  const auto bytes = test::random_bytes(900, 1);
  const auto all = test::connection_records(1, bytes, {}, 100);
  OpenInfo info = test::open_info(1);
  info.so_far[0] = {700, 700, crc32c(std::span(bytes).first(700)), SideEnd::none};
  std::vector<CaptureRecord> last(all.begin() + 8, all.end());
  last.insert(last.begin(), test::open_record(1, info, true));
  test::SegmentPlan plan;
  std::vector<MemorySegment> segments = {{build_segment(plan, {all.begin(), all.begin() + 3})}};
  plan.number = 2;
  segments.push_back({build_segment(plan, last), SegmentState::sealed, 2});
  ChainReader::Options options = test::memory_options(segments);
  bool deleted = false;
  options.open = [&, open = options.open](SegmentFile& file) {
    // The chain looks for it once more when it reaches the next.
    if (file.name.number == 0 && std::exchange(deleted, true)) return std::unique_ptr<Source>();
    return *open(file);
  };
  ConnectionTable table(ConnectionTable::Keeps::all);
  EXPECT_EQ(error_of(test::memory_chain(segments), options, table), "");
  ASSERT_EQ(table.all().size(), 1U);
  const SideSummary& client = table.all().front().sides[0];
  EXPECT_EQ(client.recorded_bytes, 400U);
  ASSERT_EQ(client.listed_gaps.size(), 1U);
  EXPECT_EQ(client.listed_gaps[0].offset, 200U);
  EXPECT_EQ(client.listed_gaps[0].bytes, 500U);
}

}  // namespace
}  // namespace sluice::capture
