#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "iolib/base/error.h"
#include "proxy/config/config.h"

namespace sluice {

/// How an option's text is read, and what it is measured in.
enum class OptionKind { flag, address, name, path, count, size, duration, fraction, choice, cpus };

/// Where an option may be written; a set of bits.
enum OptionPlace : unsigned { kOnCommandLine = 1, kInDefaults = 2, kInRoute = 4 };

/// Which member of the configuration an option sets. None: it is handled by name (addresses, the
/// options that say what to do).
using OptionField =
    std::variant<std::monostate, int Config::*, std::uint64_t Config::*, std::string Config::*,
                 std::chrono::nanoseconds Config::*, std::chrono::nanoseconds RouteConfig::*,
                 std::uint64_t RouteConfig::*, std::string RouteConfig::*, bool RouteConfig::*,
                 capture::Durability RouteConfig::*, CaptureFull RouteConfig::*,
                 CaptureIo RouteConfig::*, CaptureDirection RouteConfig::*,
                 mirror::OnLag RouteConfig::*, std::vector<TargetAddress> RouteConfig::*,
                 Engine Config::*, ZeroCopy RouteConfig::*, Congestion RouteConfig::*,
                 CpuAffinity Config::*, LogLevel Config::*, LogFormat Config::*>;

/// One row of the one table of options: the command line, the TOML keys, their checks and the help
/// are all made from it.
struct Option {
  std::string_view name = {};  ///< the long option without its dashes, and the TOML key
  OptionKind kind = OptionKind::flag;
  unsigned places = 0;
  OptionField field = {};
  std::string_view value = {};         ///< as the help names it: "DURATION"
  std::string_view default_text = {};  ///< as the help tells it; "" has none
  bool repeated = false;               ///< may be given more than once, as an array in TOML
  std::uint64_t lowest = 0;            ///< a count, bytes, nanoseconds or millionths
  std::uint64_t highest = 0;           ///< the same; 0: the kind has no bounds
  std::string_view zero = {};          ///< what 0 means where it is allowed below `lowest`
  std::span<const std::string_view> choices = {};  ///< in the order of the enumerators
  std::string_view help = {};                      ///< one sentence
};

/// The whole table, in the order of the help.
[[nodiscard]] std::span<const Option> options();
/// Null where no option has that name.
[[nodiscard]] const Option* find_option(std::string_view name);
/// The names of all options that may stand in any of `places`.
[[nodiscard]] std::vector<std::string_view> option_names(unsigned places);

/// Means nothing where nothing is recorded.
[[nodiscard]] bool tells_how_to_record(const Option& option);

/// Checks `text` and puts it where the option belongs, behind what a repeated one has already. An
/// error says what was wrong and what was expected, not which option it was: the caller knows how
/// that was written.
[[nodiscard]] Result<> set_option(const Option& option, std::string_view text, Config& config,
                                  RouteConfig& route);

/// An option as the command line gave it, already checked.
struct GivenOption {
  const Option* option = nullptr;
  std::string text;
};
/// Puts options where they belong, instead of what was there.
void apply_options(std::span<const GivenOption> given, Config& config, RouteConfig& route);
/// Takes away what a repeated option has collected so far; no effect on others.
void clear_option(const Option& option, RouteConfig& route);

/// What is allowed, as errors, the help and the man page say it: "0 (never), or 1ms to 365d".
[[nodiscard]] std::string allowed_values(const Option& option);

/// The names joined for a sentence: "a, b or c".
[[nodiscard]] std::string joined(std::span<const std::string_view> names);

/// Of what is wrong, this much is told.
inline constexpr std::size_t kMostMistakes = 20;
/// The mistakes, a line each whatever they quote, without the last newline; where there are too
/// many, the last line is `who`: and N more.
[[nodiscard]] std::string listing(std::span<const std::string> mistakes, std::string_view who);

/// The kernel makes one slot of each page of a pipe's size (pipe(7)).
inline constexpr std::uint64_t kPipePageBytes = 4'096;

/// A pipe whose slots exceed the budget could never be had, and every connection would silently
/// copy: refused.
[[nodiscard]] Result<> check_pipe_budget(const Config& config);

}  // namespace sluice
