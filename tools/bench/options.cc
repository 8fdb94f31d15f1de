#include "tools/bench/options.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <sstream>
#include <string_view>
#include <utility>
#include <variant>

#include "iolib/base/address.h"
#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/bench/names.h"
#include "tools/common/command_line.h"
#include "tools/common/endpoint.h"

namespace sluice::bench {
namespace {

constexpr const char* kWorkloads =
    "bulk1,bulk8,bulk64,bulk8both,rr1,rr32,rr128,rr8x16KiB,rr32@5000,crr1,crr4,idle3000,"
    "elephants4mice32,slow8,mix";
constexpr const char* kQuickWorkloads = "bulk1,bulk8,rr1,rr32,crr1,idle500";
constexpr const char* kQuickPeers = "direct,haproxy-tuned,sluice";
constexpr const char* kBaselines[] = {"haproxy-tuned", "nginx-tuned", "direct"};

// The values of options before they are parsed further.
struct Words {
  std::string peers, workloads, relative_to, sluice, directory, time,
      warmup = "300ms", size = "1B", ends = "loop", verify = "64MiB";
  std::vector<std::string> contenders;
  std::size_t rounds = 0, connections = 1, workers = 2, servers = 1, names = 0, threads = 0;
  int path = 0;
  bool quick = false, verify_all = false;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream text(list);
  for (std::string word; std::getline(text, word, ',');) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

// For a help, whose lines break at spaces.
std::string with_spaces(const std::string& list) {
  std::string text;
  for (const std::string& word : split(list)) text += (text.empty() ? "" : ", ") + word;
  return text;
}

double seconds_of(const char* option, const std::string& text, double least) {
  constexpr double kMost = 3600;
  const double seconds =
      std::chrono::duration<double>(value_of(option, parse_duration(text))).count();
  if (seconds < least || seconds > kMost) {
    throw Wrong{std::string(option) + ": " + in_quotes(text) + ": expected " +
                (least > 0 ? "100ms" : "0") + " to 1h"};
  }
  return seconds;
}

constexpr double kLeastSeconds = 0.1;

std::vector<Workload> workloads_of(const Words& words, const char* option,
                                   const std::string& list) {
  WorkloadDefaults defaults;
  defaults.connections = words.connections;
  defaults.size_bytes = static_cast<std::size_t>(value_of("--size", parse_size_bytes(words.size)));
  if (defaults.size_bytes == 0 || defaults.size_bytes > kMaxMessageBytes) {
    throw Wrong{"--size: " + in_quotes(words.size) + ": expected 1B to " +
                format_size_bytes(kMaxMessageBytes)};
  }
  if (words.ends == "threads") defaults.threading = Threading::per_connection;
  std::vector<Workload> workloads;
  for (const std::string& name : split(list)) {
    workloads.push_back(value_of(option, parse_workload(name, defaults)));
  }
  if (workloads.empty()) throw Wrong{std::string(option) + ": expected at least one"};
  return workloads;
}

// The sluice that was built or installed together with this program; otherwise the one in PATH.
std::string own_sluice() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const char* place : {"sluice", "../proxy/sluice"}) {
    const auto path = (self.parent_path() / place).lexically_normal();
    if (std::filesystem::is_regular_file(path, error)) return path;
  }
  return find_program("sluice");
}

// Whether `name` can be executed: a path or, as for execvp(3), a name in PATH.
bool is_program(const std::string& name) {
  if (name.find('/') == std::string::npos) return !find_program(name).empty();
  std::error_code error;
  return std::filesystem::is_regular_file(name, error) && ::access(name.c_str(), X_OK) == 0;
}

std::vector<Contender> contenders_of(const Words& words) {
  ContenderOptions options;
  options.workers = words.workers;
  options.servers = words.servers;
  options.names = words.names;
  options.sluice = words.sluice.empty() ? own_sluice() : words.sluice;
  if (!words.sluice.empty() && !is_program(words.sluice)) {
    throw Wrong{"--sluice: " + in_quotes(words.sluice) +
                ": expected a program that can be executed"};
  }
  std::vector<Contender> known = installed_contenders(options);
  const auto named = [&](const std::string& name) {
    return std::find_if(known.begin(), known.end(),
                        [&](const Contender& each) { return each.name == name; });
  };
  std::vector<std::string> wanted = split(words.peers);
  if (wanted.empty() && words.quick) wanted = split(kQuickPeers);
  const bool all = wanted.empty();
  for (const std::string& text : words.contenders) {
    Contender contender = value_of("--contender", parse_contender(text));
    if (named(contender.name) != known.end() || contender.name == kControlName) {
      throw Wrong{"--contender: " + in_quotes(contender.name) +
                  ": this name is taken, expected another"};
    }
    known.push_back(std::move(contender));
    if (!all) wanted.push_back(known.back().name);
  }
  const auto unable = [&](const Contender& each) {
    return words.servers > 1 && !(words.names > 0 ? each.routes : each.balances);
  };
  if (all) {
    std::erase_if(known, unable);
    return known;
  }
  std::vector<Contender> chosen;
  for (const std::string& name : wanted) {
    if (std::count(wanted.begin(), wanted.end(), name) > 1) {
      throw Wrong{"--peers: " + in_quotes(name) + ": given twice, expected once; " +
                  std::string(kControlName) + " runs the baseline again"};
    }
    if (const auto at = named(name); at != known.end()) {
      if (unable(*at)) {
        throw Wrong{
            "--peers: " + in_quotes(name) +
            (words.names > 0 ? ": does not route by names" : ": forwards to one server only") +
            ", expected another contender or --servers 1"};
      }
      chosen.push_back(*at);
    } else if (name != kControlName && !(words.quick && words.peers.empty())) {
      std::string names;
      for (const Contender& each : known) names += (names.empty() ? "" : ", ") + each.name;
      throw Wrong{"--peers: " + in_quotes(name) + ": unknown or not installed, expected some of " +
                  names + " and " + std::string(kControlName)};
    }
  }
  return chosen;
}

// Adds the baseline a second time. A difference smaller than the one between both means nothing.
void add_control(const Words& words, CompareOptions& options) {
  const auto has = [&](const std::string& name) {
    return std::any_of(options.contenders.begin(), options.contenders.end(),
                       [&](const Contender& each) { return each.name == name; });
  };
  options.baseline = words.relative_to;
  if (!options.baseline.empty() && !has(options.baseline)) {
    throw Wrong{"--relative-to: " + in_quotes(options.baseline) +
                ": expected one of the contenders that run"};
  }
  for (const char* name : kBaselines) {
    if (options.baseline.empty() && has(name)) options.baseline = name;
  }
  if (options.baseline.empty()) options.baseline = options.contenders.at(0).name;
  const std::vector<std::string> wanted = split(words.peers);
  const bool asked = std::find(wanted.begin(), wanted.end(), kControlName) != wanted.end();
  if (!asked && !words.peers.empty()) return;
  for (std::size_t i = 0; i < options.contenders.size(); ++i) {
    if (options.contenders[i].name != options.baseline) continue;
    Contender again = options.contenders[i];
    again.name = kControlName;
    again.version = "the baseline, " + options.baseline + ", again";
    options.contenders.push_back(std::move(again));
    return;
  }
}

// The directory for temporary files: --dir, else TMPDIR, else /tmp.
std::string directory_of(const Words& words) {
  const char* temporary = std::getenv("TMPDIR");
  const bool named = temporary != nullptr && *temporary != '\0';
  const char* option = words.directory.empty() && named ? "TMPDIR" : "--dir";
  const std::string path = !words.directory.empty() ? words.directory : named ? temporary : "/tmp";
  if (::access(path.c_str(), W_OK | X_OK) != 0 || !std::filesystem::is_directory(path)) {
    throw Wrong{std::string(option) + ": " + in_quotes(path) +
                ": expected a directory that can be written to"};
  }
  return path;
}

CompareOptions compare_options(const Words& words) {
  CompareOptions options;
  const std::string list = !words.workloads.empty() ? words.workloads
                           : words.quick            ? kQuickWorkloads
                                                    : kWorkloads;
  options.workloads = workloads_of(words, "--workloads", list);
  options.contenders = contenders_of(words);
  options.all_contenders = words.peers.empty() && !words.quick && words.relative_to.empty();
  if (options.contenders.empty()) throw Wrong{"--peers: expected at least one"};
  add_control(words, options);
  options.rounds = words.rounds != 0 ? words.rounds : words.quick ? 3 : 5;
  options.seconds = seconds_of("--time",
                               !words.time.empty() ? words.time
                               : words.quick       ? "700ms"
                                                   : "2s",
                               kLeastSeconds);
  options.warmup_seconds = seconds_of("--warmup", words.warmup, 0);
  options.threads = words.threads;
  options.workers = words.workers;
  options.servers = words.servers;
  options.names = words.names;
  options.directory = directory_of(words);
  options.verify_bytes = value_of("--verify", parse_size_bytes(words.verify));
  options.verify_all = words.verify_all;
  return options;
}

LoadCommand load_command(const Words& words, std::string to) {
  LoadCommand command;
  command.to = std::move(to);
  command.workloads = workloads_of(words, "--workload", words.workloads);
  command.rounds = words.rounds != 0 ? words.rounds : 1;
  command.seconds = seconds_of("--time", !words.time.empty() ? words.time : "3s", kLeastSeconds);
  command.warmup_seconds = seconds_of("--warmup", words.warmup, 0);
  command.threads = words.threads;
  command.verify_bytes = value_of("--verify", parse_size_bytes(words.verify));
  command.verify_all = words.verify_all;
  command.path = words.path;
  if (words.path != 0 && ::kill(words.path, 0) != 0) {
    throw Wrong{"--path-pid: " + std::to_string(words.path) + ": expected a process of this user"};
  }
  return command;
}

void add_output(Command& command, Output& output) {
  command
      .add_text("--html", "FILE", output.html,
                "Write a page with charts to this file. - is stdout.")
      .common();
  command.add_text("--markdown", "FILE", output.markdown,
                   "Write the tables to this file. - is stdout.");
  command.add_text("--baseline", "FILE", output.baseline,
                   "Compare with the results in this file of --json. - is stdin.");
}

// The options that a comparison and a load share.
void add_common(Command& command, Words& words, Output& output) {
  constexpr std::size_t kMostRounds = 1000;
  command
      .add_number<std::size_t>(
          "--rounds", "N", 1, kMostRounds, words.rounds,
          "Run each workload this many times. Default: 5; with --quick 3; load 1.")
      .common();
  command
      .add_text("--time", "TIME", words.time,
                "Measure for this time in each run, 100ms to 1h. Default: 2s; with --quick 700ms; "
                "load 3s.")
      .common();
  command.add_text("--warmup", "TIME", words.warmup,
                   "Warm up for this time before. Default: 300ms.");
  command.add_number<std::size_t>(
      "--connections", "N", 1, kMaxConnections, words.connections,
      "Use this many connections where a workload gives no number. Default: 1.");
  command.add_text("--size", "SIZE", words.size,
                   "Send messages of this size where a workload gives none. Default: 1B.");
  command.add_choice("--ends", "KIND", {"loop", "threads"}, words.ends,
                     "Exchange messages and calls with one event loop for many connections (loop), "
                     "or with a thread for each connection (threads), as if the names of these "
                     "workloads ended in -threads. Default: loop.");
  command.add_number<std::size_t>(
      "--threads", "N", 1, kMaxThreads, words.threads,
      "Use this many threads at each end. Default: one for each stream, at most 8; "
      "1 for rr.");
  command.add_text("--verify", "SIZE", words.verify,
                   "Compare this much byte by byte before each run with streams. Default: 64MiB.");
  command.add_flag("--verify-all", words.verify_all,
                   "Compare every byte of every stream, which costs some speed.");
  command
      .add_text("--json", "FILE", output.json,
                "Write the results to this file, for programs. - is stdout.")
      .common();
  add_output(command, output);
}

void add_comparison(Command& program, Words& words, bool& syscalls) {
  constexpr std::size_t kMostWorkers = 256;
  constexpr std::size_t kMostServers = 1000;
  program
      .add_text(
          "--workloads", "LIST", words.workloads,
          "Run these workloads, separated by commas. Default: " + with_spaces(kWorkloads) + ".")
      .common();
  program
      .add_text(
          "--peers", "LIST", words.peers,
          "Compare these contenders, in this order. Default: all that are installed, and A/A, "
          "which is the baseline again.")
      .common();
  program.add_texts("--contender", "TEXT", words.contenders,
                    "Add a contender: 'NAME=COMMAND', with {listen} and {to} for the ports. With "
                    "--servers, a word with {to} is there once for each server. Can be repeated.");
  program.add_text(
      "--relative-to", "NAME", words.relative_to,
      "Compute ratios to this contender. Default: haproxy-tuned, nginx-tuned or direct.");
  program.add_number<std::size_t>(
      "--workers", "N", 1, kMostWorkers, words.workers,
      "Let each contender use this many workers, where it has such a setting. Default: 2.");
  program.add_number<std::size_t>(
      "--servers", "N", 1, kMostServers, words.servers,
      "Let each contender balance over this many servers, and check their health, where it can. "
      "Default: 1.");
  program.add_number<std::size_t>(
      "--sni", "N", 1, kMaxNames, words.names,
      "Begin each connection with a TLS hello that asks for one of this many names, of which each "
      "belongs to one server. Adds contenders that route by them. Default: no TLS hello.");
  program.add_text("--sluice", "PATH", words.sluice,
                   "Use this sluice. Default: the one beside this program.");
  program.add_text("--dir", "DIR", words.directory,
                   "Put the files of each run here, captures among them. They are removed after "
                   "the run. Default: $TMPDIR, or /tmp.");
  program.add_flag(
      "--syscalls", syscalls,
      "Count the system calls of each forwarder in one more run, with perf or strace.");
  program
      .add_flag("--quick", words.quick,
                "Run for under two minutes. There are fewer workloads, contenders and rounds.")
      .common();
}

// Options before a subcommand belong to the comparison, so they are an error.
void refuse_options_before(const Command& program, Command& command) {
  const CommandOption* option = program.first_given();
  if (option == nullptr) return;
  throw Wrong{option->name() + ": " +
              (command.has_option(option->name()) ? "expected after " + command.name()
                                                  : "not an option of " + command.name())};
}

void check_readable(const char* option, const std::string& path) {
  std::error_code error;
  if (path.empty() || path == kStdout || std::filesystem::exists(path, error)) return;
  throw Wrong{std::string(option) + ": " + in_quotes(path) + ": expected a file that exists"};
}

// Rejects one file for two outputs, because the second would overwrite the first. A new --json may
// replace the baseline, which has been read by then.
void check_distinct(const Invocation& invocation) {
  const auto apart = [](const char* option, const std::string& file, const char* other,
                        const std::string& taken) {
    if (file.empty() || file != taken) return;
    throw Wrong{std::string(option) + ": " + in_quotes(file) + " is also the file of " + other +
                ", expected another"};
  };
  const Output& output = invocation.output;
  apart("--markdown", output.markdown, "--html", output.html);
  for (const auto& [option, file] :
       {std::pair("--html", output.html), std::pair("--markdown", output.markdown)}) {
    apart(option, file, "--json", output.json);
    if (file == kStdout) continue;  // stdout, which is no conflict with stdin
    apart(option, file, "--from", invocation.from);
    apart(option, file, "--baseline", output.baseline);
  }
}

constexpr const char* kExamples =
    "  sluice-bench --quick\n"
    "  sluice-bench --peers haproxy-tuned,sluice --workloads bulk8,rr32 --html p.html\n"
    "  sluice-bench serve --listen :7010\n"
    "  sluice-bench load --to server:7010 --workload rr8@1000,bulk4down\n";

constexpr const char* kWorkloadSyntax =
    "Workloads, which --workloads and --workload list:\n"
    "  bulk[N][up|down|both][-plain]\n"
    "                   N streams. With -plain they use send and recv, without it\n"
    "                   sendfile and MSG_TRUNC.\n"
    "  rr[N][xSIZE][@RATE]\n"
    "                   N connections exchange messages, one at a time on each.\n"
    "  crr[N][@RATE]    N threads connect, exchange a byte, and close.\n"
    "  idle[N]          N connections exchange a byte and rest.\n"
    "  elephantsNmiceM  N streams beside M ping-pongs.\n"
    "  slow[N]          N readers of 1 MiB/s beside a fast one.\n"
    "  mix              All at once.\n"
    "-threads after rr, crr, elephantsNmiceM and mix gives each connection that\n"
    "exchanges something a thread of its own at both ends: rr32-threads.\n"
    "@RATE makes an open loop of this many exchanges a second, whose latency counts\n"
    "from the time at which each was due. Without it the loop is closed.\n";

constexpr const char* kFooter = R"(
Exit status: 0 all runs were valid, 1 a run was void or something failed,
2 wrong usage, 130 interrupted, after the results so far were printed.
)";

}  // namespace

Invocation parse_command_line(int argc, char** argv) {
  Invocation invocation;
  Words words;
  std::string to;
  Command program("sluice-bench",
                  "Compares TCP paths: direct, sluice, and other forwarders that are installed.");
  program.set_version("sluice-bench " SLUICE_VERSION);
  program.set_examples(kExamples);
  program.add_topic("workloads", "The names of workloads.", kWorkloadSyntax);
  program.set_footer(kFooter);
  add_common(program, words, invocation.output);
  add_comparison(program, words, invocation.syscalls);
  Command& serve = program.add_command("serve", "Run the serving end, behind a path.");
  serve
      .add_text("--listen", "ADDR", invocation.listen,
                "Listen at this address. It is HOST:PORT, [IPV6]:PORT, :PORT, unix:/path or "
                "unix:@name.")
      .required();
  Command& load = program.add_command("load", "Run the load, through a path to a serving end.");
  load.add_text("--to", "ADDR", to, "Connect to this address, where the path begins.").required();
  load.add_text("--workload", "LIST", words.workloads, "Run these workloads, separated by commas.")
      .required();
  load.add_number("--path-pid", "PID", 1, std::numeric_limits<int>::max(), words.path,
                  "Count the CPU and memory of this local process as those of the path.");
  add_common(load, words, invocation.output);
  Command& report = program.add_command("report", "Show the results of an earlier run again.");
  report
      .add_text("--from", "FILE", invocation.from,
                "Read the results from this file of --json. - is stdin.")
      .required();
  add_output(report, invocation.output);

  const auto understand = [&] {
    for (Command* command : {&serve, &load, &report}) {
      if (command->chosen()) refuse_options_before(program, *command);
    }
    check_readable("--baseline", invocation.output.baseline);
    check_readable("--from", invocation.from);
    check_distinct(invocation);
    if (serve.chosen()) {
      value_of("--listen", parse_listen_address(invocation.listen));
      invocation.action = Invocation::Action::serve;
    } else if (report.chosen()) {
      invocation.action = Invocation::Action::report;
    } else if (load.chosen()) {
      value_of("--to", parse_server_address(to));
      invocation.load = load_command(words, to);
      invocation.action = Invocation::Action::load;
      invocation.compare.command = typed("sluice-bench", argc, argv);
    } else {
      invocation.compare = compare_options(words);
      invocation.compare.command = typed("sluice-bench", argc, argv);
      invocation.action = Invocation::Action::compare;
    }
  };
  if (const std::optional<EarlyExit> exit = program.parse(argc, argv, understand)) {
    invocation.action = Invocation::Action::exit;
    invocation.exit_status = exit->status;
    invocation.message = exit->message;
  }
  return invocation;
}

}  // namespace sluice::bench
