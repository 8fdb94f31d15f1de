#include "iolib/base/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstring>

#include "iolib/base/text.h"

namespace sluice {
namespace {

// Result<T> of an integer T needs this tag: a bare integer converts to an Error (its code) as well.
using boost::system::in_place_value;

// sun_path holds 108 bytes, the last of them for the terminating NUL (unix(7)).
constexpr std::size_t kLongestUnixPathBytes = sizeof(sockaddr_un::sun_path) - 1;
// An abstract name begins with a NUL, which the parsed text writes as `@`. No NUL terminates it.
constexpr std::size_t kLongestAbstractBytes = sizeof(sockaddr_un::sun_path);
constexpr std::size_t kLongestFilePathBytes = PATH_MAX - 1;
// RFC 1035, section 2.3.4, in written form. A trailing dot is not counted.
constexpr std::size_t kLongestNameBytes = 253;
constexpr std::size_t kLongestLabelBytes = 63;
constexpr unsigned kHighestPort = 65'535;

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kFilePrefix = "file:";
constexpr std::string_view kDnsPrefix = "dns:";
constexpr std::string_view kSrvPrefix = "srv:";
constexpr std::string_view kListenForm = "expected HOST:PORT, [IPV6]:PORT, :PORT or unix:/path";
constexpr std::string_view kTargetForm =
    "expected HOST:PORT, [IPV6]:PORT, :PORT, dns:HOST:PORT, srv:_NAME._tcp.DOMAIN, unix:/path, "
    "file:/path, discard: or echo:";
constexpr std::string_view kDnsForm = "expected dns:HOST:PORT with a name";
constexpr std::string_view kSrvForm = "expected srv:_NAME._tcp.DOMAIN";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
// RFC 952 has no underscore, but names of containers and services use it.
bool is_name_character(char c) { return is_digit(c) || is_letter(c) || c == '-' || c == '_'; }

Result<std::string> parse_path(std::string_view text, std::string_view prefix,
                               std::size_t longest_bytes) {
  const std::string_view path = text.substr(prefix.size());
  if (path.empty() || path.front() != '/') {
    const std::string_view other = prefix == kUnixPrefix ? " or unix:@name" : "";
    return bad_text("no absolute path", text,
                    "expected " + std::string(prefix) + "/path" + std::string(other));
  }
  if (path.size() > longest_bytes) {
    return bad_text("path of " + std::to_string(path.size()) + " bytes", text,
                    "expected at most " + std::to_string(longest_bytes));
  }
  if (path.find('\0') != path.npos) {
    return bad_text("NUL byte in the path", text, "expected a path without one");
  }
  return std::string(path);
}

Result<UnixEndpoint> parse_unix(std::string_view text) {
  const std::string_view name = text.substr(kUnixPrefix.size());
  if (!name.starts_with('@')) {
    Result<std::string> path = parse_path(text, kUnixPrefix, kLongestUnixPathBytes);
    if (!path) return path.error();
    return UnixEndpoint{*std::move(path)};
  }
  if (name.size() == 1 || name.size() > kLongestAbstractBytes) {
    return bad_text("name of " + std::to_string(name.size() - 1) + " bytes", text,
                    "expected 1 to " + std::to_string(kLongestAbstractBytes - 1));
  }
  if (name.find('\0') != name.npos) {
    return bad_text("NUL byte in the name", text, "expected a name without one");
  }
  return UnixEndpoint{std::string(name)};
}

/// Checks a name or an IPv4 address. The last label of a name is never all digits (RFC 3696,
/// section 2). Such a host must therefore be an IPv4 address; otherwise it is an error and never
/// reaches the resolver.
Result<std::string> parse_host(std::string_view host, std::string_view text) {
  std::string_view rest = host;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  if (rest.empty() || rest.size() > kLongestNameBytes) {
    return bad_text("host of " + std::to_string(rest.size()) + " bytes", text,
                    "expected a name of 1 to " + std::to_string(kLongestNameBytes) + " bytes");
  }
  std::string_view label;
  while (true) {
    const std::size_t dot = rest.find('.');
    label = rest.substr(0, dot);
    if (!std::ranges::all_of(label, is_name_character)) {
      return bad_text("host " + in_quotes(host), text,
                      "expected letters, digits, '-', '_' and '.' in it");
    }
    if (label.empty() || label.size() > kLongestLabelBytes) {
      return bad_text(
          "host " + in_quotes(host), text,
          "expected 1 to " + std::to_string(kLongestLabelBytes) + " bytes between the dots");
    }
    if (dot == rest.npos) break;
    rest.remove_prefix(dot + 1);
  }
  in_addr v4{};
  if (std::ranges::all_of(label, is_digit) &&
      inet_pton(AF_INET, std::string(host).c_str(), &v4) != 1) {
    return bad_text("IPv4 address " + in_quotes(host), text, "expected four numbers of 0 to 255");
  }
  return std::string(host);
}

/// Checks the text between the brackets: an IPv6 address, with or without %SCOPE.
Result<std::string> parse_v6_host(std::string_view host, std::string_view text) {
  const std::size_t percent = host.find('%');
  in6_addr v6{};
  // A NUL would end the C string early and hide what follows it.
  if (host.find('\0') != host.npos ||
      inet_pton(AF_INET6, std::string(host.substr(0, percent)).c_str(), &v6) != 1) {
    return bad_text("IPv6 address " + in_quotes(host), text, "expected one such as [::1]:PORT");
  }
  if (percent != host.npos) {
    const std::string_view scope = host.substr(percent + 1);
    const auto is_scope_character = [](char c) { return c > ' ' && c != '/' && c != 0x7f; };
    if (scope.empty() || scope.size() >= IF_NAMESIZE ||
        !std::ranges::all_of(scope, is_scope_character)) {
      return bad_text("scope " + in_quotes(scope), text, "expected an interface's name or number");
    }
  }
  return std::string(host);
}

Result<std::uint16_t> parse_port(std::string_view digits, std::string_view text) {
  unsigned port = 0;
  const char* const end = digits.data() + digits.size();
  const auto [after, error] = std::from_chars(digits.data(), end, port);
  if (error != std::errc() || after != end || port > kHighestPort) {
    return bad_text("port " + in_quotes(digits), text, "expected a number of 0 to 65535");
  }
  return {in_place_value, static_cast<std::uint16_t>(port)};
}

Result<HostPort> parse_host_port(std::string_view text, std::string_view form) {
  HostPort address;
  std::string_view host;
  std::string_view port;
  const bool bracketed = text.starts_with('[');
  if (bracketed) {
    const std::size_t bracket = text.find(']');
    if (bracket == text.npos) return bad_text("no closing bracket", text, form);
    host = text.substr(1, bracket - 1);
    port = text.substr(bracket + 1);
    if (!port.starts_with(':')) return bad_text("missing port", text, form);
    port.remove_prefix(1);
  } else {
    const std::size_t colon = text.find(':');
    if (colon == text.npos) return bad_text("missing port", text, form);
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    in6_addr v6{};
    const std::string_view before_last = text.substr(0, text.rfind(':'));
    if (inet_pton(AF_INET6, std::string(text).c_str(), &v6) == 1 ||
        inet_pton(AF_INET6, std::string(before_last).c_str(), &v6) == 1) {
      return bad_text("IPv6 address without brackets", text, form);
    }
  }
  if (bracketed || !host.empty()) {
    Result<std::string> checked = bracketed ? parse_v6_host(host, text) : parse_host(host, text);
    if (!checked) return checked.error();
    address.host = *std::move(checked);
  }
  const Result<std::uint16_t> number = parse_port(port, text);
  if (!number) return number.error();
  address.port = *number;
  return address;
}

/// Whether `text` has the prefix of a scheme. "dns:53" is port 53 of a host called dns.
bool has_scheme(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) && !std::ranges::all_of(text.substr(prefix.size()), is_digit);
}

Result<DnsName> parse_dns(std::string_view text) {
  Result<HostPort> address = parse_host_port(text.substr(kDnsPrefix.size()), kDnsForm);
  if (!address) return address.error();
  const bool is_v6 = address->host.find(':') != std::string::npos;
  if (address->host.empty() || is_v6 || numeric_address(*address)) {
    return bad_text("no name", text, kDnsForm);
  }
  return DnsName{std::move(address->host), address->port};
}

Result<SrvName> parse_srv(std::string_view text) {
  const std::string_view name = text.substr(kSrvPrefix.size());
  const std::size_t service_end = std::min(name.find('.'), name.size());
  const std::string_view service = name.substr(0, service_end);
  const std::string_view rest = name.substr(service_end);
  constexpr std::string_view kTcp = "._tcp.";
  if (service.size() < 2 || !service.starts_with('_') || !rest.starts_with(kTcp) ||
      rest.size() == kTcp.size()) {
    return bad_text("no name of a service", text, kSrvForm);
  }
  Result<std::string> checked = parse_host(name, text);
  if (!checked) return checked.error();
  return SrvName{*std::move(checked)};
}

/// Reads an IPv6 scope: a number, or the name of an interface of this machine.
Result<std::uint32_t> scope_id(const std::string& scope) {
  std::uint32_t id = 0;
  const char* const end = scope.data() + scope.size();
  const auto [after, error] = std::from_chars(scope.data(), end, id);
  if (error == std::errc() && after == end) return {in_place_value, id};
  id = if_nametoindex(scope.c_str());
  if (id == 0) return errno_error("if_nametoindex " + in_quotes(scope));
  return {in_place_value, id};
}

std::string to_string(const HostPort& address) {
  const bool brackets = address.host.find(':') != std::string::npos;
  return (brackets ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}
std::string to_string(const UnixEndpoint& endpoint) {
  return std::string(kUnixPrefix) + endpoint.path;
}
std::string to_string(const FileEndpoint& endpoint) {
  return std::string(kFilePrefix) + endpoint.path;
}
std::string to_string(const DiscardEndpoint&) { return "discard:"; }
std::string to_string(const EchoEndpoint&) { return "echo:"; }
std::string to_string(const DnsName& name) {
  return std::string(kDnsPrefix) + name.host + ":" + std::to_string(name.port);
}
std::string to_string(const SrvName& name) { return std::string(kSrvPrefix) + name.name; }

// The IPv4 address inside an IPv4-mapped one. A dual-stack listener reports IPv4 peers as mapped.
SocketAddress unmapped(const sockaddr_in6& mapped) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = mapped.sin6_port;
  std::memcpy(&v4.sin_addr, &mapped.sin6_addr.s6_addr[12], sizeof v4.sin_addr);
  return SocketAddress(v4);
}

}  // namespace

// Copies the whole structure into the union. The family, which is first in both, says which one it
// is.
SocketAddress::SocketAddress(const sockaddr_in& v4) { std::memcpy(&v6_, &v4, sizeof v4); }
SocketAddress::SocketAddress(const sockaddr_in6& v6) : v6_(v6) {}

SocketAddress SocketAddress::from(const sockaddr* address, socklen_t length) {
  SocketAddress result;
  sa_family_t family = AF_UNSPEC;
  if (address == nullptr || length < sizeof family) return result;
  std::memcpy(&family, address, sizeof family);
  const bool v4 = family == AF_INET && length >= sizeof(sockaddr_in);
  const bool v6 = family == AF_INET6 && length >= sizeof(sockaddr_in6);
  if (v4) std::memcpy(&result.v6_, address, sizeof(sockaddr_in));
  if (v6) std::memcpy(&result.v6_, address, sizeof(sockaddr_in6));
  return v6 && IN6_IS_ADDR_V4MAPPED(&result.v6_.sin6_addr) ? unmapped(result.v6_) : result;
}

const sockaddr* SocketAddress::data() const {
  return static_cast<const sockaddr*>(static_cast<const void*>(&v6_));
}

socklen_t SocketAddress::size_bytes() const {
  if (family() == AF_INET) return sizeof(sockaddr_in);
  return family() == AF_INET6 ? sizeof(sockaddr_in6) : 0;
}

int SocketAddress::family() const { return v6_.sin6_family; }

std::span<const std::byte> SocketAddress::host_bytes() const {
  if (family() == AF_INET) return std::as_bytes(std::span(&v4_.sin_addr, 1));
  if (family() == AF_INET6) return std::as_bytes(std::span(&v6_.sin6_addr, 1));
  return {};
}

// The port has the same offset in both structures.
std::uint16_t SocketAddress::port() const { return ntohs(v6_.sin6_port); }

std::string SocketAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &v6_, sizeof v4);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(port());
  }
  if (family() != AF_INET6) return "-";
  inet_ntop(AF_INET6, &v6_.sin6_addr, text.data(), text.size());
  std::string host = text.data();
  if (v6_.sin6_scope_id != 0) host += "%" + std::to_string(v6_.sin6_scope_id);
  return "[" + host + "]:" + std::to_string(port());
}

bool operator==(const SocketAddress& a, const SocketAddress& b) {
  if (a.family() != b.family() || a.port() != b.port()) return false;
  if (a.family() == AF_INET) {
    // Compare the IPv4 member: sockaddr_in has its address where sockaddr_in6 has its flow label.
    return std::memcmp(&a.v4_.sin_addr, &b.v4_.sin_addr, sizeof(in_addr)) == 0;
  }
  return std::memcmp(&a.v6_.sin6_addr, &b.v6_.sin6_addr, sizeof(in6_addr)) == 0 &&
         a.v6_.sin6_scope_id == b.v6_.sin6_scope_id;
}

Result<ListenAddress> parse_listen_address(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) {
    Result<UnixEndpoint> endpoint = parse_unix(text);
    if (!endpoint) return endpoint.error();
    return ListenAddress(*std::move(endpoint));
  }
  if (text.starts_with(kFilePrefix) || text == "discard:" || text == "echo:" ||
      has_scheme(text, kDnsPrefix) || has_scheme(text, kSrvPrefix)) {
    return bad_text("a target, not a listen address,", text, kListenForm);
  }
  Result<HostPort> address = parse_host_port(text, kListenForm);
  if (!address) return address.error();
  return ListenAddress(*std::move(address));
}

Result<TargetAddress> parse_target_address(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) {
    Result<UnixEndpoint> endpoint = parse_unix(text);
    if (!endpoint) return endpoint.error();
    return TargetAddress(*std::move(endpoint));
  }
  if (text.starts_with(kFilePrefix)) {
    Result<std::string> path = parse_path(text, kFilePrefix, kLongestFilePathBytes);
    if (!path) return path.error();
    return TargetAddress(FileEndpoint{*std::move(path)});
  }
  // "echo:7" is port 7 of a host called echo.
  if (text == "discard:") return TargetAddress(DiscardEndpoint{});
  if (text == "echo:") return TargetAddress(EchoEndpoint{});
  if (has_scheme(text, kSrvPrefix)) {
    Result<SrvName> name = parse_srv(text);
    if (!name) return name.error();
    return TargetAddress(*std::move(name));
  }
  constexpr std::string_view kPorts = "expected a number of 1 to 65535 to connect to";
  if (has_scheme(text, kDnsPrefix)) {
    Result<DnsName> name = parse_dns(text);
    if (!name) return name.error();
    if (name->port == 0) return bad_text("port 0", text, kPorts);
    return TargetAddress(*std::move(name));
  }
  Result<HostPort> address = parse_host_port(text, kTargetForm);
  if (!address) return address.error();
  if (address->port == 0) return bad_text("port 0", text, kPorts);
  return TargetAddress(*std::move(address));
}

std::string to_string(const ListenAddress& address) {
  return std::visit([](const auto& endpoint) { return to_string(endpoint); }, address);
}

std::string to_string(const TargetAddress& address) {
  return std::visit([](const auto& endpoint) { return to_string(endpoint); }, address);
}

Result<SocketAddress> numeric_address(const HostPort& address) {
  sockaddr_in v4{};
  if (inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    return SocketAddress(v4);
  }
  sockaddr_in6 v6{};
  const std::size_t percent = address.host.find('%');
  if (inet_pton(AF_INET6, address.host.substr(0, percent).c_str(), &v6.sin6_addr) != 1) {
    return bad_text("a name", address.host, "expected a numeric address");
  }
  if (percent != std::string::npos) {
    const Result<std::uint32_t> id = scope_id(address.host.substr(percent + 1));
    if (!id) return id.error();
    v6.sin6_scope_id = *id;
  }
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  return SocketAddress(v6);
}

}  // namespace sluice
