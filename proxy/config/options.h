#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "iolib/base/error.h"
#include "proxy/config/config.h"

namespace sluice {

/// How the text of an option is parsed, and its unit.
enum class OptionKind {
  flag,
  address,
  prefix,  ///< a block of addresses
  name,
  path,
  bytes,  ///< text as it is, or "hex:" and digits
  count,
  size,
  duration,
  rate,       ///< events a minute; "10/s" or "600/m"
  bandwidth,  ///< bytes a second; "10MiB/s"
  fraction,
  choice,
  cpus
};

/// What --help can be asked for: everything, or the options of one subject.
enum class Topic : std::uint8_t {
  all,
  routes,
  servers,
  clients,
  timeouts,
  capture,
  mirror,
  log,
  admin,
  workers,
  transfer,
  general
};

/// Where an option may appear; a set of bits.
enum OptionPlace : unsigned { kOnCommandLine = 1, kInDefaults = 2, kInRoute = 4 };

/// The member of the configuration that an option sets. monostate: code handles the option by its
/// name (addresses, and options that select an action).
using OptionField = std::variant<
    std::monostate, int Config::*, std::uint64_t Config::*, std::string Config::*,
    std::chrono::nanoseconds Config::*, std::chrono::nanoseconds RouteConfig::*,
    std::uint64_t RouteConfig::*, std::string RouteConfig::*, bool RouteConfig::*,
    capture::Durability RouteConfig::*, CaptureFull RouteConfig::*, CaptureIo RouteConfig::*,
    CaptureDirection RouteConfig::*, mirror::OnLag RouteConfig::*,
    std::vector<TargetAddress> RouteConfig::*, std::vector<Prefix> RouteConfig::*,
    std::vector<ListEntry> RouteConfig::*, SocketAddress RouteConfig::*,
    std::vector<ProxyTlv> RouteConfig::*, ProxyIn RouteConfig::*, ProxyOut RouteConfig::*,
    Balance RouteConfig::*, Health RouteConfig::*, OnDown RouteConfig::*,
    std::optional<std::uint64_t> RouteConfig::*, std::optional<std::string> RouteConfig::*,
    Engine Config::*, ZeroCopy RouteConfig::*, Congestion RouteConfig::*, CpuAffinity Config::*,
    LogLevel Config::*, LogFormat Config::*, std::vector<ListenAddress> Config::*,
    std::vector<std::string> Config::*>;

/// A row of the table of options. The command line, the TOML keys, their checks and the help all
/// come from this table.
struct Option {
  std::string_view name = {};  ///< the long option without dashes; also the TOML key
  OptionKind kind = OptionKind::flag;
  unsigned places = 0;
  Topic topic = Topic::general;
  bool common = false;  ///< shown by --help without a topic
  OptionField field = {};
  std::string_view value = {};         ///< its name in the help: "DURATION"
  std::string_view default_text = {};  ///< as the help shows it; "" if there is none
  bool repeated = false;               ///< can be given several times; an array in TOML
  std::uint64_t lowest = 0;            ///< in counts, bytes, nanoseconds or millionths
  std::uint64_t highest = 0;           ///< in the same unit; 0: no bounds
  std::string_view zero = {};          ///< what 0 means, if it is allowed below `lowest`
  std::span<const std::string_view> choices = {};  ///< in the order of the enumerators
  std::string_view help = {};                      ///< its first sentence says what the option does
};

/// The table, in the order of the help.
[[nodiscard]] std::span<const Option> options();
/// The option of that name; null if there is none.
[[nodiscard]] const Option* find_option(std::string_view name);
/// The names of all options that may appear in any of `places`.
[[nodiscard]] std::vector<std::string_view> option_names(unsigned places);

/// Whether the option says how to record, so that it has no effect without a capture.
[[nodiscard]] bool tells_how_to_record(const Option& option);

/// Checks `text` and stores it in the member that the option sets; a repeated option appends it.
/// The error says what was wrong and what was expected, but not which option: the caller knows how
/// it was written.
[[nodiscard]] Result<> set_option(const Option& option, std::string_view text, Config& config,
                                  RouteConfig& route);

/// An option of the command line, already checked.
struct GivenOption {
  const Option* option = nullptr;
  std::string text;
};
/// Stores the options in place of the values that were there.
void apply_options(std::span<const GivenOption> given, Config& config, RouteConfig& route);
/// Clears the values of a repeated option; no effect on others.
void clear_option(const Option& option, Config& config, RouteConfig& route);

/// The allowed values, as errors, the help and the man page write them: "0 (never), or 1ms to
/// 365d".
[[nodiscard]] std::string allowed_values(const Option& option);

/// Joins names for a sentence: "a, b or c".
[[nodiscard]] std::string joined(std::span<const std::string_view> names);

/// The most mistakes that one message lists.
inline constexpr std::size_t kMostMistakes = 20;
/// The mistakes, one line each, without the last newline. Line breaks in quoted text are escaped.
/// If there are too many, the last line is "`who`: and N more".
[[nodiscard]] std::string listing(std::span<const std::string> mistakes, std::string_view who);

/// A pipe has one slot for each page of its size (pipe(7)).
inline constexpr std::uint64_t kPipePageBytes = 4'096;

/// An error if a single pipe exceeds the budget: no pipe could ever be created, and every
/// connection would copy without a warning.
[[nodiscard]] Result<> check_pipe_budget(const Config& config);

/// An error if an address of `admin` is given twice, or is also a route's.
[[nodiscard]] Result<> check_admin_addresses(const Config& config);

}  // namespace sluice
