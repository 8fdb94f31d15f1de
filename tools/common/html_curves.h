#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

/// Drawings, as SVG inside a page: colours and fonts are the style sheet's.
namespace sluice::html {

/// How one of several things is drawn, the same all over the page: a colour, which the style sheet
/// defines, and, for those who do not see it, a shape and a dash.
struct Look {
  std::size_t colour = 0;
  std::size_t shape = 0;
  std::size_t dash = 0;
  bool ours = false;      ///< emphasised
  bool competes = true;   ///< else only a measure for the others
  bool baseline = false;  ///< what ratios are relative to
};

/// The class that carries the colour.
[[nodiscard]] std::string class_of(const Look& look);

/// The shape around a point, as a path's data.
[[nodiscard]] std::string marker_path(const Look& look, double x, double y, double radius);

/// The shape as a small drawing beside a name.
[[nodiscard]] std::string key_of(const Look& look);

/// Percentile and µs, rising.
using Curve = std::vector<std::pair<double, double>>;

struct Line {
  std::string contender;
  Look look;
  Curve curve;
};

/// µs over the percentile, both logarithmic: the percentile by its nines. Empty without points to
/// draw.
[[nodiscard]] std::string curve_chart(const std::string& title, const std::vector<Line>& lines);

}  // namespace sluice::html
