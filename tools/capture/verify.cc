#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "tools/capture/commands.h"
#include "tools/capture/findings.h"
#include "tools/common/connections.h"
#include "tools/common/json.h"
#include "tools/common/text.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

// Worse findings have greater exit statuses. Unlike status_of(), this also counts a torn tail,
// which does not hinder a reader.
int verdict_of(const Event& event) {
  return event.finding.severity == Finding::Severity::torn ? kTorn : status_of(event);
}

const char* name_of(int status) {
  switch (status) {
    case 0:
      return "clean";
    case kTorn:
      return "torn";
    case kGaps:
      return "gap";
    default:
      return "damage";
  }
}

struct Line {
  int status = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::string what;
  std::uint64_t connection = 0;  // 0: none
  StreamPlace stream = {};       // in the connection's stream
};

class Report {
 public:
  explicit Report(bool json) : json_(json) {
    if (json_) std::fputs("{\"findings\":[", stdout);
  }
  void take(const Event& event, const At& at) {
    names_.take(event, at);
    if (event.type == Event::Type::segment_end) {
      ++segments_;
      frames_ += at.reader.segment_reader()->frames();
    } else if (event.type == Event::Type::finding) {
      const Finding& found = event.finding;
      add(*event.segment, {verdict_of(event),
                           found.offset,
                           found.bytes,
                           std::string(found.what),
                           found.connection,
                           {names_.of(found.connection, at), found.side, found.stream_offset}});
    } else if (event.type == Event::Type::record) {
      ++records_;
      if (event.header.is(Kind::data)) data_bytes_ += event.fresh().size();
      if (event.header.is(Kind::gap) && !event.effect.repeated) {
        const GapInfo gap = *decode_gap(event.payload);
        const std::uint64_t connection = event.header.connection;
        add(*event.segment,
            {kGaps,
             event.position,
             gap.bytes - event.effect.skip_bytes,
             "recorded gap, " + reason_name(gap.reason),
             connection,
             {names_.of(connection, at), event.header.side(), event.fresh_offset()}});
      }
      if (event.header.is(Kind::lost)) {
        Line line;
        line.status = kGaps;
        line.offset = event.position;
        line.what = std::to_string(*decode_lost(event.payload)) + " connections were not recorded";
        add(*event.segment, line);
      }
    }
  }
  /// `error`: why the walk ended early; empty if it did not.
  [[nodiscard]] int finish(std::string_view error) const {
    if (json_) {
      json::object rest{{"segments", segments_},
                        {"frames", frames_},
                        {"records", records_},
                        {"data_bytes", data_bytes_},
                        {"number", findings_}};
      if (error.empty()) rest["result"] = name_of(status_);
      std::puts(json_end(std::move(rest), error).c_str());
    } else if (error.empty()) {
      std::printf(
          "%s: %llu segments, %llu frames, %llu records, %llu bytes of data\n", name_of(status_),
          static_cast<unsigned long long>(segments_), static_cast<unsigned long long>(frames_),
          static_cast<unsigned long long>(records_), static_cast<unsigned long long>(data_bytes_));
    }
    return status_;
  }

 private:
  void add(const SegmentFile& file, const Line& line) {
    status_ = std::max(status_, line.status);
    clear_progress();
    if (json_) {
      json::object object{{"file", valid_utf8(file.path)},
                          {"offset", line.offset},
                          {"bytes", line.bytes},
                          {"kind", name_of(line.status)},
                          {"what", line.what}};
      if (line.connection != 0) {
        object["connection"] = valid_utf8(line.stream.id);
        object["number"] = line.connection;
        object["side"] = kSideNames[static_cast<std::size_t>(line.stream.side)];
        object["stream_offset"] = line.stream.offset;
      }
      std::printf("%s%s", findings_ == 0 ? "\n" : ",\n", json::serialize(object).c_str());
    } else {
      std::puts(finding_line(file, line.offset,
                             std::string(name_of(line.status)) + ": " + line.what,
                             line.connection != 0 ? &line.stream : nullptr, line.bytes)
                    .c_str());
    }
    ++findings_;
  }

  const bool json_;
  ConnectionNames names_;
  int status_ = 0;
  std::uint64_t findings_ = 0, segments_ = 0, frames_ = 0, records_ = 0, data_bytes_ = 0;
};

}  // namespace

Result<int> run_verify(const Invocation& invocation) {
  Report report(invocation.json);
  const Result<> walked = walk(invocation.paths, [&](const Event& event, const At& at) {
    report.take(event, at);
    return go_on();
  });
  const int status = report.finish(walked ? "" : walked.error().to_string());
  return walked ? Result<int>(boost::system::in_place_value, status) : walked.error();
}

}  // namespace sluice::capture
