#include "tools/bench/html.h"

#include "tools/bench/table.h"
#include "tools/common/report_page.h"

namespace sluice::bench {

std::string to_html(json::object document) {
  for (json::value& workload : document.at("workloads").as_array()) {
    json::array& lines = workload.as_object()["doubts"].emplace_array();
    for (const std::string& line : doubts(workload.as_object())) lines.emplace_back(line);
  }
  return report_page("sluice-bench", kReportScript, document);
}

}  // namespace sluice::bench
