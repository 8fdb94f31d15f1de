#include "tools/common/endpoint.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>
#include <memory>
#include <variant>

#include "iolib/base/address.h"

namespace sluice {
namespace {

Endpoint unix_endpoint(const UnixEndpoint& path, const std::string& text) {
  Endpoint endpoint{.text = text};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The parser has bounded the path.
  std::memcpy(address.sun_path, path.path.c_str(), path.path.size());
  std::memcpy(&endpoint.address, &address, sizeof address);
  endpoint.size_bytes = sizeof address;
  return endpoint;
}

Result<Endpoint> look_up(const HostPort& where, const std::string& text, bool listening) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (listening ? AI_PASSIVE : 0);
  // What an empty host means is the same as in sluice itself.
  if (where.host.empty()) hints.ai_family = listening ? AF_INET6 : AF_INET;
  addrinfo* found = nullptr;
  const char* host = where.host.empty() ? nullptr : where.host.c_str();
  const int status = ::getaddrinfo(host, std::to_string(where.port).c_str(), &hints, &found);
  if (status != 0) return Error{0, "resolve " + text + ": " + ::gai_strerror(status)};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  Endpoint endpoint{.size_bytes = found->ai_addrlen, .text = text};
  std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
  return endpoint;
}

}  // namespace

Result<Endpoint> resolve_target(const std::string& text) {
  const Result<TargetAddress> parsed = parse_target_address(text);
  if (parsed.has_error()) return parsed.error();
  if (const auto* path = std::get_if<UnixEndpoint>(&*parsed)) return unix_endpoint(*path, text);
  if (const auto* host = std::get_if<HostPort>(&*parsed)) return look_up(*host, text, false);
  return Error{0, text + ": expected HOST:PORT or unix:/path"};
}

Result<Endpoint> resolve_listen(const std::string& text) {
  const Result<ListenAddress> parsed = parse_listen_address(text);
  if (parsed.has_error()) return parsed.error();
  if (const auto* path = std::get_if<UnixEndpoint>(&*parsed)) return unix_endpoint(*path, text);
  return look_up(std::get<HostPort>(*parsed), text, true);
}

}  // namespace sluice
