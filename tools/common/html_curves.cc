#include "tools/common/html_curves.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/common/html_text.h"

namespace sluice::html {
namespace {

constexpr double kWidth = 940;
constexpr double kLeft = 62;
constexpr double kTop = 12;
constexpr double kLeastHeight = 300;
constexpr double kBelow = 42;
constexpr double kLabelHeight = 17;
constexpr double kLeader = 24;
constexpr double kMarkerWidth = 16;
constexpr double kCharacterWidth = 7.8;
constexpr std::size_t kMostName = 26;
constexpr double kFirstPercentile = 50;
constexpr double kLastPercentile = 99.99;
constexpr std::pair<double, const char*> kTicks[] = {
    {50, "p50"}, {90, "p90"}, {99, "p99"}, {99.9, "p99.9"}, {99.99, "p99.99"}};

double nines(double percentile) { return -std::log10(1 - percentile / 100); }

Curve shown_part(const Curve& curve) {
  Curve shown;
  for (const auto& [percentile, value] : curve) {
    // A logarithmic axis cannot show zero, which is what a clock reports for a faster event.
    constexpr double kLeast = 1e-3;
    if (percentile >= kFirstPercentile && percentile <= kLastPercentile && value >= kLeast) {
      shown.emplace_back(percentile, value);
    }
  }
  return shown;
}

// The values 1, 2 and 5 times a power of ten, from the last one at or below `least` to the first
// one at or above `most`.
std::vector<double> scale_around(double least, double most) {
  std::vector<double> scale;
  constexpr double kTolerance = 1e-9;
  for (double power = std::pow(10, std::floor(std::log10(least)));; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double at = power * factor;
      if (at <= least * (1 + kTolerance)) scale.clear();
      scale.push_back(at);
      if (at >= most * (1 - kTolerance) && scale.size() > 1) return scale;
    }
  }
}

class CurveChart {
 public:
  explicit CurveChart(const std::vector<Line>& lines) {
    double least = 0;
    double most = 0;
    std::size_t name = 0;
    for (const Line& line : lines) {
      Line shown = line;
      shown.curve = shown_part(line.curve);
      if (shown.curve.empty()) continue;
      for (const auto& [percentile, value] : shown.curve) {
        least = lines_.empty() && most == 0 ? value : std::min(least, value);
        most = std::max(most, value);
      }
      name = std::max(name, std::min(length_of(line.contender), kMostName));
      lines_.push_back(std::move(shown));
    }
    if (lines_.empty()) return;
    // The emphasised line is drawn last, on top of the others.
    std::stable_sort(lines_.begin(), lines_.end(),
                     [](const Line& a, const Line& b) { return a.look.ours < b.look.ours; });
    scale_ = scale_around(least, most);
    right_ = kWidth - kLeader - kMarkerWidth - kCharacterWidth * static_cast<double>(name);
    bottom_ = kTop + std::max(kLeastHeight, kLabelHeight * static_cast<double>(lines_.size()));
  }

  [[nodiscard]] std::string draw(const std::string& title) const {
    if (lines_.empty()) return "";
    std::string svg = "<svg class=\"chart curves\" role=\"img\" viewBox=\"0 0 " +
                      coordinate(kWidth) + ' ' + coordinate(bottom_ + kBelow) + "\" aria-label=\"" +
                      escape(title) + "\">\n" + draw_axes();
    const std::vector<double> labels = label_positions();
    for (std::size_t i = 0; i < lines_.size(); ++i) svg += draw_line(lines_[i], labels[i]);
    return svg + "</svg>\n";
  }

 private:
  [[nodiscard]] double x_of(double percentile) const {
    const double from = nines(kFirstPercentile);
    return kLeft + (right_ - kLeft) * (nines(percentile) - from) / (nines(kLastPercentile) - from);
  }
  [[nodiscard]] double y_of(double value) const {
    return bottom_ - (bottom_ - kTop) * std::log(value / scale_.front()) /
                         std::log(scale_.back() / scale_.front());
  }

  [[nodiscard]] std::string draw_axes() const {
    std::string svg = "<g class=\"axis\">\n";
    for (const auto& [percentile, name] : kTicks) {
      const double x = x_of(percentile);
      svg +=
          line_element("grid", x, kTop, x, bottom_) + text_element("middle", x, bottom_ + 17, name);
    }
    for (const double at : scale_) {
      const double y = y_of(at);
      const int digits = std::max(0, static_cast<int>(std::ceil(-std::log10(at) - 1e-9)));
      svg += line_element("grid", kLeft, y, right_, y) +
             text_element("end", kLeft - 8, y + 4, grouped(at, digits));
    }
    svg += text_element("middle", (kLeft + right_) / 2, bottom_ + 36, "percentile");
    return svg + "<text text-anchor=\"middle\" transform=\"translate(12 " +
           coordinate((kTop + bottom_) / 2) + ") rotate(-90)\">µs</text>\n</g>\n";
  }

  // The y coordinate of each line's label: beside the line's end, in the same order as the lines,
  // without overlap.
  [[nodiscard]] std::vector<double> label_positions() const {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      order.emplace_back(y_of(lines_[i].curve.back().second), i);
    }
    std::sort(order.begin(), order.end());
    double least = kTop;
    for (auto& [y, line] : order) {
      y = std::max(y, least);
      least = y + kLabelHeight;
    }
    double most = bottom_;
    for (auto at = order.rbegin(); at != order.rend(); ++at) {
      at->first = std::min(at->first, most);
      most = at->first - kLabelHeight;
    }
    std::vector<double> positions(lines_.size());
    for (const auto& [y, line] : order) positions[line] = y;
    return positions;
  }

  [[nodiscard]] std::string draw_line(const Line& line, double label_y) const {
    constexpr double kMarker = 4;
    std::string path;
    std::string markers;
    for (const auto& [percentile, value] : line.curve) {
      const double x = x_of(percentile);
      const double y = y_of(value);
      path += (path.empty() ? 'M' : 'L') + coordinate(x) + ' ' + coordinate(y);
      bool marked = false;
      for (const auto& tick : kTicks) marked = marked || std::abs(tick.first - percentile) < 1e-6;
      if (marked) markers += marker_path(line.look, x, y, kMarker);
    }
    const double end_x = x_of(line.curve.back().first);
    const double end_y = y_of(line.curve.back().second);
    const double label_x = right_ + kLeader;
    const std::string leader = 'M' + coordinate(end_x) + ' ' + coordinate(end_y) + 'L' +
                               coordinate(label_x) + ' ' + coordinate(label_y);
    return "<g class=\"line " + class_of(line.look) + " d" + std::to_string(line.look.dash) +
           "\" data-contender=\"" + escape(line.contender) + "\"><title>" + escape(line.contender) +
           "</title><path class=\"leader\" d=\"" + leader + "\"/><path class=\"curve\" d=\"" +
           path + "\"/><path class=\"mark\" d=\"" + markers +
           marker_path(line.look, label_x + 6, label_y, kMarker) + "\"/><text class=\"name\" x=\"" +
           coordinate(label_x + kMarkerWidth) + "\" y=\"" + coordinate(label_y + 4.5) + "\">" +
           escape(shorten(line.contender, kMostName)) + "</text></g>\n";
  }

  std::vector<Line> lines_;
  std::vector<double> scale_;
  double right_ = 0;
  double bottom_ = 0;
};

}  // namespace

std::string class_of(const Look& look) {
  std::string classes = "k" + std::to_string(look.colour);
  if (look.ours) classes += " ours";
  if (!look.competes) classes += " aside";
  return classes;
}

std::string marker_path(const Look& look, double x, double y, double radius) {
  const auto at = [&](double dx, double dy) {
    return coordinate(x + dx * radius) + ' ' + coordinate(y + dy * radius);
  };
  const std::string r = coordinate(radius * 0.95);
  switch (look.shape) {
    case 0:
      return 'M' + at(-0.95, 0) + 'a' + r + ' ' + r + " 0 1 0 " + coordinate(radius * 1.9) + " 0a" +
             r + ' ' + r + " 0 1 0 " + coordinate(radius * -1.9) + " 0Z";
    case 1:
      return 'M' + at(-0.85, -0.85) + 'L' + at(0.85, -0.85) + 'L' + at(0.85, 0.85) + 'L' +
             at(-0.85, 0.85) + 'Z';
    case 2:
      return 'M' + at(0, -1.1) + 'L' + at(1.1, 0.85) + 'L' + at(-1.1, 0.85) + 'Z';
    case 3:
      return 'M' + at(0, -1.2) + 'L' + at(1.2, 0) + 'L' + at(0, 1.2) + 'L' + at(-1.2, 0) + 'Z';
    default:
      return 'M' + at(0, 1.1) + 'L' + at(1.1, -0.85) + 'L' + at(-1.1, -0.85) + 'Z';
  }
}

std::string key_of(const Look& look) {
  return "<svg class=\"key " + class_of(look) +
         R"(" viewBox="-7 -7 14 14" width="12" height="12" aria-hidden="true"><path class="mark" d=")" +
         marker_path(look, 0, 0, 5) + "\"/></svg>";
}

std::string curve_chart(const std::string& title, const std::vector<Line>& lines) {
  return CurveChart(lines).draw(title);
}

}  // namespace sluice::html
