#pragma once

#include <string_view>

#include "iolib/base/error.h"
#include "iolib/json/json.h"

namespace sluice::admin {

/// The body of a request: a JSON object that has this key and no other. Returns its value; the
/// error is a sentence.
[[nodiscard]] Result<json::value> only_member(std::string_view body, std::string_view key);
/// The same for requests that say nothing: an empty body, or an object without keys.
[[nodiscard]] Result<> check_empty(std::string_view body);

}  // namespace sluice::admin
