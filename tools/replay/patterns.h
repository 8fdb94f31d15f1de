#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/error.h"

namespace sluice::replay {

/// Regular expressions in RE2's syntax, over bytes. A search takes time linear in the text,
/// whatever the text and the expressions are. Copies share the expressions.
class Patterns {
 public:
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;  ///< behind its last byte
  };

  /// No expressions.
  Patterns() = default;
  /// Fails if an expression is wrong, or matches a text of no bytes.
  [[nodiscard]] static Result<Patterns> compile(const std::vector<std::string>& expressions);

  [[nodiscard]] bool empty() const { return compiled_ == nullptr; }
  /// The first match of at least one byte that begins at `from` or behind. What is before `from`
  /// counts for ^ and \b only.
  [[nodiscard]] std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace sluice::replay
