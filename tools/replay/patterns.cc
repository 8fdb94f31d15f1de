#include "tools/replay/patterns.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>

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

// RE2 ends its reason with the part that is wrong, which can be the whole expression.
std::string reason_of(const RE2& wrong) {
  const std::string& part = wrong.error_arg();
  std::string reason = wrong.error();
  if (part.empty() || !reason.ends_with(": " + part)) return reason;
  reason.resize(reason.size() - part.size() - 2);
  return part == wrong.pattern() ? reason : reason + ": " + in_quotes(part);
}

}  // namespace

struct Patterns::Compiled {
  std::vector<std::unique_ptr<RE2>> expressions;
};

Result<Patterns> Patterns::compile(const std::vector<std::string>& expressions) {
  Patterns patterns;
  if (expressions.empty()) return patterns;
  const auto compiled = std::make_shared<Compiled>();
  for (const std::string& each : expressions) {
    auto one = std::make_unique<RE2>(each, options());
    if (!one->ok()) return Error{0, in_quotes(each) + ": " + reason_of(*one)};
    if (RE2::FullMatch("", *one)) {
      return Error{0, in_quotes(each) + " also matches an empty text, expected at least one byte"};
    }
    compiled->expressions.push_back(std::move(one));
  }
  patterns.compiled_ = compiled;
  return patterns;
}

PatternSearch::PatternSearch(const Patterns& patterns, std::string_view text, std::size_t from)
    : patterns_(patterns), text_(text) {
  for (std::size_t i = 0; i < patterns.compiled_->expressions.size(); ++i) {
    ahead_.push_back(first_of(i, from));
  }
}

PatternSearch::Match PatternSearch::first_of(std::size_t expression, std::size_t from) const {
  const RE2& regex = *patterns_.compiled_->expressions[expression];
  while (from < text_.size()) {
    re2::StringPiece found;
    if (!regex.Match({text_.data(), text_.size()}, from, text_.size(), RE2::UNANCHORED, &found,
                     1)) {
      break;
    }
    const auto begin = static_cast<std::size_t>(found.data() - text_.data());
    if (!found.empty()) return {begin, begin + found.size()};
    from = begin + 1;  // \b, for example
  }
  return {text_.size(), text_.size()};
}

std::optional<PatternSearch::Match> PatternSearch::next() {
  Match all = *std::ranges::min_element(ahead_, {}, &Match::begin);
  if (all.begin == text_.size()) return {};
  for (bool longer = true; longer;) {
    longer = false;
    for (std::size_t i = 0; i < ahead_.size(); ++i) {
      while (ahead_[i].begin < all.end) {
        longer = longer || ahead_[i].end > all.end;
        all.end = std::max(all.end, ahead_[i].end);
        ahead_[i] = first_of(i, ahead_[i].end);
      }
    }
  }
  return all;
}

}  // namespace sluice::replay
