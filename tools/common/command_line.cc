#include "tools/common/command_line.h"

#include <algorithm>
#include <utility>

#include "iolib/base/help_row.h"
#include "iolib/base/text.h"

namespace sluice {
namespace {

bool is_help(std::string_view name) { return name == "--help" || name == "-h"; }

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> split;
  for (std::size_t at = 0; at <= names.size();) {
    const std::size_t comma = std::min(names.find(',', at), names.size());
    split.emplace_back(names.substr(at, comma - at));
    at = comma + 1;
  }
  return split;
}

// Stores one of `choices` in `target`; `name` is that of the option or word.
void store_choice(std::string_view name, std::string_view text,
                  const std::vector<std::string>& choices, std::string& target) {
  if (std::ranges::find(choices, text) == choices.end()) {
    std::string all;
    for (const std::string& each : choices) all += (all.empty() ? "" : " or ") + each;
    throw Wrong{std::string(name) + ": " + in_quotes(text) + ": expected " + all};
  }
  target = text;
}

}  // namespace

Command::Command(std::string name, std::string about)
    : name_(std::move(name)), about_(std::move(about)) {}

Command& Command::add_command(std::string name, std::string about) {
  Command& command = commands_.emplace_back(std::move(name), std::move(about));
  command.parent_ = this;
  return command;
}

void Command::add_topic(std::string name, std::string about, std::string text) {
  topics_.push_back({std::move(name), std::move(about), std::move(text)});
}

CommandOption& Command::add(std::string_view names, std::string value, std::string help,
                            std::function<void(std::string_view)> set) {
  CommandOption& option = options_.emplace_back();
  option.names_ = split_names(names);
  option.value_ = std::move(value);
  option.help_ = std::move(help);
  option.set_ = std::move(set);
  return option;
}

CommandOption& Command::add_flag(std::string_view name, bool& target, std::string help) {
  return add(name, "", std::move(help), [&target](std::string_view) { target = true; });
}

CommandOption& Command::add_text(std::string_view names, std::string value, std::string& target,
                                 std::string help) {
  return add(names, std::move(value), std::move(help),
             [&target](std::string_view text) { target = text; });
}

CommandOption& Command::add_text(std::string_view names, std::string value,
                                 std::optional<std::string>& target, std::string help) {
  return add(names, std::move(value), std::move(help),
             [&target](std::string_view text) { target = text; });
}

CommandOption& Command::add_texts(std::string_view names, std::string value,
                                  std::vector<std::string>& target, std::string help) {
  CommandOption& option = add(names, std::move(value), std::move(help),
                              [&target](std::string_view text) { target.emplace_back(text); });
  option.repeated_ = true;
  return option;
}

CommandOption& Command::add_choice(std::string_view names, std::string value,
                                   std::vector<std::string> choices, std::string& target,
                                   std::string help) {
  CommandOption& option = add(names, std::move(value), std::move(help), {});
  option.set_ = [&option, &target, choices = std::move(choices)](std::string_view text) {
    store_choice(option.name(), text, choices, target);
  };
  return option;
}

CommandOption& Command::add_word(std::string name, std::string value, std::string& target,
                                 std::string help) {
  CommandOption& word = single_words_.emplace_back();
  word.names_ = {std::move(name)};
  word.value_ = std::move(value);
  word.help_ = std::move(help);
  word.set_ = [&target](std::string_view text) { target = text; };
  return word;
}

CommandOption& Command::add_word(std::vector<std::string> choices, std::string& target,
                                 std::string help) {
  std::string name;
  for (const std::string& each : choices) name += (name.empty() ? "" : "|") + each;
  CommandOption& word = add_word(name, "", target, std::move(help));
  word.set_ = [name, &target, choices = std::move(choices)](std::string_view text) {
    store_choice(name, text, choices, target);
  };
  return word;
}

void Command::add_words(std::string name, std::string value, std::vector<std::string>& target,
                        std::string help) {
  words_ = std::make_unique<CommandOption>();
  words_->names_ = {std::move(name)};
  words_->value_ = std::move(value);
  words_->help_ = std::move(help);
  words_->required_ = true;
  words_->set_ = [&target](std::string_view word) { target.emplace_back(word); };
}

CommandOption* Command::find(std::string_view name) {
  for (CommandOption& option : options_) {
    if (std::ranges::find(option.names_, name) != option.names_.end()) return &option;
  }
  if (parent_ == nullptr) return nullptr;
  for (CommandOption& option : parent_->options_) {
    if (option.everywhere_ && std::ranges::find(option.names_, name) != option.names_.end()) {
      return &option;
    }
  }
  return nullptr;
}

bool Command::is_everywhere() const {
  return std::ranges::all_of(options_, &CommandOption::everywhere_);
}

const CommandOption* Command::first_given() const {
  const auto found = std::ranges::find_if(options_, &CommandOption::given);
  return found == options_.end() ? nullptr : &*found;
}

void Command::out_of_range(std::string_view option, std::string_view text,
                           const std::string& lowest, const std::string& highest) {
  throw Wrong{std::string(option) + ": " + in_quotes(text) + ": expected " + lowest + " to " +
              highest};
}

Command& Command::choose(std::string_view word) {
  const auto found = std::ranges::find(commands_, word, &Command::name_);
  if (found == commands_.end())
    throw Wrong{"unknown command " + in_quotes(word) + ", see " + name_ + " --help"};
  found->chosen_ = true;
  return *found;
}

void Command::take(const Argument& argument) {
  const std::string name(argument.name);
  switch (argument.kind) {
    case Argument::Kind::word:
      return take_word(argument.value);
    case Argument::Kind::unknown:
      throw Wrong{"unknown option " + in_quotes(name) + ", see --help"};
    case Argument::Kind::value_missing:
      throw Wrong{name + ": missing value, expected " +
                  (is_help(name) ? "TOPIC" : find(name)->value_)};
    case Argument::Kind::value_unwanted:
      throw Wrong{name + ": takes no value, expected nothing after it"};
    case Argument::Kind::flag:
    case Argument::Kind::option:
      break;
  }
  CommandOption& option = *find(name);
  if (option.count_++ > 0 && !option.repeated_ && !option.value_.empty()) {
    throw Wrong{name + ": given twice, expected once"};
  }
  option.set_(argument.value);
}

void Command::take_word(std::string_view text) {
  const auto next = std::ranges::find_if_not(single_words_, &CommandOption::given);
  CommandOption* const word = next != single_words_.end() ? &*next : words_.get();
  if (word == nullptr) {
    const bool some = !single_words_.empty();
    throw Wrong{"unexpected argument " + in_quotes(text) + ", expected " +
                (some ? "nothing after " + single_words_.back().name() : "only options")};
  }
  if (text.empty()) {
    throw Wrong{word->name() + ": empty, expected " +
                (word->value_.empty() ? word->name() : word->value_)};
  }
  ++word->count_;
  word->set_(text);
}

void Command::check_required() const {
  for (const CommandOption& option : options_) {
    if (option.required_ && !option.given())
      throw Wrong{option.name() + ": missing, expected " + option.value_};
  }
  for (const CommandOption& word : single_words_) {
    if (!word.optional_ && !word.given()) {
      throw Wrong{name_ + ": missing, expected " + word.name()};
    }
  }
  if (words_ && !words_->given()) {
    throw Wrong{words_->name() + ": missing, expected " + words_->value_};
  }
}

// Stores the value of every option. Returns the text for --help or --version, if the command line
// asks for one of them.
std::optional<std::string> Command::take_all(Arguments arguments) {
  Command* command = this;
  const auto takes_value = [&](std::string_view name) -> std::optional<ValueUse> {
    if (is_help(name)) return command == this ? ValueUse::optional : ValueUse::none;
    if (name == "--version" && command == this) return ValueUse::none;
    const CommandOption* option = command->find(name);
    if (option == nullptr) return {};
    if (option->value_.empty()) return ValueUse::none;
    return option->optional_ ? ValueUse::optional : ValueUse::required;
  };
  while (const std::optional<Argument> argument = arguments.next(takes_value)) {
    const bool is_given =
        argument->kind == Argument::Kind::flag || argument->kind == Argument::Kind::option;
    if (is_given && is_help(argument->name)) return command->help_on(argument->value);
    if (is_given && argument->name == "--version") return version_ + "\n";
    if (argument->kind == Argument::Kind::word && command == this && !commands_.empty()) {
      command = &choose(argument->value);
    } else {
      command->take(*argument);
    }
  }
  command->check_required();
  return {};
}

std::optional<EarlyExit> Command::parse(int argc, const char* const* argv,
                                        const std::function<void()>& understand) {
  try {
    if (std::optional<std::string> text = take_all({argc, argv})) {
      return EarlyExit{0, *std::move(text)};
    }
    understand();
    return {};
  } catch (const Wrong& wrong) {
    return EarlyExit{kUsageStatus, name_ + ": " + one_line(wrong.message) + '\n'};
  }
}

std::string Command::usage() const {
  std::string text = about_ + "\nUsage: " + (parent_ ? parent_->name_ + ' ' : "") + name_;
  if (!commands_.empty()) text += is_everywhere() ? " COMMAND" : " [COMMAND]";
  text += " [OPTIONS]";
  for (const CommandOption& word : single_words_) {
    text += ' ' + (word.optional_ ? '[' + word.name() + ']' : word.name());
  }
  if (words_) text += ' ' + words_->names_.front() + "...";
  text += '\n';
  if (!single_words_.empty() || words_) text += '\n';
  const auto row = [](const CommandOption& word) {
    return help_row(word.name() + (word.value_.empty() ? "" : ' ' + word.value_), word.help_);
  };
  for (const CommandOption& word : single_words_) text += row(word);
  if (words_) text += row(*words_);
  return text;
}

std::string Command::option_row(const CommandOption& option, bool whole) {
  std::string left;
  for (const std::string& each : option.names_) left += (left.empty() ? "" : ", ") + each;
  if (!option.value_.empty())
    left += ' ' + (option.optional_ ? '[' + option.value_ + ']' : option.value_);
  std::string help(whole ? option.help_ : first_sentence(option.help_));
  if (option.required_) help += " (required)";
  return help_row(left, help);
}

// One row for each option. `whole`: all options with their whole text; otherwise the common ones.
std::string Command::option_rows(bool whole) const {
  std::string text;
  for (const CommandOption& option : options_) {
    if (whole || option.common_) text += option_row(option, whole);
  }
  if (parent_ != nullptr) return text + help_row("-h, --help", "Print this help and exit.");
  return text + help_row("--version", "Print the version and exit.") +
         help_row("-h, --help [TOPIC]", "Print the common options, or a topic of the help.");
}

std::string Command::short_help() const {
  std::string text = usage();
  if (!commands_.empty()) text += "\nCommands:\n";
  for (const Command& each : commands_) text += help_row(each.name_, each.about_);
  const bool all_shown = std::ranges::all_of(options_, &CommandOption::common_);
  text += (all_shown ? "\nOptions:\n" : "\nCommon options:\n") + option_rows(false) +
          "\nExamples:\n" + examples_ + "\nTopics, for " + name_ + " --help TOPIC:\n" +
          help_row("all", "Every option, with its whole text.");
  for (const Topic& each : topics_) text += help_row(each.name, each.about);
  if (!commands_.empty()) text += help_row("a COMMAND", "That command and its options.");
  return text + '\n' + name_ + "(1) is the manual.\n";
}

// The usage and all options, without subcommands and footer.
std::string Command::own_help() const { return usage() + "\nOptions:\n" + option_rows(true); }

std::string Command::long_help() const {
  std::string text = own_help();
  for (const Command& each : commands_) text += "\n" + each.name_ + ": " + each.own_help();
  for (const Topic& each : topics_) text += "\n" + each.text;
  return text + footer_;
}

// Throws Wrong if there is no such topic.
std::string Command::help_on(std::string_view topic) const {
  if (parent_ != nullptr) {
    std::string shared;
    for (const CommandOption& option : parent_->options_) {
      if (option.everywhere_) shared += option_row(option, true);
    }
    return own_help() + (shared.empty() ? "" : "\nOptions of every command:\n" + shared) +
           parent_->footer_;
  }
  if (topic.empty()) return short_help();
  if (topic == "all") return long_help();
  std::string names = "all";
  for (const Topic& each : topics_) {
    if (each.name == topic) return each.text;
    names += ", " + each.name;
  }
  for (const Command& each : commands_) {
    if (each.name_ == topic) return each.help_on({});
    names += ", " + each.name_;
  }
  throw Wrong{"--help: unknown topic " + in_quotes(topic) + ": expected " + names};
}

std::string shell_word(const std::string& word) {
  const bool plain = word.find_first_of(" \t\n'\"`\\$*?;&|<>(){}[]~#!") == std::string::npos;
  if (plain && !word.empty()) return word;
  std::string quoted;
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return "'" + quoted + "'";
}

std::string typed(const std::string& program, int argc, char** argv) {
  std::string command = program;
  for (int i = 1; i < argc; ++i) command += ' ' + shell_word(argv[i]);
  return command;
}

}  // namespace sluice
