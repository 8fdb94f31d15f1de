#pragma once

#include <memory>
#include <string>
#include <vector>

namespace sluice::test {

/// A regular expression (ECMAScript), compiled once: std::regex costs each file that includes it 3
/// s.
class Regex {
 public:
  /// Throws std::regex_error.
  explicit Regex(const std::string& pattern);

  [[nodiscard]] bool is_in(const std::string& text) const;
  /// All of the text is a match.
  [[nodiscard]] bool matches(const std::string& text) const;
  /// The first match in the text, then its groups; empty if there is none.
  [[nodiscard]] std::vector<std::string> first_in(const std::string& text) const;
  /// Every match in the text.
  [[nodiscard]] std::vector<std::string> all_in(const std::string& text) const;
  /// The text with `replacement` for every match.
  [[nodiscard]] std::string replaced(const std::string& text, const std::string& replacement) const;

 private:
  class Compiled;
  std::shared_ptr<const Compiled> regex_;
};

}  // namespace sluice::test
