#include "tools/capture/findings.h"

#include <algorithm>
#include <cstdio>

#include "tools/capture/commands.h"
#include "tools/common/text.h"

namespace sluice::capture {

int status_of(const Event& event) {
  if (event.type != Event::Type::finding) return 0;
  switch (event.finding.severity) {
    case Finding::Severity::torn:
      return 0;
    case Finding::Severity::lost:
      return kGaps;
    case Finding::Severity::damage:
      break;
  }
  return kDamage;
}

void print_finding(const Event& event, const std::string& of) {
  const Finding& finding = event.finding;
  const std::string about = of.empty() ? "" : of + ", ";
  clear_progress();
  std::fprintf(stderr, "sluice-capture: %s, offset %llu: %s%.*s, %llu bytes\n",
               printable(event.segment->path).c_str(),
               static_cast<unsigned long long>(finding.offset), about.c_str(),
               static_cast<int>(finding.what.size()), finding.what.data(),
               static_cast<unsigned long long>(finding.bytes));
}

Result<int> walk_and_tell(const std::vector<std::string>& paths, const Visit& visit, Walk& how) {
  constexpr std::uint64_t kTold = 10;
  std::uint64_t findings = 0;
  int status = 0;
  const auto visit_and_tell = [&](const Event& event, const At& at) {
    const int own = status_of(event);
    if (own != 0 && ++findings <= kTold) print_finding(event);
    status = std::max(status, own);
    return visit(event, at);
  };
  const Result<> walked = how(paths, visit_and_tell, Stdout::lines);
  if (!walked) return walked.error();
  if (findings > kTold) {
    std::fprintf(stderr, "sluice-capture: and %llu more: `verify` tells them all\n",
                 static_cast<unsigned long long>(findings - kTold));
  }
  return {boost::system::in_place_value, status};
}

}  // namespace sluice::capture
