#pragma once

#include <map>
#include <string>

#include "tools/bench/html_model.h"

namespace sluice::bench::html {

/// How a contender is drawn, the same all over the page: a colour, which the style sheet defines,
/// and, for those who do not see it, a shape and a dash.
struct Look {
  std::size_t colour = 0;
  std::size_t shape = 0;
  std::size_t dash = 0;
  bool ours = false;      ///< sluice itself: emphasised
  bool competes = true;   ///< else only a measure for the others
  bool baseline = false;  ///< what ratios are relative to
};

/// By contender.
using Looks = std::map<std::string, Look, std::less<>>;

[[nodiscard]] Looks looks_of(const Report& report);

/// The class that carries the colour.
[[nodiscard]] std::string class_of(const Look& look);

/// The shape around a point, as a path's data.
[[nodiscard]] std::string marker_path(const Look& look, double x, double y, double radius);

/// The shape as a small drawing beside a name.
[[nodiscard]] std::string key_of(const Look& look);

}  // namespace sluice::bench::html
