#include "proxy/admin/metrics.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cmath>

#include "iolib/base/text.h"

namespace sluice::admin {
namespace {

constexpr std::array<std::string_view, 3> kTypes{"counter", "gauge", "histogram"};

bool is_plain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

// Appends `text`, as UTF-8, with the escapes of the format; quotation marks are escaped only in
// labels.
void append_escaped(std::string& to, std::string_view bytes, bool quoted) {
  if (std::ranges::all_of(bytes, is_plain)) {
    to += bytes;
    return;
  }
  const std::string text = valid_utf8(bytes);
  for (const char c : text) {
    if (c == '\\') {
      to += "\\\\";
    } else if (c == '\n') {
      to += "\\n";
    } else if (c == '"' && quoted) {
      to += "\\\"";
    } else {
      to += c;
    }
  }
}

std::string decimal(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end};
}

}  // namespace

void MetricsWriter::begin(std::string_view name, MetricType type, std::string_view help) {
  assert(type != MetricType::counter || name.ends_with("_total"));
  name_ = name;
  text_.append("# HELP ").append(name).append(" ");
  append_escaped(text_, help, false);
  text_.append("\n# TYPE ").append(name).append(" ");
  text_.append(kTypes.at(static_cast<std::size_t>(type))).append("\n");
}

void MetricsWriter::add(std::uint64_t value, Labels labels) {
  write_name("", labels);
  text_.append(std::to_string(value)).append("\n");
}

void MetricsWriter::add(double value, Labels labels) {
  write_name("", labels);
  write_value(value);
}

void MetricsWriter::add_histogram(std::span<const double> bounds,
                                  std::span<const std::uint64_t> counts, double sum,
                                  Labels labels) {
  assert(counts.size() == bounds.size() + 1);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    total += counts[i];
    write_name("_bucket", labels, i < bounds.size() ? decimal(bounds[i]) : "+Inf");
    text_.append(std::to_string(total)).append("\n");
  }
  write_name("_sum", labels);
  write_value(sum);
  write_name("_count", labels);
  text_.append(std::to_string(total)).append("\n");
}

// Writes the name of a sample, its labels and a space. `bound`: the label `le`; empty: none.
void MetricsWriter::write_name(std::string_view suffix, Labels labels, std::string_view bound) {
  text_.append(name_).append(suffix);
  char before = '{';
  const auto write = [&](std::string_view name, std::string_view value) {
    text_ += std::exchange(before, ',');
    text_.append(name).append("=\"");
    append_escaped(text_, value, true);
    text_ += '"';
  };
  for (const auto& [name, value] : labels) write(name, value);
  if (!bound.empty()) write("le", bound);
  text_.append(before == '{' ? " " : "} ");
}

void MetricsWriter::write_value(double value) { text_.append(decimal(value)).append("\n"); }

}  // namespace sluice::admin
