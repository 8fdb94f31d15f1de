#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"

namespace sluice::replay {

/// Regular expressions in RE2's syntax, over bytes. Copies share the expressions.
class Patterns {
 public:
  /// No expressions.
  Patterns() = default;
  /// Fails if an expression is wrong, or matches a text of no bytes.
  [[nodiscard]] static Result<Patterns> compile(const std::vector<std::string>& expressions);

  [[nodiscard]] bool empty() const { return compiled_ == nullptr; }

 private:
  friend class PatternSearch;
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

/// Finds the matches of patterns in one text, from the left to the right. A search for one match of
/// an expression takes time linear in the text, whatever the text and the expression are.
class PatternSearch {
 public:
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;  ///< behind its last byte
  };

  /// Borrows both. Searches begin at index `from`; what is before it counts for ^ and \b only.
  PatternSearch(const Patterns& patterns, std::string_view text, std::size_t from);

  /// The first match of at least one byte. Matches of several expressions that overlap are one.
  /// The next call goes on behind it.
  [[nodiscard]] std::optional<Match> next();

 private:
  [[nodiscard]] Match first_of(std::size_t expression, std::size_t from) const;

  const Patterns& patterns_;
  std::string_view text_;
  std::vector<Match> ahead_;  // the next match of each expression; behind the text: none
};

}  // namespace sluice::replay
