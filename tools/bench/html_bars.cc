#include <algorithm>
#include <cmath>

#include "tools/bench/html_chart.h"
#include "tools/common/html_text.h"

namespace sluice::bench::html {
namespace {

constexpr double kRowHeight = 26;
constexpr double kBarHeight = 14;
constexpr double kTop = 6;
constexpr double kAxisHeight = 22;
constexpr double kGap = 8;
// More than the average width of a character at the style sheet's font size.
constexpr double kCharacterWidth = 7.8;
constexpr std::size_t kMostName = 24;

// An axis that starts at zero.
struct Axis {
  double step = 1;
  double end = 1;
  int digits = 0;
};

// Chooses the smallest step of 1, 2 or 5 times a power of ten that needs about `steps` steps at
// most.
Axis axis_up_to(double most, double steps) {
  constexpr double kLeast = 1e-9;
  if (most < kLeast) return {};
  const double rough = most / steps;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  Axis axis{.step = power};
  for (const double factor : {2.0, 5.0, 10.0}) {
    if (axis.step < rough) axis.step = power * factor;
  }
  axis.end = std::ceil(most / axis.step - 1e-9) * axis.step;
  axis.digits = std::max(0, static_cast<int>(std::ceil(-std::log10(axis.step) - 1e-9)));
  return axis;
}

class BarChart {
 public:
  BarChart(const std::vector<Bar>& bars, int digits, double width)
      : bars_(bars), digits_(digits), width_(width) {
    double most = 0;
    std::size_t name = 0;
    std::size_t value = 0;
    for (const Bar& bar : bars) {
      name = std::max(name, std::min(length_of(bar.contender), kMostName));
      if (!bar.value) continue;
      most = std::max({most, bar.value->median, bar.value->most});
      value = std::max(value, length_of(grouped(bar.value->median, digits)) + (bar.best ? 2 : 0));
    }
    constexpr double kMostLeft = 0.42;
    most_name_ =
        std::min(name, static_cast<std::size_t>((kMostLeft * width - kGap) / kCharacterWidth));
    left_ = kCharacterWidth * static_cast<double>(most_name_) + kGap;
    right_ = width - kCharacterWidth * static_cast<double>(value) - 2 * kGap;
    constexpr double kTickWidth = 56;
    axis_ = axis_up_to(most, std::max(2.0, (right_ - left_) / kTickWidth));
    bottom_ = kTop + kRowHeight * static_cast<double>(bars.size());
  }

  [[nodiscard]] std::string draw(const std::string& title) const {
    std::string svg = "<svg class=\"chart bars\" role=\"img\" viewBox=\"0 0 " + coordinate(width_) +
                      ' ' + coordinate(bottom_ + kAxisHeight) + "\" aria-label=\"" + escape(title) +
                      "\">\n" + draw_axis();
    for (std::size_t i = 0; i < bars_.size(); ++i) {
      svg += draw_bar(bars_[i], kTop + kRowHeight * (static_cast<double>(i) + 0.5));
    }
    return svg + "</svg>\n";
  }

 private:
  [[nodiscard]] double x_of(double value) const {
    return left_ + (right_ - left_) * std::max(value, 0.0) / axis_.end;
  }

  [[nodiscard]] std::string draw_axis() const {
    std::string svg = "<g class=\"axis\">\n";
    const auto ticks = static_cast<int>(std::lround(axis_.end / axis_.step));
    for (int i = 0; i <= ticks; ++i) {
      const double at = axis_.step * i;
      const double x = x_of(at);
      svg += line_element(i == 0 ? "zero" : "grid", x, kTop, x, bottom_) +
             text_element("middle", x, bottom_ + 15, grouped(at, axis_.digits));
    }
    return svg + "</g>\n";
  }

  [[nodiscard]] std::string draw_bar(const Bar& bar, double y) const {
    const std::string text_y = "\" y=\"" + coordinate(y + 4.5) + '"';
    std::string svg = "<g class=\"row " + class_of(bar.look) + "\" data-contender=\"" +
                      escape(bar.contender) + "\">";
    if (bar.value) {
      svg += "<title>" + escape(bar.contender) + ": " + grouped(bar.value->median, digits_) + " (" +
             grouped(bar.value->least, digits_) + "–" + grouped(bar.value->most, digits_) +
             ")</title>";
    }
    svg += "<text class=\"name\" text-anchor=\"end\" x=\"" + coordinate(left_ - kGap) + text_y +
           '>' + escape(shorten(bar.contender, most_name_)) + "</text>";
    if (!bar.value) {
      return svg + "<text class=\"none\" x=\"" + coordinate(left_ + kGap) + text_y + '>' +
             std::string(kNothing) + "</text></g>\n";
    }
    const double end = x_of(bar.value->median);
    svg += "<rect class=\"bar\" x=\"" + coordinate(left_) + "\" y=\"" +
           coordinate(y - kBarHeight / 2) + "\" width=\"" + coordinate(end - left_) +
           "\" height=\"" + coordinate(kBarHeight) + "\"/>" + draw_whisker(*bar.value, y) +
           "<text class=\"value\" x=\"" + coordinate(std::max(end, x_of(bar.value->most)) + kGap) +
           text_y + '>' + grouped(bar.value->median, digits_) + (bar.best ? " ★" : "") +
           "</text></g>\n";
    return svg;
  }

  [[nodiscard]] std::string draw_whisker(const Spread& spread, double y) const {
    constexpr double kCap = 4;
    const double from = x_of(spread.least);
    const double to = x_of(spread.most);
    constexpr double kVisible = 1;
    if (to - from < kVisible) return "";
    const auto cap = [&](double x) {
      return 'M' + coordinate(x) + ' ' + coordinate(y - kCap) + 'V' + coordinate(y + kCap);
    };
    const std::string path =
        cap(from) + cap(to) + 'M' + coordinate(from) + ' ' + coordinate(y) + 'H' + coordinate(to);
    // Drawn twice: the wider halo separates the whisker from the bar.
    return "<path class=\"halo\" d=\"" + path + "\"/><path class=\"whisker\" d=\"" + path + "\"/>";
  }

  const std::vector<Bar>& bars_;
  int digits_;
  double width_;
  Axis axis_;
  double left_ = 0;
  std::size_t most_name_ = 0;
  double right_ = 0;
  double bottom_ = 0;
};

}  // namespace

std::string bar_chart(const std::string& title, const std::vector<Bar>& bars, int digits,
                      double width) {
  return BarChart(bars, digits, width).draw(title);
}

}  // namespace sluice::bench::html
