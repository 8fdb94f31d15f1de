#include "tools/common/endpoint.h"

#include <netdb.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>
#include <variant>

#include "iolib/base/text.h"

namespace sluice {
namespace {

Result<std::vector<Endpoint>> look_up(const HostPort& where, const std::string& text,
                                      bool listening) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (listening ? AI_PASSIVE : 0);
  // An empty host means the same as in sluice's own options.
  if (where.host.empty()) hints.ai_family = listening ? AF_INET6 : AF_INET;
  addrinfo* found = nullptr;
  const char* host = where.host.empty() ? nullptr : where.host.c_str();
  const int status = ::getaddrinfo(host, std::to_string(where.port).c_str(), &hints, &found);
  if (status != 0) return Error{0, "resolve " + text + ": " + ::gai_strerror(status)};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  std::vector<Endpoint> all;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Endpoint& endpoint = all.emplace_back();
    endpoint.size_bytes = each->ai_addrlen;
    endpoint.text = text;
    std::memcpy(&endpoint.address, each->ai_addr, each->ai_addrlen);
  }
  return all;
}

}  // namespace

Result<TargetAddress> parse_server_address(const std::string& text) {
  Result<TargetAddress> parsed = parse_target_address(text);
  const bool has_scheme =
      text.starts_with("file:") || text.starts_with("dns:") || text.starts_with("srv:");
  if (parsed.has_value() ? !is_server(*parsed) : has_scheme) {
    return Error{0, in_quotes(text) + ": expected HOST:PORT, [IPV6]:PORT, :PORT or unix:/path"};
  }
  // The error of a listen address lists exactly the forms that are valid here. The error of a
  // target address would list more.
  if (parsed.has_error()) {
    const Result<ListenAddress> formed = parse_listen_address(text);
    if (formed.has_error()) return formed.error();
  }
  return parsed;
}

Result<std::vector<Endpoint>> resolve_target(const std::string& text) {
  const Result<TargetAddress> parsed = parse_server_address(text);
  if (parsed.has_error()) return parsed.error();
  if (const auto* path = std::get_if<UnixEndpoint>(&*parsed))
    return std::vector{make_endpoint(*path)};
  return look_up(std::get<HostPort>(*parsed), text, false);
}

Result<Endpoint> resolve_listen(const std::string& text) {
  const Result<ListenAddress> parsed = parse_listen_address(text);
  if (parsed.has_error()) return parsed.error();
  if (const auto* path = std::get_if<UnixEndpoint>(&*parsed)) return make_endpoint(*path);
  const Result<std::vector<Endpoint>> found = look_up(std::get<HostPort>(*parsed), text, true);
  if (found.has_error()) return found.error();
  return found->front();
}

}  // namespace sluice
