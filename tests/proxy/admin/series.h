#pragma once

#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace sluice::admin {

[[nodiscard]] inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The series of metrics: the names with their labels.
[[nodiscard]] inline std::set<std::string> series_of(const std::string& metrics) {
  std::set<std::string> series;
  for (const std::string& line : lines_of(metrics)) {
    if (!line.starts_with('#')) series.insert(line.substr(0, line.rfind(' ')));
  }
  return series;
}

}  // namespace sluice::admin
