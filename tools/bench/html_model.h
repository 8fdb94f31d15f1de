#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iolib/json/json.h"
#include "tools/common/html_curves.h"

/// The data that the HTML report shows. It is read leniently: a field that is missing or has the
/// wrong type is empty.
namespace sluice::bench::html {

// The parts of every tool's page.
using namespace sluice::html;  // NOLINT(google-global-names-in-headers): a namespace of pages too

/// A median over the valid runs, with the least and the most.
struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
};

/// One contender's figure in one column.
struct Figure {
  std::optional<Spread> value;
  std::optional<Spread> ratio;  ///< to the baseline's figure
};

/// One metric of a workload.
struct Column {
  std::string key;
  std::string title;
  std::string part;  ///< empty if the workload has one part, or the metric belongs to no part
  bool higher_is_better = true;
  int digits = 2;
  bool compared = true;
};

/// One contender's summary in one workload.
struct Row {
  std::string contender;
  std::int64_t runs = 0;
  std::int64_t valid = 0;
  std::vector<Figure> figures;          ///< one per column
  std::map<std::string, Curve> curves;  ///< by part
  double other_cpus = 0;                ///< CPUs that other processes used
  double ends_busiest_thread = 0;       ///< fraction of the time that it was busy
  double dump_lost_percent = -1;        ///< negative: the contender has no tcpdump
};

struct VoidRun {
  std::string contender;
  std::string round;
  std::string reason;
};

/// One workload.
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

/// Reads a document. Never fails.
[[nodiscard]] Report read_report(const json::object& document);

/// A value as it stands in the document; empty if it is missing.
[[nodiscard]] std::string fact(const std::map<std::string, std::string, std::less<>>& facts,
                               std::string_view key);

}  // namespace sluice::bench::html
