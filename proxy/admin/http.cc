#include "proxy/admin/http.h"

#include <ctime>

#include "iolib/base/text.h"
#include "iolib/json/json.h"

namespace sluice::admin {
namespace {

constexpr unsigned kNoContent = 204;
constexpr unsigned kNotModified = 304;

std::string http_date(std::int64_t now) {
  const std::time_t time = now;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  // The daemon never calls setlocale(), so the names are English.
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view part) {
  std::string decoded;
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] != '%') {
      decoded += part[i];
      continue;
    }
    if (part.size() - i < 3) return std::nullopt;
    const std::optional<unsigned> high = hex_digit(part[i + 1]);
    const std::optional<unsigned> low = hex_digit(part[i + 2]);
    if (!high || !low) return std::nullopt;
    decoded += static_cast<char>(*high << 4 | *low);
    i += 2;
  }
  return decoded;
}

HttpResponse make_response(std::string content_type, std::string body) {
  HttpResponse response;
  response.content_type = std::move(content_type);
  response.body = std::make_shared<const std::string>(std::move(body));
  return response;
}

HttpResponse make_no_content() {
  HttpResponse response;
  response.status = kNoContent;
  return response;
}

HttpResponse make_problem(unsigned status, std::string_view detail) {
  json::object problem;
  problem["type"] = "about:blank";
  problem["title"] = std::string(reason_phrase(status));
  problem["status"] = status;
  problem["detail"] = valid_utf8(detail);
  HttpResponse response =
      make_response("application/problem+json", json::serialize(problem) + "\n");
  response.status = status;
  return response;
}

std::string_view reason_phrase(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

std::string response_header(const HttpResponse& response, bool keep_alive, std::int64_t now) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     std::string(reason_phrase(response.status)) + "\r\n";
  const auto add = [&text](std::string_view name, std::string_view value) {
    text.append(name).append(": ").append(value).append("\r\n");
  };
  add("Date", http_date(now));
  if (!response.content_type.empty()) add("Content-Type", response.content_type);
  // RFC 9110, section 8.6: a 204 must not have a length, and a 304 only that of what it leaves out.
  if (response.status != kNoContent && response.status != kNotModified) {
    add("Content-Length", std::to_string(response.body ? response.body->size() : 0));
  }
  add("Cache-Control", response.cache_control);
  add("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.fields) add(name, value);
  add("Connection", keep_alive ? "keep-alive" : "close");
  return text + "\r\n";
}

}  // namespace sluice::admin
