#include "iolib/capture/filter.h"

#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <span>

#include "iolib/base/text.h"

namespace sluice::capture {
namespace {

using boost::system::in_place_value;

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
// Nanoseconds up to this many seconds fit a signed 64-bit number.
constexpr std::uint64_t kMostSeconds = 9'223'372'036;

// The bytes of the IP address, borrowed from `address`; empty if it has none.
std::span<const std::uint8_t> bytes_of(const SocketAddress& address) {
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.data());
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.data());
  const auto bytes = [](const auto& number) {
    return std::span(reinterpret_cast<const std::uint8_t*>(&number), sizeof number);
  };
  if (address.family() == AF_INET) return bytes(v4->sin_addr);
  if (address.family() == AF_INET6) return bytes(v6->sin6_addr);
  return {};
}

bool same_bits(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, unsigned bits) {
  const std::size_t whole = bits / 8;
  if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(whole), b.begin())) {
    return false;
  }
  const unsigned rest = bits % 8;
  return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

// The address and port of a peer as a capture names it; nothing if it has no port.
std::optional<HostPort> peer_of(const std::string& text) {
  const Result<ListenAddress> parsed = parse_listen_address(text);
  const HostPort* peer = parsed ? std::get_if<HostPort>(&*parsed) : nullptr;
  return peer != nullptr ? std::optional(*peer) : std::nullopt;
}

// Removes exactly `digits` digits from `text`, and then `separator` unless it is 0.
bool take(std::string_view& text, std::size_t digits, char separator, int& to) {
  if (text.size() < digits) return false;
  const auto [after, error] = std::from_chars(text.data(), text.data() + digits, to);
  if (error != std::errc() || after != text.data() + digits || to < 0) return false;
  text.remove_prefix(digits);
  if (separator == 0) return true;
  if (text.empty() || text.front() != separator) return false;
  text.remove_prefix(1);
  return true;
}

// Removes an optional fraction such as ".5" and gives it in nanoseconds; 0 if there is none.
bool take_fraction(std::string_view& text, std::uint64_t& nanoseconds) {
  nanoseconds = 0;
  if (text.empty() || text.front() != '.') return true;
  text.remove_prefix(1);
  std::uint64_t unit = kNsPerSecond;
  bool any = false;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    unit /= 10;
    nanoseconds += unit * static_cast<std::uint64_t>(text.front() - '0');
    text.remove_prefix(1);
    any = true;
  }
  return any;
}

// Parses "Z", "+02:00" or "-02:00" to seconds.
bool take_zone(std::string_view& text, int& seconds) {
  seconds = 0;
  if (text == "Z" || text == "z") return true;
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return false;
  const int sign = text.front() == '+' ? 1 : -1;
  text.remove_prefix(1);
  int hours = 0;
  int minutes = 0;
  if (!take(text, 2, ':', hours) || !take(text, 2, 0, minutes) || !text.empty()) return false;
  if (hours > 23 || minutes > 59) return false;
  seconds = sign * (hours * 3600 + minutes * 60);
  return true;
}

std::optional<std::uint64_t> parse_seconds(std::string_view text) {
  std::uint64_t seconds = 0;
  const auto [after, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || seconds >= kMostSeconds) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(after - text.data()));
  std::uint64_t fraction = 0;
  if (!take_fraction(text, fraction) || !text.empty()) return std::nullopt;
  return seconds * kNsPerSecond + fraction;
}

std::optional<std::uint64_t> parse_date(std::string_view text) {
  int year = 0;
  int month = 0;
  int day = 0;
  if (!take(text, 4, '-', year) || !take(text, 2, '-', month) || !take(text, 2, 0, day)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  std::int64_t seconds =
      std::chrono::seconds(std::chrono::sys_days(date).time_since_epoch()).count();
  std::uint64_t fraction = 0;
  if (!text.empty()) {
    int hour = 0;
    int minute = 0;
    int second = 0;
    int zone = 0;
    if (text.front() != 'T' && text.front() != 't' && text.front() != ' ') return std::nullopt;
    text.remove_prefix(1);
    if (!take(text, 2, ':', hour) || !take(text, 2, ':', minute) || !take(text, 2, 0, second) ||
        !take_fraction(text, fraction) || !take_zone(text, zone) || hour > 23 || minute > 59 ||
        second > 60) {
      return std::nullopt;
    }
    seconds += hour * 3600 + minute * 60 + second - zone;
  }
  if (seconds < 0 || static_cast<std::uint64_t>(seconds) >= kMostSeconds) return std::nullopt;
  return static_cast<std::uint64_t>(seconds) * kNsPerSecond + fraction;
}

}  // namespace

Result<Cidr> Cidr::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  const Result<SocketAddress> address = numeric_address({host, 0});
  const Error wrong{0, "not an address range: " + in_quotes(text) +
                           ": expected one such as 10.0.0.0/8 or 2001:db8::/32"};
  // A NUL would end the text early. A range has no scope.
  if (!address || host.find('\0') != std::string::npos || host.find('%') != std::string::npos) {
    return wrong;
  }
  const std::span<const std::uint8_t> bytes = bytes_of(*address);
  const auto most_bits = static_cast<unsigned>(8 * bytes.size());
  Cidr range;
  range.family_ = address->family();
  std::ranges::copy(bytes, range.prefix_.begin());
  range.bits_ = most_bits;
  if (slash != text.npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [after, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), range.bits_);
    if (error != std::errc() || after != digits.data() + digits.size() || range.bits_ > most_bits) {
      return wrong;
    }
  }
  for (unsigned bit = range.bits_; bit < most_bits; ++bit) {
    if ((bytes[bit / 8] >> (7 - bit % 8) & 1) != 0) {
      return Error{0, in_quotes(text) + ": address bits after the prefix are not zero"};
    }
  }
  return range;
}

bool Cidr::contains(const SocketAddress& address) const {
  return address.family() == family_ && same_bits(prefix_, bytes_of(address), bits_);
}

Result<std::uint64_t> parse_time(std::string_view text) {
  const std::optional<std::uint64_t> time =
      text.starts_with('@') ? parse_seconds(text.substr(1)) : parse_date(text);
  if (!time) {
    return Error{0, "not a time: " + in_quotes(text) +
                        ": expected one such as 2026-11-24T09:30:00Z, 2026-11-24 or @1795512600"};
  }
  return {in_place_value, *time};
}

bool Filter::takes(const OpenInfo& connection) const {
  if (!route.empty() && connection.route != route) return false;
  if (!id.empty() && connection.id != id) return false;
  const auto of_peer = [&](const std::string& text) {
    const std::optional<HostPort> peer = peer_of(text);
    const Result<SocketAddress> address = peer ? numeric_address(*peer) : SocketAddress();
    return address &&
           std::ranges::any_of(peers, [&](const Cidr& range) { return range.contains(*address); });
  };
  const auto of_port = [&](const std::string& text) {
    const std::optional<HostPort> peer = peer_of(text);
    return peer && std::ranges::find(ports, peer->port) != ports.end();
  };
  return (peers.empty() || of_peer(connection.client) || of_peer(connection.upstream)) &&
         (ports.empty() || of_port(connection.client) || of_port(connection.upstream));
}

}  // namespace sluice::capture
