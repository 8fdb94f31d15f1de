#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace sluice {

/// One part of a command line. The texts are those of argv.
struct Argument {
  enum class Kind : std::uint8_t {
    word,            ///< `value`, which stands alone
    flag,            ///< the option `name`
    option,          ///< the option `name` with `value`, which is not empty
    unknown,         ///< `name` looks like an option, and is none
    value_missing,   ///< behind the option `name`
    value_unwanted,  ///< `value` with the flag `name`
  };
  Kind kind = Kind::word;
  std::string_view name;  ///< as it is written, with its dashes
  std::string_view value;
};

/// Takes a command line apart: `--option value`, `--option=value`, flags, and words. Options are
/// never abbreviated. A value that begins with "--" needs the form with "=". Behind "--" there are
/// only words; "-" is a word.
class Arguments {
 public:
  Arguments(int argc, const char* const* argv) : rest_(argv + (argc > 0 ? 1 : 0), argv + argc) {}

  /// Whether an option takes a value; nothing if there is no such option.
  using TakesValue = std::function<std::optional<bool>(std::string_view name)>;
  /// The next part, or nothing at the end.
  [[nodiscard]] std::optional<Argument> next(const TakesValue& takes_value);

 private:
  std::span<const char* const> rest_;
  bool only_words_ = false;
};

}  // namespace sluice
