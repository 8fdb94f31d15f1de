#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "iolib/json/json.h"
#include "proxy/admin/http.h"

namespace sluice::admin {

/// A number that may pass 2^53, which programs that read JSON may round: as text.
[[nodiscard]] json::string json_decimal(std::uint64_t value);
/// Text that may hold any bytes: what is not UTF-8 becomes U+FFFD.
[[nodiscard]] json::string json_text(std::string_view bytes);

[[nodiscard]] HttpResponse make_json(const json::value& value);
/// A list. `next`: the cursor of what follows; none: nothing does.
[[nodiscard]] HttpResponse make_list(json::array items, std::optional<std::string> next = {});

}  // namespace sluice::admin
