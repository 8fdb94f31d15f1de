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
#include <utility>
#include <vector>

#include "iolib/base/arguments.h"
#include "iolib/base/error.h"

namespace sluice {

/// The exit status of every tool for wrong usage.
inline constexpr int kUsageStatus = 2;

/// An error in the command line. Thrown while the command line is parsed. `message` is one line.
struct Wrong {
  std::string message;
};

/// The value of a parsed option. Throws Wrong, with the option's name, if parsing failed.
template <class T>
T value_of(const char* option, const Result<T>& parsed) {
  if (parsed.has_error()) throw Wrong{std::string(option) + ": " + parsed.error().to_string()};
  return *parsed;
}

/// What a command accepts: an option with a value, a flag, or words that belong to no option.
class CommandOption {
 public:
  /// Makes the option mandatory.
  CommandOption& required() {
    required_ = true;
    return *this;
  }
  /// Shows the option in the short help of a program.
  CommandOption& common() {
    common_ = true;
    return *this;
  }
  /// Lets the value be omitted, or the word. The target then gets an empty text; without a word it
  /// stays as it is.
  CommandOption& optional() {
    optional_ = true;
    return *this;
  }
  /// Accepts this option of a program behind the name of a subcommand, too.
  CommandOption& everywhere() {
    everywhere_ = true;
    return *this;
  }
  [[nodiscard]] const std::string& name() const { return names_.front(); }
  [[nodiscard]] bool given() const { return count_ > 0; }

 private:
  friend class Command;
  std::vector<std::string> names_;  ///< with their dashes; for words, as the help shows it
  std::string value_;               ///< the value's placeholder in the help; empty for a flag
  std::string help_;
  std::function<void(std::string_view)> set_;  ///< throws Wrong
  bool repeated_ = false;
  bool required_ = false;
  bool common_ = false;
  bool optional_ = false;
  bool everywhere_ = false;
  std::size_t count_ = 0;  ///< times that it was given
};

/// How a program ends because of its command line: it exits with `status`, and prints `message` on
/// stdout if the status is 0, else on stderr.
struct EarlyExit {
  int status = 0;
  std::string message;
};

/// A program or one of its subcommands. It parses the command line and writes the help. Each option
/// stores its value in its `target`, which must outlive the parsing.
class Command {
 public:
  /// `about` is one sentence for the help.
  Command(std::string name, std::string about);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  /// --version prints `text`.
  void set_version(std::string text) { version_ = std::move(text); }
  /// The short help of the program ends with `examples`, one on each line.
  void set_examples(std::string examples) { examples_ = std::move(examples); }
  /// The long help of the program and the help of each subcommand end with `footer`.
  void set_footer(std::string footer) { footer_ = std::move(footer); }
  /// Adds `text` to the long help of the program; --help `name` prints it alone.
  void add_topic(std::string name, std::string about, std::string text);

  /// Adds a subcommand. The reference is valid as long as this command.
  Command& add_command(std::string name, std::string about);

  /// Adds an option without a value; it sets `target` to true.
  CommandOption& add_flag(std::string_view name, bool& target, std::string help);
  /// `names` are separated by commas. `value` is the value's placeholder in the help.
  CommandOption& add_text(std::string_view names, std::string value, std::string& target,
                          std::string help);
  CommandOption& add_text(std::string_view names, std::string value,
                          std::optional<std::string>& target, std::string help);
  /// An option that may be repeated; each value is appended.
  CommandOption& add_texts(std::string_view names, std::string value,
                           std::vector<std::string>& target, std::string help);
  /// Adds an option whose value is one of `choices`.
  CommandOption& add_choice(std::string_view names, std::string value,
                            std::vector<std::string> choices, std::string& target,
                            std::string help);
  /// An integer from `lowest` to `highest`.
  template <std::integral T>
  CommandOption& add_number(std::string_view names, std::string value, T lowest, T highest,
                            T& target, std::string help);
  /// The same for an option that may be repeated; each value is appended.
  template <std::integral T>
  CommandOption& add_numbers(std::string_view names, std::string value, T lowest, T highest,
                             std::vector<T>& target, std::string help);
  /// Accepts one word that belongs to no option. The first word goes to the first that was added.
  CommandOption& add_word(std::string name, std::string value, std::string& target,
                          std::string help);
  /// The same for a word that is one of `choices`. The help shows them as "on|off".
  CommandOption& add_word(std::vector<std::string> choices, std::string& target, std::string help);
  /// Accepts all further words that belong to no option; at least one is mandatory.
  void add_words(std::string name, std::string value, std::vector<std::string>& target,
                 std::string help);

  /// Parses the command line, then calls `understand`, which may throw Wrong. Returns how the
  /// program has to end, if the command line asks for --help or --version or is wrong; nothing
  /// otherwise.
  [[nodiscard]] std::optional<EarlyExit> parse(int argc, const char* const* argv,
                                               const std::function<void()>& understand);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// For a subcommand: whether the command line names it.
  [[nodiscard]] bool chosen() const { return chosen_; }
  /// The first option, in the order in which they were added, that the command line has; null if it
  /// has none.
  [[nodiscard]] const CommandOption* first_given() const;
  [[nodiscard]] bool has_option(std::string_view name) { return find(name) != nullptr; }

 private:
  struct Topic {
    std::string name, about, text;
  };
  CommandOption& add(std::string_view names, std::string value, std::string help,
                     std::function<void(std::string_view)> set);
  [[nodiscard]] CommandOption* find(std::string_view name);
  [[nodiscard]] bool is_everywhere() const;
  [[nodiscard]] std::optional<std::string> take_all(Arguments arguments);
  void take(const Argument& argument);
  void take_word(std::string_view word);
  [[nodiscard]] Command& choose(std::string_view word);
  [[nodiscard]] std::string usage() const;
  [[nodiscard]] static std::string option_row(const CommandOption& option, bool whole);
  [[nodiscard]] std::string option_rows(bool whole) const;
  [[nodiscard]] std::string help_on(std::string_view topic) const;
  [[nodiscard]] std::string short_help() const;
  [[nodiscard]] std::string long_help() const;
  [[nodiscard]] std::string own_help() const;
  void check_required() const;
  static void out_of_range(std::string_view option, std::string_view text,
                           const std::string& lowest, const std::string& highest);
  template <std::integral T>
  static T number(std::string_view option, std::string_view text, T lowest, T highest);

  std::string name_, about_, version_, examples_, footer_;
  std::vector<Topic> topics_;
  Command* parent_ = nullptr;
  std::deque<CommandOption> options_;  ///< a deque, because callers keep references
  std::deque<CommandOption> single_words_;
  std::unique_ptr<CommandOption> words_;
  std::deque<Command> commands_;
  bool chosen_ = false;
};

/// The subcommands of a program, each with the function that carries it out. Borrows the program.
template <class Run>
class Subcommands {
 public:
  explicit Subcommands(Command& program) : program_(program) {}

  /// The one that the command line names. Throws Wrong if it names none.
  [[nodiscard]] Run* chosen() const {
    for (const auto& [run, command] : all_) {
      if (command->chosen()) return run;
    }
    throw Wrong{"a command is missing, see " + program_.name() + " --help"};
  }

 protected:
  Command& add(const char* word, Run* run, const char* about) {
    Command& command = program_.add_command(word, about);
    all_.emplace_back(run, &command);
    return command;
  }

 private:
  Command& program_;
  std::vector<std::pair<Run*, Command*>> all_;
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

/// The word, quoted where a shell would otherwise interpret it.
[[nodiscard]] std::string shell_word(const std::string& word);

/// The command line, quoted so that it can be pasted into a shell.
[[nodiscard]] std::string typed(const std::string& program, int argc, char** argv);

}  // namespace sluice
