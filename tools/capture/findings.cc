#include "tools/capture/findings.h"

#include <algorithm>
#include <cstdio>

#include "tools/capture/commands.h"
#include "tools/common/connections.h"
#include "tools/common/text.h"

namespace sluice::capture {

int status_of(const Event& event) {
  const Finding::Severity severity = event.finding.severity;
  if (event.type != Event::Type::finding || severity == Finding::Severity::torn) return 0;
  return severity == Finding::Severity::lost ? kGaps : kDamage;
}

void ConnectionNames::take(const Event& event, const At& at) {
  if (event.type != Event::Type::record || event.effect.repeated) return;
  const auto key = std::pair(at.chain_index, event.header.connection);
  if (event.header.is(Kind::open)) {
    std::string id = decode_open(event.payload)->id;
    found_ = found_ || id == sought_;
    if (bytes_ + id.size() > kMostBytes) return;
    const auto [place, is_new] = names_.try_emplace(key, std::move(id));
    if (is_new) bytes_ += place->second.size();
    return;
  }
  if (!found_ && !sought_.empty()) found_ = of(event.header.connection, at) == sought_;
  if (event.header.is(Kind::close)) {
    const auto found = names_.find(key);
    if (found == names_.end()) return;
    bytes_ -= found->second.size();
    names_.erase(found);
  }
}

std::string ConnectionNames::of(std::uint64_t connection, const At& at) const {
  const auto found = names_.find({at.chain_index, connection});
  return found != names_.end() ? found->second : id_without_open(at.chain, connection);
}

Result<> ConnectionNames::check() const {
  if (found_ || sought_.empty()) return {};
  return Error{0, "no connection " + printable(sought_)};
}

std::string finding_line(const SegmentFile& file, const Finding& finding, std::string_view what,
                         const std::string& id) {
  std::string line = printable(file.path) + ", offset " + std::to_string(finding.offset) + ": ";
  line += what;
  if (finding.connection != 0) {
    line += ", connection " + printable(id) + ", ";
    line += kSideNames[static_cast<std::size_t>(finding.side)];
    line += " from " + std::to_string(finding.stream_offset);
  }
  if (finding.bytes > 0) line += ", " + std::to_string(finding.bytes) + " bytes";
  return line;
}

void print_finding(const Event& event, const At& at, const ConnectionNames& names) {
  const Finding& finding = event.finding;
  const std::string line =
      finding_line(*event.segment, finding, finding.what, names.of(finding.connection, at));
  clear_progress();
  std::fprintf(stderr, "sluice-capture: %s\n", line.c_str());
}

Result<int> walk_and_tell(const Invocation& invocation, const Visit& visit, Walk& how) {
  constexpr std::uint64_t kTold = 10;
  std::uint64_t findings = 0;
  int status = 0;
  ConnectionNames names(invocation.filter.id);
  const auto visit_and_tell = [&](const Event& event, const At& at) {
    names.take(event, at);
    const int own = status_of(event);
    if (own != 0 && ++findings <= kTold) print_finding(event, at, names);
    status = std::max(status, own);
    return visit(event, at);
  };
  const Result<> walked = how(invocation.paths, visit_and_tell, Stdout::lines);
  if (!walked) return walked.error();
  if (findings > kTold) {
    std::fprintf(stderr, "sluice-capture: and %llu more: see sluice-capture verify\n",
                 static_cast<unsigned long long>(findings - kTold));
  }
  if (const Result<> found = names.check(); !found) return found.error();
  return {boost::system::in_place_value, status};
}

}  // namespace sluice::capture
