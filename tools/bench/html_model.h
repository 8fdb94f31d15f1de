#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/common/html_curves.h"
#include "tools/common/json.h"

/// What the HTML report shows of a document, read leniently: a field that is not there, or is of
/// another type, is empty.
namespace sluice::bench::html {

// What every tool's page is made of.
using namespace sluice::html;  // NOLINT(google-global-names-in-headers): a namespace of pages too

struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
};

/// A figure of one contender.
struct Figure {
  std::optional<Spread> value;
  std::optional<Spread> ratio;  ///< to the baseline's
};

/// A metric of a workload.
struct Column {
  std::string key;
  std::string title;
  std::string part;  ///< empty where the workload has one part, or it belongs to none
  bool higher_is_better = true;
  int digits = 2;
  bool compared = true;
};

/// A contender's summary in one workload.
struct Row {
  std::string contender;
  std::int64_t runs = 0;
  std::int64_t valid = 0;
  std::vector<Figure> figures;          ///< one for each column
  std::map<std::string, Curve> curves;  ///< by part
  double other_cpus = 0;                ///< what others used meanwhile
  double ends_busiest_thread = 0;       ///< the part of the time that it was busy
  double dump_lost_percent = -1;        ///< of its tcpdump; negative: it has none
};

struct VoidRun {
  std::string contender;
  std::string round;
  std::string reason;
};

/// A workload.
struct Section {
  std::string name;
  std::string description;
  std::string loop;
  std::vector<Column> columns;
  std::vector<Row> rows;
  std::vector<VoidRun> voids;
};

struct Program {
  std::string name;
  std::string version;
  std::string command;
  std::string config;
};

struct Report {
  std::string started;
  std::string command;
  std::string tool;
  std::string baseline;
  bool interrupted = false;
  std::map<std::string, std::string, std::less<>> machine;
  std::map<std::string, std::string, std::less<>> settings;
  std::vector<Program> programs;
  std::vector<Section> sections;
};

[[nodiscard]] Report read_report(const json::object& document);

/// A value as it stands in the document; empty if there is none.
[[nodiscard]] std::string fact(const std::map<std::string, std::string, std::less<>>& facts,
                               std::string_view key);

}  // namespace sluice::bench::html
