#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::admin {

/// Writes metrics in the text format of Prometheus, version 0.0.4. Begin each family once, then add
/// its samples:
///
///     metrics.begin("sluice_connections_active", MetricType::gauge, "Connections served now.");
///     for (const auto& route : routes) metrics.add(route.active, {{"route", route.name}});
enum class MetricType : std::uint8_t { counter, gauge, histogram };

class MetricsWriter {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  /// Begins a family. A counter's name ends in `_total`; a name tells the unit: `_bytes`,
  /// `_seconds`. `help` is a sentence.
  void begin(std::string_view name, MetricType type, std::string_view help);
  /// Adds a sample of the current family. The names of labels must be valid; their values may hold
  /// any bytes.
  void add(std::uint64_t value, Labels labels = {});
  void add(double value, Labels labels = {});

  /// Adds a histogram to the current family. `bounds`: the upper bound of each bucket but the last,
  /// which has none, in ascending order. `counts`: how many values each bucket holds, so there is
  /// one more of them. `sum`: that of all values.
  void add_histogram(std::span<const double> bounds, std::span<const std::uint64_t> counts,
                     double sum, Labels labels = {});

  /// Adds a family with one sample.
  template <class Value>
  void add_single(std::string_view name, MetricType type, std::string_view help, Value value) {
    begin(name, type, help);
    add(value);
  }

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void write_name(std::string_view suffix, Labels labels, std::string_view bound = {});
  void write_value(double value);

  std::string text_;
  std::string name_;  // of the current family
};

}  // namespace sluice::admin
