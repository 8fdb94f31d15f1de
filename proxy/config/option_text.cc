#include "proxy/config/option_text.h"

#include <algorithm>
#include <type_traits>
#include <variant>

#include "iolib/base/units.h"

namespace sluice {
namespace {

using Texts = std::vector<std::string>;

/// Formats millionths as a decimal fraction: "0.1".
std::string format_fraction(std::uint64_t millionths) {
  std::string digits = std::to_string(mirror::kWholeShare + millionths % mirror::kWholeShare);
  digits.erase(digits.find_last_not_of('0') + 1);
  std::string text = std::to_string(millionths / mirror::kWholeShare);
  if (digits.size() > 1) text += "." + digits.substr(1);
  return text;
}

/// Formats events a minute: "10/s", or "7/m".
std::string format_rate(std::uint64_t per_minute) {
  constexpr std::uint64_t kSeconds = 60;
  if (per_minute == 0) return "0";
  const bool is_whole = per_minute % kSeconds == 0;
  return std::to_string(is_whole ? per_minute / kSeconds : per_minute) + (is_whole ? "/s" : "/m");
}

/// The texts of a member, by its type.
struct Formatter {
  const Option& option;

  [[nodiscard]] Texts operator()(std::uint64_t number) const {
    return {format_number(option, number)};
  }
  [[nodiscard]] Texts operator()(std::chrono::nanoseconds time) const {
    return (*this)(static_cast<std::uint64_t>(time.count()));
  }
  /// 0: not set.
  [[nodiscard]] Texts operator()(int number) const {
    return number == 0 ? Texts() : Texts{std::to_string(number)};
  }
  [[nodiscard]] Texts operator()(bool on) const { return {on ? "true" : "false"}; }
  [[nodiscard]] Texts operator()(const std::string& text) const {
    return text.empty() ? Texts() : Texts{text};
  }
  [[nodiscard]] Texts operator()(const std::optional<std::uint64_t>& number) const {
    return number ? (*this)(*number) : Texts();
  }
  [[nodiscard]] Texts operator()(const std::optional<std::string>& bytes) const {
    return bytes ? Texts{format_bytes(*bytes)} : Texts();
  }
  [[nodiscard]] Texts operator()(const CpuAffinity& affinity) const {
    if (affinity.mode == CpuAffinity::Mode::automatic) return {"auto"};
    if (affinity.mode == CpuAffinity::Mode::none) return {"none"};
    std::string list;
    for (const int cpu : affinity.cpus) list += (list.empty() ? "" : ",") + std::to_string(cpu);
    return {list};
  }
  template <class Choice>
  requires std::is_enum_v<Choice>
  [[nodiscard]] Texts operator()(Choice choice) const {
    return {std::string(option.choices[static_cast<std::size_t>(choice)])};
  }
  [[nodiscard]] Texts operator()(const Prefix& prefix) const { return {prefix.to_string()}; }
  [[nodiscard]] Texts operator()(const SocketAddress& host) const {
    if (host.family() == AF_UNSPEC) return {};
    const std::string text = host.to_string();  // with the port 0
    const std::size_t colon = text.rfind(':');
    return {host.family() == AF_INET ? text.substr(0, colon) : text.substr(1, colon - 2)};
  }
  [[nodiscard]] Texts operator()(const ListEntry& entry) const {
    const auto* file = std::get_if<FileEndpoint>(&entry);
    return {file != nullptr ? to_string(TargetAddress(*file))
                            : std::get<Prefix>(entry).to_string()};
  }
  [[nodiscard]] Texts operator()(const ListenAddress& address) const {
    return {to_string(address)};
  }
  [[nodiscard]] Texts operator()(const TargetAddress& address) const {
    return {to_string(address)};
  }
  template <class Element>
  [[nodiscard]] Texts operator()(const std::vector<Element>& elements) const {
    Texts texts;
    for (const Element& each : elements) texts.push_back((*this)(each).front());
    return texts;
  }
};

}  // namespace

// What is sent to a server can log in there.
bool is_secret(const Option& option) { return option.name == "health-send"; }

std::string format_number(const Option& option, std::uint64_t number) {
  if (option.kind == OptionKind::size) return format_size_bytes(number);
  if (option.kind == OptionKind::bandwidth) {
    return number == 0 ? "0" : format_size_bytes(number) + "/s";
  }
  if (option.kind == OptionKind::fraction) return format_fraction(number);
  if (option.kind == OptionKind::rate) return format_rate(number);
  if (option.kind != OptionKind::duration) return std::to_string(number);
  return format_duration(std::chrono::nanoseconds(static_cast<std::int64_t>(number)));
}

std::string format_bytes(std::string_view bytes) {
  constexpr std::string_view kHex = "hex:";
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto is_plain = [](char c) { return c >= ' ' && c <= '~'; };
  if (std::ranges::all_of(bytes, is_plain) && !bytes.starts_with(kHex)) return std::string(bytes);
  std::string text(kHex);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

std::vector<std::string> option_texts(const Option& option, const Config& config,
                                      const RouteConfig& route) {
  const Formatter format{option};
  return std::visit(
      [&](auto field) -> Texts {
        using Field = decltype(field);
        if constexpr (std::is_same_v<Field, std::monostate>) {
          return {};
        } else if constexpr (std::is_invocable_v<Field, const RouteConfig&>) {
          return format(route.*field);
        } else {
          return format(config.*field);
        }
      },
      option.field);
}

}  // namespace sluice
