#include <algorithm>
#include <charconv>
#include <climits>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "proxy/config/nearest.h"
#include "proxy/config/option_text.h"
#include "proxy/config/options.h"

namespace sluice {
namespace {

// The most mirrors of a route: each costs every connection a descriptor, and every byte a copy.
constexpr std::size_t kMostAddresses = 16;
// Each connection looks at all of them.
constexpr std::size_t kMostPrefixes = 64;
// Each is compared with all of them.
constexpr std::size_t kMostListEntries = 1'000;

Error wrong_value(std::string_view what, std::string_view text, std::string_view expected) {
  return bad_text(what, text, "expected " + std::string(expected));
}

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || after != end) return std::nullopt;
  return number;
}

/// Parses a decimal fraction as millionths. "0.25", ".25" and "1" are valid, "1e-3" is not.
std::optional<std::uint64_t> parse_fraction(std::string_view text) {
  constexpr std::size_t kMostDigits = 6;
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  std::string decimals(point == text.npos ? "" : text.substr(point + 1));
  if (decimals.size() > kMostDigits || (whole.empty() && decimals.empty())) return std::nullopt;
  decimals.resize(kMostDigits, '0');
  const auto units = whole.empty() ? 0 : whole_number(whole);
  const auto millionths = whole_number(decimals);
  // A larger number is out of bounds, and the product would overflow.
  if (!units || !millionths || *units > mirror::kWholeShare) return std::nullopt;
  return *units * mirror::kWholeShare + *millionths;
}

/// Parses "100/s", "600/m" or "0" as events a minute.
std::optional<std::uint64_t> parse_rate(std::string_view text) {
  constexpr std::uint64_t kSeconds = 60;
  if (text == "0") return 0;
  const bool is_minute = text.ends_with("/m");
  if (!is_minute && !text.ends_with("/s")) return std::nullopt;
  const auto number = whole_number(text.substr(0, text.size() - 2));
  if (!number || *number > std::uint64_t{1} << 40) return std::nullopt;
  return is_minute ? *number : *number * kSeconds;
}

/// Parses "10MiB/s" or "0" as bytes a second.
std::optional<std::uint64_t> parse_bandwidth(std::string_view text) {
  if (text == "0") return 0;
  if (!text.ends_with("/s")) return std::nullopt;
  const Result<std::uint64_t> size_bytes = parse_size_bytes(text.substr(0, text.size() - 2));
  return size_bytes ? std::optional(*size_bytes) : std::nullopt;
}

/// Parses a count, size, duration, rate, bandwidth, fraction or choice as the number to store.
Result<std::uint64_t> parse_number(const Option& option, std::string_view text) {
  std::uint64_t number = 0;
  if (option.kind == OptionKind::choice) {
    const auto found = std::ranges::find(option.choices, text);
    if (found == option.choices.end()) {
      return Error{0, "unknown value " + in_quotes(text) + ": expected " + allowed_values(option) +
                          suggestion(text, option.choices)};
    }
    return {boost::system::in_place_value,
            static_cast<std::uint64_t>(found - option.choices.begin())};
  }
  if (option.kind == OptionKind::duration) {
    const Result<std::chrono::nanoseconds> duration = parse_duration(text);
    if (!duration) return duration.error();
    number = static_cast<std::uint64_t>(duration->count());
  } else if (option.kind == OptionKind::size) {
    const Result<std::uint64_t> size_bytes = parse_size_bytes(text);
    if (!size_bytes) return size_bytes.error();
    number = *size_bytes;
  } else if (option.kind == OptionKind::rate) {
    const std::optional<std::uint64_t> per_minute = parse_rate(text);
    if (!per_minute) return wrong_value("no rate", text, allowed_values(option));
    number = *per_minute;
  } else if (option.kind == OptionKind::bandwidth) {
    const std::optional<std::uint64_t> per_second = parse_bandwidth(text);
    if (!per_second) return wrong_value("no bandwidth", text, allowed_values(option));
    number = *per_second;
  } else if (option.kind == OptionKind::fraction) {
    const std::optional<std::uint64_t> millionths = parse_fraction(text);
    if (!millionths) return wrong_value("no number", text, allowed_values(option));
    number = *millionths;
  } else {
    const std::optional<std::uint64_t> count = whole_number(text);
    if (!count) return wrong_value("no whole number", text, allowed_values(option));
    number = *count;
  }
  const bool zero = number == 0 && !option.zero.empty();
  if (!zero && (number < option.lowest || number > option.highest)) {
    return wrong_value("out of bounds", text, allowed_values(option));
  }
  return {boost::system::in_place_value, number};
}

Result<CpuAffinity> parse_cpus(const Option& option, std::string_view text) {
  if (text == "auto") return CpuAffinity{};
  if (text == "none") return CpuAffinity{CpuAffinity::Mode::none, {}};
  CpuAffinity affinity{CpuAffinity::Mode::list, {}};
  std::string_view rest = text;
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    const std::size_t dash = part.find('-');
    const auto first = whole_number(part.substr(0, dash));
    const auto last = dash == part.npos ? first : whole_number(part.substr(dash + 1));
    if (!first || !last) return wrong_value("no list of CPUs", text, allowed_values(option));
    if (*last < *first || *last > option.highest) {
      return wrong_value("CPUs " + in_quotes(part), text, allowed_values(option));
    }
    for (std::uint64_t cpu = *first; cpu <= *last; ++cpu) {
      const int number = static_cast<int>(cpu);
      if (std::ranges::find(affinity.cpus, number) != affinity.cpus.end()) {
        return wrong_value("CPU " + std::to_string(number) + " twice", text, "each CPU once");
      }
      affinity.cpus.push_back(number);
    }
    if (comma == rest.npos) return affinity;
    rest.remove_prefix(comma + 1);
  }
}

template <class Member>
constexpr bool kIsNumber =
    !std::is_class_v<Member> || std::is_same_v<Member, std::chrono::nanoseconds> ||
    std::is_same_v<Member, std::optional<std::uint64_t>>;

/// Stores a number, already within its bounds, in the member that the option sets.
struct NumberStore {
  Config& config;
  RouteConfig& route;
  std::uint64_t number;

  template <class Member>
  void operator()(Member Config::*field) const {
    if constexpr (kIsNumber<Member>) config.*field = static_cast<Member>(number);
  }
  template <class Member>
  void operator()(Member RouteConfig::*field) const {
    if constexpr (kIsNumber<Member>) route.*field = static_cast<Member>(number);
  }
  void operator()(std::monostate) const {}
};

Result<> set_path(const Option& option, std::string_view text, Config& config, RouteConfig& route) {
  if (text.empty() || text.size() >= PATH_MAX || text.find('\0') != text.npos) {
    return wrong_value("no path", text,
                       "1 to " + std::to_string(PATH_MAX - 1) + " bytes without a NUL byte");
  }
  if (const auto* field = std::get_if<std::string Config::*>(&option.field)) {
    config.*(*field) = text;
  } else if (const auto* route_field = std::get_if<std::string RouteConfig::*>(&option.field)) {
    // Routes that name the same directory share it, so normalise the path.
    std::string normal = std::filesystem::path(text).lexically_normal();
    if (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
    route.*(*route_field) = std::move(normal);
  }
  return {};
}

Result<> set_bytes(const Option& option, std::string_view text, RouteConfig& route) {
  Result<std::string> bytes = parse_bytes(text, option.lowest, option.highest);
  if (!bytes) return bytes.error();
  route.*std::get<std::optional<std::string> RouteConfig::*>(option.field) = *std::move(bytes);
  return {};
}

/// Adds a mirror, which must be a server to connect to.
Result<> add_address(std::string_view text, std::vector<TargetAddress>& addresses) {
  Result<TargetAddress> address = parse_target_address(text);
  if (!address) return address.error();
  if (!is_server(*address)) {
    return wrong_value("no address of a server", text,
                       "HOST:PORT, [IPV6]:PORT, :PORT or unix:/path");
  }
  if (std::ranges::find(addresses, *address) != addresses.end()) {
    return Error{0, in_quotes(text) + " is given twice, expected each address once"};
  }
  if (addresses.size() == kMostAddresses) {
    return Error{0, in_quotes(text) + " is one address too many, expected at most " +
                        std::to_string(kMostAddresses)};
  }
  addresses.push_back(*std::move(address));
  return {};
}

/// Adds a block of addresses.
Result<> add_prefix(std::string_view text, std::vector<Prefix>& prefixes) {
  const Result<Prefix> prefix = Prefix::parse(text);
  if (!prefix) return prefix.error();
  if (std::ranges::find(prefixes, *prefix) != prefixes.end()) {
    return Error{0, in_quotes(text) + " is given twice, expected each block once"};
  }
  if (prefixes.size() == kMostPrefixes) {
    return Error{0, in_quotes(text) + " is one block too many, expected at most " +
                        std::to_string(kMostPrefixes)};
  }
  prefixes.push_back(*prefix);
  return {};
}

/// Adds a block of clients, or the file of a list.
Result<> add_list_entry(std::string_view text, std::vector<ListEntry>& entries) {
  ListEntry entry;
  if (text.starts_with("file:")) {
    Result<TargetAddress> file = parse_target_address(text);
    if (!file) return file.error();
    entry = std::get<FileEndpoint>(*std::move(file));
  } else {
    const Result<Prefix> prefix = Prefix::parse(text);
    if (!prefix) return prefix.error();
    entry = *prefix;
  }
  if (std::ranges::find(entries, entry) != entries.end()) {
    return Error{0, in_quotes(text) + " is given twice, expected each once"};
  }
  if (entries.size() == kMostListEntries) {
    return Error{0, in_quotes(text) + " is one block too many, expected at most " +
                        std::to_string(kMostListEntries) + ", and more in a file: file:/path"};
  }
  entries.push_back(std::move(entry));
  return {};
}

/// Sets a local address, which clients of unix sockets have none of.
Result<> set_source(std::string_view text, SocketAddress& source) {
  const Result<SocketAddress> address = text.find('\0') == text.npos
                                            ? numeric_address({std::string(text), 0})
                                            : Result<SocketAddress>(Error{0, "NUL"});
  if (!address) return wrong_value("no address", text, "an IPv4 or IPv6 address without a port");
  source = SocketAddress::from(address->data(), address->size_bytes());
  return {};
}

Result<> add_tlv(const Option& option, std::string_view text, std::vector<ProxyTlv>& tlvs) {
  const Result<std::uint64_t> number = parse_number(option, text);
  if (!number) return number.error();
  const auto tlv = static_cast<ProxyTlv>(*number);
  if (std::ranges::find(tlvs, tlv) == tlvs.end()) tlvs.push_back(tlv);
  return {};
}

/// Adds an address of the admin thread. An abstract socket has no mode to keep others away.
Result<> add_admin_address(std::string_view text, std::vector<ListenAddress>& addresses) {
  Result<ListenAddress> address = parse_listen_address(text);
  if (!address) return address.error();
  const auto* path = std::get_if<UnixEndpoint>(&*address);
  if (path != nullptr && path->is_abstract()) {
    return wrong_value("an abstract socket, which anybody may use,", text,
                       "unix:/path or a TCP address");
  }
  if (addresses.size() == kMostAddresses) {
    return Error{0, in_quotes(text) + " is one address too many, expected at most " +
                        std::to_string(kMostAddresses)};
  }
  addresses.push_back(*std::move(address));
  return {};
}

/// Adds the name of a host, in lower case.
Result<> add_host(std::string_view text, std::vector<std::string>& hosts) {
  constexpr std::size_t kLongestHostBytes = 253;
  std::string host(text);
  for (char& c : host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '.' || c == '-' || c == '_';
  };
  if (host.empty() || host.size() > kLongestHostBytes || !std::ranges::all_of(host, allowed)) {
    return wrong_value("no host name", text, "letters, digits, '.', '-' and '_', without a port");
  }
  if (hosts.size() == kMostAddresses) {
    return Error{0, in_quotes(text) + " is one name too many, expected at most " +
                        std::to_string(kMostAddresses)};
  }
  hosts.push_back(std::move(host));
  return {};
}

/// Clears the member that a repeated option sets.
struct ClearList {
  Config& config;
  RouteConfig& route;

  template <class Member>
  void operator()(std::vector<Member> Config::*field) const {
    (config.*field).clear();
  }

  template <class Member>
  void operator()(std::vector<Member> RouteConfig::*field) const {
    (route.*field).clear();
  }
  template <class Field>
  void operator()(const Field&) const {}
};

}  // namespace

Result<> set_option(const Option& option, std::string_view text, Config& config,
                    RouteConfig& route) {
  if (option.kind == OptionKind::path) return set_path(option, text, config, route);
  if (option.kind == OptionKind::bytes) return set_bytes(option, text, route);
  if (const auto* field = std::get_if<std::vector<TargetAddress> RouteConfig::*>(&option.field)) {
    return add_address(text, route.*(*field));
  }
  if (const auto* field = std::get_if<std::vector<Prefix> RouteConfig::*>(&option.field)) {
    return add_prefix(text, route.*(*field));
  }
  if (const auto* field = std::get_if<std::vector<ListEntry> RouteConfig::*>(&option.field)) {
    return add_list_entry(text, route.*(*field));
  }
  if (const auto* field = std::get_if<SocketAddress RouteConfig::*>(&option.field)) {
    return set_source(text, route.*(*field));
  }
  if (const auto* field = std::get_if<std::vector<ProxyTlv> RouteConfig::*>(&option.field)) {
    return add_tlv(option, text, route.*(*field));
  }
  if (const auto* field = std::get_if<std::vector<ListenAddress> Config::*>(&option.field)) {
    return add_admin_address(text, config.*(*field));
  }
  if (const auto* field = std::get_if<std::vector<std::string> Config::*>(&option.field)) {
    return add_host(text, config.*(*field));
  }
  if (const auto* field = std::get_if<bool RouteConfig::*>(&option.field)) {
    route.*(*field) = text == "true";
    return {};
  }
  if (const auto* field = std::get_if<CpuAffinity Config::*>(&option.field)) {
    Result<CpuAffinity> cpus = parse_cpus(option, text);
    if (!cpus) return cpus.error();
    config.*(*field) = *std::move(cpus);
    return {};
  }
  const Result<std::uint64_t> number = parse_number(option, text);
  if (!number) return number.error();
  std::visit(NumberStore{config, route, *number}, option.field);
  return {};
}

void clear_option(const Option& option, Config& config, RouteConfig& route) {
  std::visit(ClearList{config, route}, option.field);
}

void apply_options(std::span<const GivenOption> given, Config& config, RouteConfig& route) {
  for (const GivenOption& each : given) clear_option(*each.option, config, route);
  // These values were checked when the command line was parsed.
  for (const GivenOption& each : given) {
    static_cast<void>(set_option(*each.option, each.text, config, route));
  }
}

std::string allowed_values(const Option& option) {
  if (option.kind == OptionKind::choice) return joined(option.choices);
  if (option.kind == OptionKind::cpus) {
    return "auto, none or a list of CPUs of 0 to " + std::to_string(option.highest) +
           " such as 0,2-3";
  }
  if (option.highest == 0) return "";
  const std::string range =
      format_number(option, option.lowest) + " to " + format_number(option, option.highest);
  if (option.kind == OptionKind::bytes) return range + " bytes";
  return option.zero.empty() ? range : "0 (" + std::string(option.zero) + "), or " + range;
}

Result<> check_pipe_budget(const Config& config) {
  const std::uint64_t slots = (config.pipe_size_bytes + kPipePageBytes - 1) / kPipePageBytes;
  // The kernel rounds up to a power of two (fs/pipe.c, round_pipe_size).
  std::uint64_t granted = 1;
  while (granted < slots) granted *= 2;
  if (granted <= config.pipe_budget_slots) return {};
  return Error{0, "a budget of " + std::to_string(config.pipe_budget_slots) +
                      " slots is too small for a pipe of " +
                      format_size_bytes(config.pipe_size_bytes) +
                      ": expected a pipe-budget of at least " + std::to_string(granted) +
                      " or a smaller pipe-size"};
}

Result<> check_admin_addresses(const Config& config) {
  ListenSet listens = listeners_of(config);
  for (const ListenAddress& address : config.admin) {
    if (listens.insert(address)) continue;
    return Error{
        0, in_quotes(to_string(address)) + " is listened on already, expected each address once"};
  }
  return {};
}

}  // namespace sluice
