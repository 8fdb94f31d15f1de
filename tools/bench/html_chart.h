#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/html_model.h"

/// Drawings, as SVG inside the page: colours and fonts are the style sheet's.
namespace sluice::bench::html {

struct Bar {
  std::string contender;
  Look look;
  std::optional<Spread> value;
  bool best = false;
};

/// Horizontal bars from zero, with a whisker from the least to the most. `width`: in the drawing's
/// own unit, which is a pixel of the narrowest page.
[[nodiscard]] std::string bar_chart(const std::string& title, const std::vector<Bar>& bars,
                                    int digits, double width);

}  // namespace sluice::bench::html
