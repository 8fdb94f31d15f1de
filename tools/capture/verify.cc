#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/json/json.h"
#include "tools/capture/commands.h"
#include "tools/capture/findings.h"
#include "tools/common/connections.h"
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
  if (status == 0) return "clean";
  return status == kTorn ? "torn" : status == kGaps ? "gap" : "damage";
}

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
      add(event, at, verdict_of(event), event.finding, std::string(event.finding.what));
    } else if (event.type == Event::Type::record) {
      ++records_;
      if (event.header.is(Kind::data)) data_bytes_ += event.fresh().size();
      Finding found{.offset = event.position, .what = {}};
      if (event.header.is(Kind::gap) && !event.effect.repeated) {
        const GapInfo gap = *decode_gap(event.payload);
        found.bytes = gap.bytes - event.effect.skip_bytes;
        found.connection = event.header.connection;
        found.side = event.header.side();
        found.stream_offset = event.fresh_offset();
        add(event, at, kGaps, found, "recorded gap, " + reason_name(gap.reason));
      }
      if (event.header.is(Kind::lost)) {
        add(event, at, kGaps, found,
            std::to_string(*decode_lost(event.payload)) + " connections were not recorded");
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
  void add(const Event& event, const At& at, int status, const Finding& found,
           const std::string& what) {
    status_ = std::max(status_, status);
    const std::string id = names_.of(found.connection, at);
    clear_progress();
    if (json_) {
      json::object object{{"file", valid_utf8(event.segment->path)},
                          {"offset", found.offset},
                          {"bytes", found.bytes},
                          {"kind", name_of(status)},
                          {"what", what}};
      if (found.connection != 0) {
        object["connection"] = valid_utf8(id);
        object["number"] = found.connection;
        object["side"] = kSideNames[static_cast<std::size_t>(found.side)];
        object["stream_offset"] = found.stream_offset;
      }
      std::printf("%s%s", findings_ == 0 ? "\n" : ",\n", json::serialize(object).c_str());
    } else {
      const std::string kind = name_of(status);
      std::puts(finding_line(*event.segment, found, kind + ": " + what, id).c_str());
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
