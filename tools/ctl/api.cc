#include "tools/ctl/api.h"

#include <algorithm>
#include <utility>

#include "iolib/base/text.h"

namespace sluice::ctl {
namespace {

constexpr std::size_t kMostDetailBytes = 500;

json::array& items_of(json::object& page, const std::string& path) {
  json::value* const items = page.if_contains("items");
  if (items == nullptr || !items->is_array()) {
    throw Failure{kRefused, "the answer for " + path + " has no items"};
  }
  return items->as_array();
}

// The cursor of the page that follows; empty for the last one.
std::string next_of(const json::object& page, const std::string& path) {
  const json::value* const next = page.if_contains("next");
  if (next == nullptr || next->is_null()) return "";
  if (!next->is_string() || next->as_string().empty()) {
    throw Failure{kRefused, "the answer for " + path + " has no valid member \"next\""};
  }
  return std::string(next->as_string());
}

// The target of a page of a list. `limit` 0 and an empty `query` and `after` are left out.
std::string target_of(const std::string& path, const std::string& query, std::uint64_t limit,
                      const std::string& after) {
  std::string target = path;
  char separator = '?';
  const auto add = [&](std::string_view key, const std::string& value) {
    if (value.empty()) return;
    target += std::exchange(separator, '&');
    target.append(key).append(value);
  };
  add("", query);
  add("limit=", limit > 0 ? std::to_string(limit) : "");
  add("after=", percent_encoded(after));
  return target;
}

}  // namespace

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || is_digit(c) || std::string_view("-._~").find(c) != std::string_view::npos) {
      result += c;
    } else {
      result += '%';
      result += kHex[byte >> 4];
      result += kHex[byte & 0xf];
    }
  }
  return result;
}

std::string detail_of(const Answer& answer) {
  boost::system::error_code error;
  const json::value problem = json::parse(answer.body, error);
  if (!error && problem.is_object()) {
    for (const char* key : {"detail", "title"}) {
      const json::value* const text = problem.as_object().if_contains(key);
      if (text == nullptr || !text->is_string() || text->as_string().empty()) continue;
      const std::string detail(text->as_string());
      return detail.size() <= kMostDetailBytes ? detail
                                               : detail.substr(0, kMostDetailBytes) + "...";
    }
  }
  return "HTTP status " + std::to_string(answer.status);
}

namespace {

bool is_good(const Answer& answer) { return answer.status >= 200 && answer.status < 300; }

[[noreturn]] void refuse(const Answer& answer) {
  const std::string detail = detail_of(answer);
  if (answer.status == 401 || answer.status == 403) {
    const bool token = answer.status == 401;
    throw Failure{kNotAllowed,
                  "not allowed: " + detail + (token ? " --token-file names its file." : "")};
  }
  throw Failure{kRefused, detail};
}

}  // namespace

Answer Api::ask(const Request& request) const {
  Answer answer = client_.ask(request);
  if (!is_good(answer)) refuse(answer);
  return answer;
}

json::object Api::parse(const std::string& body, const std::string& target) const {
  boost::system::error_code error;
  json::value value = json::parse(body, error);
  if (error) {
    throw Failure{kRefused, "the answer of " + client_.address() + " for " + target +
                                " is no JSON: " + error.message()};
  }
  if (!value.is_object()) {
    throw Failure{kRefused,
                  "the answer of " + client_.address() + " for " + target + " is no JSON object"};
  }
  return std::move(value.as_object());
}

json::object Api::get(const std::string& target) const {
  return parse(ask({.target = target}).body, target);
}

json::object Api::list(const std::string& path, const std::string& query,
                       std::uint64_t limit) const {
  json::object all;
  std::string cursor;
  std::size_t bytes = 0;
  for (;;) {
    const std::uint64_t have = all.empty() ? 0 : all["items"].as_array().size();
    const std::uint64_t wanted = limit > 0 ? std::min(kMostPageItems, limit - have) : 0;
    const Answer answer = ask({.target = target_of(path, query, wanted, cursor)});
    bytes += answer.body.size();
    if (bytes > kMostListBytes) {
      throw Failure{kRefused, "the list is over " + std::to_string(kMostListBytes >> 20) +
                                  "MiB, use --limit"};
    }
    json::object page = parse(answer.body, path);
    json::array& items = items_of(page, path);
    const std::string next = next_of(page, path);
    const bool moves = !items.empty() && next != cursor;
    if (!next.empty() && !moves) {
      throw Failure{kRefused, "the answer for " + path + " has the same page again"};
    }
    if (all.empty()) {
      all = std::move(page);
    } else {
      json::array& joined = all["items"].as_array();
      std::ranges::move(items, std::back_inserter(joined));
      all["next"] = page["next"];
    }
    cursor = next;
    if (cursor.empty() || (limit > 0 && all["items"].as_array().size() >= limit)) return all;
  }
}

json::object Api::change(const std::string& method, const std::string& path,
                         const json::object& body) const {
  const Answer answer =
      ask({.method = method, .target = path, .body = body.empty() ? "" : json::serialize(body)});
  return answer.body.empty() ? json::object{} : parse(answer.body, path);
}

json::object Api::result(const std::string& path, Duration patience) const {
  const Answer answer = client_.ask({.method = "POST", .target = path, .patience = patience});
  if (!is_good(answer) && answer.content_type != "application/json") refuse(answer);
  json::object object = parse(answer.body, path);
  if (!object.contains("result")) {
    throw Failure{kRefused, "the answer for " + path + " has no result"};
  }
  return object;
}

void Api::check_ready() const { static_cast<void>(ask({.target = "/readyz"})); }

}  // namespace sluice::ctl
