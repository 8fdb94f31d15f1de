#include "proxy/admin/answer.h"

#include <utility>

#include "iolib/base/text.h"

namespace sluice::admin {

json::string json_decimal(std::uint64_t value) { return json::string(std::to_string(value)); }

json::string json_text(std::string_view bytes) { return json::string(valid_utf8(bytes)); }

HttpResponse make_json(const json::value& value) {
  return make_response("application/json", json::serialize(value) + "\n");
}

HttpResponse make_list(json::array items, std::optional<std::string> next) {
  json::object list;
  list["items"] = std::move(items);
  list["next"] = next ? json::value(json_text(*next)) : json::value(nullptr);
  return make_json(list);
}

}  // namespace sluice::admin
