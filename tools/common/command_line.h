#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iolib/base/arguments.h"
#include "iolib/base/error.h"

namespace sluice {

/// The exit status of wrong usage, of all tools.
inline constexpr int kUsageStatus = 2;

/// A wrong value on a command line, as one line. Thrown while it is being understood.
struct Wrong {
  std::string message;
};

template <class T>
T value_of(const char* option, const Result<T>& parsed) {
  if (parsed.has_error()) throw Wrong{std::string(option) + ": " + parsed.error().to_string()};
  return *parsed;
}

/// What a command takes: an option with a value, a flag, or words that stand alone.
class CommandOption {
 public:
  /// Must be given.
  CommandOption& required() {
    required_ = true;
    return *this;
  }
  [[nodiscard]] const std::string& name() const { return names_.front(); }
  [[nodiscard]] bool given() const { return count_ > 0; }

 private:
  friend class Command;
  std::vector<std::string> names_;  ///< with their dashes; of words, as the help names them
  std::string value_;               ///< as the help names it; a flag has none
  std::string help_;
  std::function<void(std::string_view)> set_;  ///< throws Wrong
  bool repeated_ = false;
  bool required_ = false;
  std::size_t count_ = 0;  ///< how often it was given
};

/// How a program ends at its command line: with this status, and this text on stdout if that is 0,
/// else on stderr.
struct EarlyExit {
  int status = 0;
  std::string message;
};

/// A program, or one of its subcommands: what parses its command line and writes its help. What an
/// option is given is put into `target`, which outlives the parsing.
class Command {
 public:
  /// `about` is one sentence.
  Command(std::string name, std::string about);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  /// --version prints `text`; the help of every command ends with `footer`.
  void set_version(std::string text) { version_ = std::move(text); }
  void set_footer(std::string footer) { footer_ = std::move(footer); }

  Command& add_command(std::string name, std::string about);

  CommandOption& add_flag(std::string_view name, bool& target, std::string help);
  /// `names` are separated by commas.
  CommandOption& add_text(std::string_view names, std::string value, std::string& target,
                          std::string help);
  CommandOption& add_text(std::string_view names, std::string value,
                          std::optional<std::string>& target, std::string help);
  /// May be given again.
  CommandOption& add_texts(std::string_view names, std::string value,
                           std::vector<std::string>& target, std::string help);
  CommandOption& add_choice(std::string_view names, std::string value,
                            std::vector<std::string> choices, std::string& target,
                            std::string help);
  /// A whole number from `lowest` to `highest`.
  template <std::integral T>
  CommandOption& add_number(std::string_view names, std::string value, T lowest, T highest,
                            T& target, std::string help);
  /// The same, and may be given again.
  template <std::integral T>
  CommandOption& add_numbers(std::string_view names, std::string value, T lowest, T highest,
                             std::vector<T>& target, std::string help);
  /// All words that are no option's: at least one.
  void add_words(std::string name, std::string value, std::vector<std::string>& target,
                 std::string help);

  /// Parses, then calls `understand`. What is wrong, and what --help and --version ask for, ends
  /// the program.
  [[nodiscard]] std::optional<EarlyExit> parse(int argc, const char* const* argv,
                                               const std::function<void()>& understand);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Whether its name was given, of a subcommand.
  [[nodiscard]] bool chosen() const { return chosen_; }
  /// The first option that was given, or null.
  [[nodiscard]] const CommandOption* first_given() const;
  [[nodiscard]] bool has_option(std::string_view name) { return find(name) != nullptr; }
  [[nodiscard]] std::string help() const;

 private:
  CommandOption& add(std::string_view names, std::string value, std::string help,
                     std::function<void(std::string_view)> set);
  [[nodiscard]] CommandOption* find(std::string_view name);
  [[nodiscard]] std::optional<std::string> take_all(Arguments arguments);
  void take(const Argument& argument);
  [[nodiscard]] Command& choose(std::string_view word);
  void check_required() const;
  static void out_of_range(std::string_view option, std::string_view text,
                           const std::string& lowest, const std::string& highest);
  template <std::integral T>
  static T number(std::string_view option, std::string_view text, T lowest, T highest);

  std::string name_, about_, version_, footer_;
  const Command* parent_ = nullptr;
  std::deque<CommandOption> options_;  ///< at fixed addresses
  std::unique_ptr<CommandOption> words_;
  std::deque<Command> commands_;
  bool chosen_ = false;
};

template <std::integral T>
T Command::number(std::string_view option, std::string_view text, T lowest, T highest) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < lowest ||
      value > highest) {
    out_of_range(option, text, std::to_string(lowest), std::to_string(highest));
  }
  return value;
}

template <std::integral T>
CommandOption& Command::add_number(std::string_view names, std::string value, T lowest, T highest,
                                   T& target, std::string help) {
  CommandOption& option = add(names, std::move(value), std::move(help), {});
  option.set_ = [&option, &target, lowest, highest](std::string_view text) {
    target = number<T>(option.name(), text, lowest, highest);
  };
  return option;
}

template <std::integral T>
CommandOption& Command::add_numbers(std::string_view names, std::string value, T lowest, T highest,
                                    std::vector<T>& target, std::string help) {
  CommandOption& option = add(names, std::move(value), std::move(help), {});
  option.repeated_ = true;
  option.set_ = [&option, &target, lowest, highest](std::string_view text) {
    target.push_back(number<T>(option.name(), text, lowest, highest));
  };
  return option;
}

/// A word as a shell takes it: in quotes where it has to be.
[[nodiscard]] std::string shell_word(const std::string& word);

/// The command line as it can be typed again.
[[nodiscard]] std::string typed(const std::string& program, int argc, char** argv);

}  // namespace sluice
