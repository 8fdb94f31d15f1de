#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

/// Drawings as SVG for an HTML page. Colours and fonts come from the page's style sheet.
namespace sluice::html {

/// How one of the compared things is drawn, in all charts and tables of a page. The colour comes
/// from the style sheet. Shape and dash serve readers who cannot distinguish the colours.
struct Look {
  std::size_t colour = 0;
  std::size_t shape = 0;
  std::size_t dash = 0;
  bool ours = false;      ///< drawn with emphasis
  bool competes = true;   ///< false: only a reference for the others
  bool baseline = false;  ///< ratios are relative to it
};

/// The CSS classes of a look: its colour and its emphasis.
[[nodiscard]] std::string class_of(const Look& look);

/// The marker's shape around a point, as the `d` attribute of an SVG path.
[[nodiscard]] std::string marker_path(const Look& look, double x, double y, double radius);

/// The marker as a small drawing for use beside a name.
[[nodiscard]] std::string key_of(const Look& look);

/// Points (percentile, µs), in ascending order of percentile.
using Curve = std::vector<std::pair<double, double>>;

/// A curve of a chart.
struct Line {
  std::string contender;
  Look look;
  Curve curve;
};

/// A chart of µs over the percentile. Both axes are logarithmic; the percentile's axis counts
/// nines. Empty if there is no point to draw.
[[nodiscard]] std::string curve_chart(const std::string& title, const std::vector<Line>& lines);

}  // namespace sluice::html
