#include "proxy/admin/body.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "iolib/base/text.h"

namespace sluice::admin {
namespace {

// The most unknown keys that an answer names.
constexpr std::size_t kMostNamed = 8;

Error sentence(std::string text) { return {0, std::move(text)}; }

// How many members an object has in its text, which is valid JSON.
std::size_t count_members(std::string_view text) {
  std::size_t count = 0;
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      if (c == ':' && depth == 1) ++count;
    }
  }
  return count;
}

// Programs differ in which value they take of a key that is there twice, so none may be.
Result<json::object> parse_object(std::string_view body) {
  json::error_code error;
  json::value value = json::parse(body, error);
  if (error) return sentence("The body is no valid JSON.");
  if (!value.is_object()) return sentence("The body is no JSON object.");
  if (count_members(body) != value.as_object().size()) {
    return sentence("The body has a key twice.");
  }
  return std::move(value.as_object());
}

// Names the keys that are not `known`, if there are any. Without `known`, none is.
Result<> check_keys(const json::object& object, std::optional<std::string_view> known) {
  std::string unknown;
  std::size_t count = 0;
  for (const auto& [key, value] : object) {
    if (std::string_view(key) == known) continue;
    if (++count > kMostNamed) break;
    unknown += (count == 1 ? "" : ", ") + in_quotes(std::string_view(key));
  }
  if (count > kMostNamed) unknown += " and more";
  if (unknown.empty()) return {};
  const std::string expected = known ? in_quotes(*known) : "none";
  return sentence("The body has unknown keys: " + unknown + "; expected " + expected + ".");
}

}  // namespace

Result<json::value> only_member(std::string_view body, std::string_view key) {
  Result<json::object> object = parse_object(body);
  if (object.has_error()) return object.error();
  if (Result<> checked = check_keys(*object, key); checked.has_error()) return checked.error();
  json::value* value = object->if_contains(key);
  if (value == nullptr) return sentence("The body lacks the key " + in_quotes(key) + ".");
  return std::move(*value);
}

Result<> check_empty(std::string_view body) {
  if (body.empty()) return {};
  const Result<json::object> object = parse_object(body);
  if (object.has_error()) return object.error();
  return check_keys(*object, std::nullopt);
}

}  // namespace sluice::admin
