#include "tools/replay/patterns.h"

#include <re2/re2.h>

#include "iolib/base/text.h"

namespace sluice::replay {
namespace {

RE2::Options options() {
  RE2::Options options;
  options.set_encoding(RE2::Options::EncodingLatin1);  // a byte is a character
  options.set_log_errors(false);
  options.set_never_capture(true);
  return options;
}

}  // namespace

struct Patterns::Compiled {
  explicit Compiled(const std::string& text) : expression(text, options()) {}
  RE2 expression;
};

Result<Patterns> Patterns::compile(const std::vector<std::string>& expressions) {
  Patterns patterns;
  std::string all;
  for (const std::string& each : expressions) {
    const Compiled one(each);
    if (!one.expression.ok()) return Error{0, in_quotes(each) + ": " + one.expression.error()};
    if (RE2::FullMatch("", one.expression)) {
      return Error{0, in_quotes(each) + " matches no bytes, too, expected at least one"};
    }
    all += (all.empty() ? "(?:" : "|(?:") + each + ')';
  }
  if (all.empty()) return patterns;
  patterns.compiled_ = std::make_shared<Compiled>(all);
  const RE2& expression = patterns.compiled_->expression;
  if (!expression.ok()) return Error{0, "all expressions together: " + expression.error()};
  return patterns;
}

std::optional<Patterns::Match> Patterns::find(std::string_view text, std::size_t from) const {
  while (from < text.size()) {
    re2::StringPiece found;
    if (!compiled_->expression.Match({text.data(), text.size()}, from, text.size(), RE2::UNANCHORED,
                                     &found, 1)) {
      return {};
    }
    const auto begin = static_cast<std::size_t>(found.data() - text.data());
    if (!found.empty()) return Match{begin, begin + found.size()};
    from = begin + 1;  // \b, for example
  }
  return {};
}

}  // namespace sluice::replay
