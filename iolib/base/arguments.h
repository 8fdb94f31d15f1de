#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace sluice {

/// One part of a command line. The texts are borrowed from argv.
struct Argument {
  enum class Kind : std::uint8_t {
    word,            ///< `value` is an argument that is no option
    flag,            ///< the option `name` without a value
    option,          ///< the option `name` with `value`, which is not empty
    unknown,         ///< `name` looks like an option but is not one
    value_missing,   ///< the option `name` needs a value
    value_unwanted,  ///< the flag `name` was given `value`
  };
  Kind kind = Kind::word;
  std::string_view name;  ///< as written, with its dashes
  std::string_view value;
};

/// Whether an option takes a value. An optional value that begins with "-" needs the form with "=".
enum class ValueUse : std::uint8_t { none, optional, required };

/// Splits a command line into `--option value`, `--option=value`, flags and words.
///
/// Options cannot be abbreviated. A value that begins with "--" needs the form with "=". After "--"
/// every argument is a word. "-" is a word.
class Arguments {
 public:
  Arguments(int argc, const char* const* argv) : rest_(argv + (argc > 0 ? 1 : 0), argv + argc) {}

  /// Whether the option `name` takes a value; nullopt if there is no such option.
  using TakesValue = std::function<std::optional<ValueUse>(std::string_view name)>;
  /// The next part; nullopt at the end.
  [[nodiscard]] std::optional<Argument> next(const TakesValue& takes_value);

 private:
  std::span<const char* const> rest_;
  bool only_words_ = false;
};

}  // namespace sluice
