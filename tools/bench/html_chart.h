#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/html_model.h"

/// Drawings as SVG for the HTML page. Colours and fonts come from the page's style sheet.
namespace sluice::bench::html {

struct Bar {
  std::string contender;
  Look look;
  std::optional<Spread> value;
  bool best = false;
};

/// Horizontal bars from zero, with a whisker from the least to the most. `width` is in the
/// drawing's own unit, which is one pixel on the narrowest page.
[[nodiscard]] std::string bar_chart(const std::string& title, const std::vector<Bar>& bars,
                                    int digits, double width);

}  // namespace sluice::bench::html
