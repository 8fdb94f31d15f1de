#include "proxy/admin/guard.h"

#include <arpa/inet.h>

#include <algorithm>

#include "iolib/base/text.h"

namespace sluice::admin {
namespace {

constexpr std::size_t kLongestPort = 5;

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

bool is_address(int family, std::string_view text) {
  in6_addr address{};
  return ::inet_pton(family, std::string(text).c_str(), &address) == 1;
}

// Whether `text` is nothing, or a colon and a port.
bool is_port(std::string_view text) {
  if (text.empty()) return true;
  return text.front() == ':' && text.size() - 1 <= kLongestPort &&
         std::ranges::all_of(text.substr(1), is_digit);
}

// What every listener serves, without a token.
bool is_probe(std::string_view path) {
  return path == "/metrics" || path == "/livez" || path == "/readyz";
}

// The page holds no data of the daemon.
bool is_page(std::string_view path) { return path == "/" || path.starts_with("/assets/"); }

bool has_token(const HttpRequest& request, std::string_view token) {
  constexpr std::string_view kScheme = "bearer ";
  if (!request.authorization) return false;
  const std::string_view given = *request.authorization;
  return lower_case(given.substr(0, kScheme.size())) == kScheme &&
         equal_in_constant_time(given.substr(kScheme.size()), token);
}

HttpResponse token_problem(const HttpRequest& request) {
  const bool given = request.authorization.has_value();
  HttpResponse response = make_problem(401, given ? "The token is wrong." : "A token is needed.");
  response.fields.emplace_back(
      "WWW-Authenticate",
      given ? "Bearer realm=\"sluice\", error=\"invalid_token\"" : "Bearer realm=\"sluice\"");
  return response;
}

bool is_json(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return lower_case(type) == "application/json";
}

// A page of another origin can make a browser send requests. It cannot add this field, nor a JSON
// body, without asking first, and nobody answers what it asks.
std::optional<HttpResponse> refusal_of_change(const HttpRequest& request) {
  if (request.x_sluice != "1") {
    return make_problem(403, "Changes need the header field \"X-Sluice: 1\".");
  }
  if (request.origin && !(request.host && is_same_origin(*request.origin, *request.host))) {
    return make_problem(403, "Changes from pages of other origins are refused.");
  }
  if (!request.content_type || !is_json(*request.content_type)) {
    return make_problem(415, "Changes need the header field \"Content-Type: application/json\".");
  }
  return std::nullopt;
}

}  // namespace

std::optional<HttpResponse> refusal(const HttpRequest& request, const GuardRules& rules) {
  const std::string_view path = request.path();
  if (request.host && !is_known_host(*request.host, rules.hosts)) {
    return make_problem(421,
                        "The name in the Host field is neither an address, nor localhost, nor one "
                        "of admin-host.");
  }
  if (request.peer == Peer::remote && !is_probe(path)) {
    return make_problem(403, "This address serves /metrics, /livez and /readyz only.");
  }
  const bool needs_token = !rules.token.empty() && request.peer != Peer::unix_socket &&
                           !is_probe(path) && !is_page(path);
  if (needs_token && !has_token(request, rules.token)) return token_problem(request);
  return request.only_reads() ? std::nullopt : refusal_of_change(request);
}

bool is_known_host(std::string_view host, std::span<const std::string> names) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return end != host.npos && is_address(AF_INET6, host.substr(1, end - 1)) &&
           is_port(host.substr(end + 1));
  }
  const std::size_t colon = std::min(host.find(':'), host.size());
  if (!is_port(host.substr(colon))) return false;
  const std::string name = lower_case(host.substr(0, colon));
  return name == "localhost" || is_address(AF_INET, name) ||
         std::ranges::find(names, name) != names.end();
}

bool is_same_origin(std::string_view origin, std::string_view host) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!origin.starts_with(scheme)) continue;
    return lower_case(origin.substr(scheme.size())) == lower_case(host);
  }
  return false;
}

bool equal_in_constant_time(std::string_view given, std::string_view secret) {
  if (secret.empty()) return given.empty();
  unsigned difference = given.size() == secret.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^
                  static_cast<unsigned>(static_cast<unsigned char>(secret[i % secret.size()]));
  }
  return difference == 0;
}

}  // namespace sluice::admin
