#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/json/json.h"
#include "tools/ctl/screen.h"

namespace sluice::ctl {

/// How connections can be sorted, as the API names it.
inline constexpr const char* kSortKeys[] = {"bytes", "age", "idle", "id"};

/// What the daemon answered at a time.
struct Sample {
  TimePoint at;
  json::object status;
  json::array routes;
  json::array connections;  ///< in the order in which they are shown
};

/// What `top` shows: the last sample, and rates since the one before.
class TopModel {
 public:
  void take(Sample sample);
  [[nodiscard]] bool has_sample() const { return sample_.has_value(); }
  /// When the last sample was taken.
  [[nodiscard]] TimePoint sampled() const { return sample_->at; }

  /// The lines for a screen of this size. `second` is the second line.
  [[nodiscard]] std::vector<Line> screen(ScreenSize size, Line second) const;
  /// Everything as text.
  [[nodiscard]] std::string text() const;

 private:
  struct Bytes {
    std::optional<double> to_upstream, to_client;
  };
  using Counts = std::map<std::string, Bytes, std::less<>>;

  [[nodiscard]] std::string summary() const;
  [[nodiscard]] std::vector<std::string> route_lines(std::size_t rows, std::size_t width) const;
  [[nodiscard]] std::vector<std::string> connection_lines(std::size_t rows,
                                                          std::size_t width) const;
  [[nodiscard]] Bytes rate_of(const Counts& before, const Counts& now,
                              const std::string& key) const;

  std::optional<Sample> sample_;
  double seconds_ = 0;  ///< since the sample before; 0: there is none
  Counts routes_before_, routes_, connections_before_, connections_;
};

}  // namespace sluice::ctl
