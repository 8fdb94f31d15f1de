#include "tests/system/recorded.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <utility>

#include "iolib/capture/capture_set.h"
#include "iolib/capture/reader.h"
#include "tests/support/process.h"

namespace sluice::test {
namespace {

using capture::Event;
using capture::Kind;
using capture::Side;

/// Reassembles the connections of one chain.
class Assembly {
 public:
  Assembly(Recorded& result, const OnRecorded& on_bytes) : result_(result), on_bytes_(on_bytes) {}

  void take(const Event& event) {
    if (event.type == Event::Type::segment) ++result_.segments;
    if (event.type == Event::Type::finding) found(event.finding, *event.segment);
    if (event.type == Event::Type::record && !event.effect.repeated) record(event);
  }

 private:
  void found(const capture::Finding& finding, const capture::SegmentFile& segment) {
    using Severity = capture::Finding::Severity;
    ++(finding.severity == Severity::torn   ? result_.torn
       : finding.severity == Severity::lost ? result_.lost
                                            : result_.damaged);
    result_.findings += segment.path + " at " + std::to_string(finding.offset) + ": " +
                        std::string(finding.what) + " (connection " +
                        std::to_string(finding.connection) + ", " + std::to_string(finding.bytes) +
                        " bytes)\n";
  }

  void record(const Event& event) {
    const capture::RecordHeader& header = event.header;
    if (header.is(Kind::open)) return open(header, event.payload);
    const auto id = ids_.find(header.connection);
    if (id == ids_.end()) return;
    RecordedConnection& connection = result_.connections[id->second];
    RecordedSide& side = connection.sides[static_cast<std::size_t>(header.side())];
    if (header.is(Kind::data)) {
      side.recorded += event.fresh().size();
      side.reached = event.fresh_offset() + event.fresh().size();
      if (on_bytes_) on_bytes_(connection, header.side(), event.fresh_offset(), event.fresh());
    } else if (header.is(Kind::gap)) {
      const auto gap = capture::decode_gap(event.payload);
      side.gaps.push_back({header.offset, gap->bytes, gap->reason});
      side.reached = header.offset + gap->bytes;
      ++result_.gaps;
    } else if (header.is(Kind::eof)) {
      side.end = capture::SideEnd::eof;
    } else if (header.is(Kind::reset)) {
      side.end = capture::SideEnd::reset;
    } else if (header.is(Kind::close)) {
      connection.close = capture::decode_close(event.payload);
    }
  }

  void open(const capture::RecordHeader& header, std::span<const std::byte> payload) {
    const auto info = capture::decode_open(payload);
    if (!info) throw std::runtime_error("an open record that cannot be read");
    ids_[header.connection] = info->id;
    result_.connections[info->id].open = *info;
  }

  Recorded& result_;
  const OnRecorded& on_bytes_;
  std::map<std::uint64_t, std::string> ids_;
};

}  // namespace

std::uint64_t RecordedSide::missing() const {
  std::uint64_t sum = 0;
  for (const Gap& gap : gaps) sum += gap.bytes;
  return sum;
}

int Recorded::status() const {
  if (damaged > 0 || !error.empty()) return 5;
  if (gaps > 0) return 4;
  return torn > 0 || lost > 0 ? 3 : 0;
}

const RecordedConnection* Recorded::from(const std::string& client) const {
  for (const auto& [id, connection] : connections) {
    if (connection.open.client == client) return &connection;
  }
  return nullptr;
}

const RecordedConnection& Recorded::only() const {
  if (connections.size() != 1) {
    throw std::runtime_error(std::to_string(connections.size()) + " connections recorded");
  }
  return connections.begin()->second;
}

std::uint64_t Recorded::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [id, connection] : connections) {
    for (const RecordedSide& side : connection.sides) sum += side.recorded;
  }
  return sum;
}

Recorded read_capture(const std::string& directory, const OnRecorded& on_bytes) {
  Recorded result;
  if (segments_in(directory, "").empty()) return result;
  Result<std::vector<capture::Chain>> chains = capture::list_capture({directory});
  if (!chains) {
    result.error = chains.error().to_string();
    return result;
  }
  for (capture::Chain& chain : *chains) {
    Assembly assembly(result, on_bytes);
    capture::ChainReader reader(std::move(chain), {});
    for (;;) {
      const Result<Event> event = reader.next();
      if (!event) {
        result.error = event.error().to_string();
        return result;
      }
      if (event->type == Event::Type::end) break;
      assembly.take(*event);
    }
  }
  return result;
}

Recorded check_capture(const std::string& directory, const Expectation& expected) {
  std::map<std::pair<std::string, Side>, std::uint64_t> mismatches;
  Recorded recorded =
      read_capture(directory, [&](const RecordedConnection& connection, Side side,
                                  std::uint64_t offset, std::span<const std::byte> bytes) {
        const auto wrong = expected(connection, side).first_mismatch(offset, bytes);
        if (wrong) mismatches.try_emplace({connection.open.id, side}, *wrong);
      });
  for (const auto& [key, offset] : mismatches) {
    recorded.connections[key.first].sides[static_cast<std::size_t>(key.second)].mismatch = offset;
  }
  return recorded;
}

std::string capture_tool() {
  const char* path = std::getenv("SLUICE_CAPTURE");
  if (path == nullptr) throw std::runtime_error("SLUICE_CAPTURE must name the capture tool");
  return path;
}

int verify_status(const std::string& directory) {
  Process tool({capture_tool(), "verify", directory});
  const std::optional<int> status = tool.wait(std::chrono::minutes(2));
  if (!status) throw std::runtime_error("sluice-capture verify goes on");
  return *status;
}

std::vector<std::string> segments_in(const std::string& directory, const std::string& suffix) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const std::string path = entry.path().string();
    const bool segment = capture::parse_segment_name(entry.path().filename().string()).has_value();
    if (segment && path.ends_with(suffix)) found.push_back(path);
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace sluice::test
