#include "iolib/base/arguments.h"

namespace sluice {

std::optional<Argument> Arguments::next(const TakesValue& takes_value) {
  using Kind = Argument::Kind;
  const auto take = [this] {
    const std::string_view text = rest_.front();
    rest_ = rest_.subspan(1);
    return text;
  };
  if (!only_words_ && !rest_.empty() && std::string_view(rest_.front()) == "--") {
    take();
    only_words_ = true;
  }
  if (rest_.empty()) return {};
  const std::string_view text = take();
  if (only_words_ || text.size() < 2 || text.front() != '-') return Argument{Kind::word, {}, text};
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const std::optional<ValueUse> use = takes_value(name);
  if (!use) return Argument{Kind::unknown, name, {}};
  if (equals != text.npos) {
    const std::string_view value = text.substr(equals + 1);
    if (*use == ValueUse::none) return Argument{Kind::value_unwanted, name, value};
    return Argument{value.empty() ? Kind::value_missing : Kind::option, name, value};
  }
  const bool is_flag = rest_.empty() || *rest_.front() == '\0' || *rest_.front() == '-';
  if (*use == ValueUse::none || (*use == ValueUse::optional && is_flag)) {
    return Argument{Kind::flag, name, {}};
  }
  if (rest_.empty() || std::string_view(rest_.front()).starts_with("--")) {
    return Argument{Kind::value_missing, name, {}};
  }
  const std::string_view value = take();
  return Argument{value.empty() ? Kind::value_missing : Kind::option, name, value};
}

}  // namespace sluice
