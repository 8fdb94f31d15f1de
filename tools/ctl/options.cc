#include "tools/ctl/options.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "iolib/base/owned_fd.h"
#include "iolib/base/text.h"
#include "iolib/base/units.h"
#include "tools/common/command_line.h"
#include "tools/common/endpoint.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/top_model.h"

namespace sluice::ctl {
namespace {

constexpr std::uint64_t kMostItems = 1'000'000'000;
constexpr std::size_t kMostTokenBytes = 1024;

constexpr const char* kExamples =
    "  sluice-ctl top\n"
    "  sluice-ctl connections --route orders --sort bytes --limit 10\n"
    "  sluice-ctl server drain orders 10.0.0.2:5432\n"
    "  sluice-ctl drain --wait 30s && systemctl restart sluice\n";

constexpr const char* kFooter = R"(
Exit status: 0 done; 1 refused by the daemon, with its reason; 2 wrong usage;
3 nobody answers; 4 not allowed.
)";

// The values of options before they are parsed further.
struct Words {
  std::string socket, wait;
  const CommandOption* wait_option = nullptr;
};

// The subcommands.
class Commands : public Subcommands<Run> {
 public:
  Commands(Command& program, Words& words, Invocation& invocation)
      : Subcommands(program), words_(words), invocation_(invocation) {
    add_reading();
    add_changing();
    add_top();
  }

 private:
  void add_reading();
  void add_changing();
  void add_top();
  void add_sort(Command& command, const char* help) {
    command.add_choice("--sort", "KEY", {std::begin(kSortKeys), std::end(kSortKeys)},
                       invocation_.sort, help);
  }
  void add_route(Command& command) {
    command.add_word("ROUTE", "", invocation_.route, "The name of a route.");
  }

  Words& words_;
  Invocation& invocation_;
};

void Commands::add_reading() {
  add("status", run_status, "Print the state of the daemon.");
  add("routes", run_routes, "List the routes.");
  add("servers", run_servers, "List the servers of the routes, and their health.");
  Command& connections = add("connections", run_connections, "List the connections.");
  connections.add_text("--route", "NAME", invocation_.route, "Select connections of this route.");
  add_sort(connections,
           "Sort by id, or by bytes, age or idle time, the largest first. Default: id.");
  connections.add_number<std::uint64_t>("--limit", "N", 1, kMostItems, invocation_.limit,
                                        "List at most this many. Default: all.");
  add("captures", run_captures, "List the capture directories.");
  add("mirrors", run_mirrors, "List the mirrors.");
}

void Commands::add_changing() {
  add("kill", run_kill, "Reset connections.")
      .add_words("ID", "ID", invocation_.ids,
                 "The connections, as `connections` and the log show them.");
  Command& drain = add("drain", run_drain,
                       "Make /readyz answer 503, so that load balancers send clients elsewhere.");
  words_.wait_option =
      &drain
           .add_text("--wait", "TIME", words_.wait,
                     "Wait until there is no connection, at most for this time, such as 30s. "
                     "Without a time, for as long as it takes.")
           .optional();
  add("undrain", run_undrain, "Undo `drain`.");
  Command& capture = add("capture", run_capture, "Record new connections of a route, or do not.");
  capture.add_word({"on", "off"}, invocation_.order,
                   "Whether connections that begin from now on are recorded.");
  add_route(capture);
  Command& server = add("server", run_server, "Take a server out of a route, or put it back.");
  server.add_word({"up", "drain", "down"}, invocation_.order,
                  "drain: no new connections; down: the same, as if its checks failed; up: what "
                  "its checks say.");
  add_route(server);
  server.add_word("SERVER", "", invocation_.server, "Its address, as `servers` shows it.");
  add("log-level", run_log_level, "Print or set the log level.")
      .add_word("LEVEL", "", invocation_.order,
                "From now on, log lines of this level and above. Without it, print the level.")
      .optional();
  add("reload", run_reload, "Apply the configuration file, or nothing of it.")
      .add_flag("--dry-run", invocation_.dry_run, "Only print what it would change.");
  add("takeover", run_takeover,
      "Start the installed program, and let it take over without losing a connection.");
  add("ready", run_ready, "Exit with 0 if the daemon is ready, otherwise with 1.");
}

void Commands::add_top() {
  Command& top = add("top", run_top, "Show routes and the busiest connections, live.");
  add_sort(top,
           "Show the connections with the most bytes, age or idle time, or by id. "
           "Default: bytes.");
  top.add_number<std::uint64_t>("--count", "N", 1, kMostItems, invocation_.count,
                                "End after this many tables.");
}

void understand(const Words& words, Invocation& invocation) {
  if (!words.socket.empty()) invocation.address = address_of(words.socket);
  invocation.waits = words.wait_option->given();
  if (!words.wait.empty()) {
    invocation.wait_at_most = value_of("--wait", parse_duration(words.wait));
  }
  if (invocation.json && invocation.run == run_top) {
    throw Wrong{"top: prints no JSON, expected it without --json"};
  }
}

void add_options(Command& program, Words& words, Invocation& invocation) {
  program
      .add_text("--socket", "ADDR", words.socket,
                "Ask the daemon at this address of its --admin: a path, unix:@name, HOST:PORT or "
                "[IPV6]:PORT. Default: /run/sluice/admin.sock.")
      .common()
      .everywhere();
  program
      .add_text("--token-file", "FILE", invocation.token_file,
                "Send the token in this file, which the daemon's --admin-token-file requires over "
                "TCP.")
      .common()
      .everywhere();
  program
      .add_flag("--json", invocation.json,
                "Print the daemon's answer as JSON, for programs. Lists are complete.")
      .common()
      .everywhere();
}

}  // namespace

std::string address_of(const std::string& text) {
  const bool is_path = text.find('/') != std::string::npos && text.find(':') == std::string::npos;
  const std::string address =
      is_path ? "unix:" + std::filesystem::absolute(text).lexically_normal().string() : text;
  if (const auto parsed = parse_server_address(address); parsed.has_error()) {
    throw Wrong{"--socket: " + in_quotes(text) +
                ": expected a path with a /, unix:@name, HOST:PORT, [IPV6]:PORT or :PORT"};
  }
  return address;
}

std::string token_in(const std::string& path) {
  // Without O_NONBLOCK, open() of a FIFO would wait for a writer.
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  std::string token(kMostTokenBytes + 2, '\0');
  const ssize_t count = fd ? ::read(fd.get(), token.data(), token.size()) : -1;
  if (count < 0) throw Wrong{errno_error("--token-file: read " + path).to_string()};
  token.resize(static_cast<std::size_t>(count));
  if (token.ends_with('\n')) token.pop_back();
  const bool is_line = std::ranges::all_of(token, [](char c) { return c > ' ' && c < '\x7f'; });
  if (token.empty() || token.size() > kMostTokenBytes || !is_line) {
    throw Wrong{"--token-file: " + path + ": expected one line of 1 to " +
                std::to_string(kMostTokenBytes) + " characters without spaces"};
  }
  return token;
}

Invocation parse_command_line(int argc, const char* const* argv) {
  Invocation invocation;
  Words words;
  Command program("sluice-ctl", "Shows what a running sluice does, and changes it.");
  program.set_version("sluice-ctl " SLUICE_VERSION);
  program.set_examples(kExamples);
  program.set_footer(kFooter);
  add_options(program, words, invocation);
  const Commands commands(program, words, invocation);
  const auto exit = program.parse(argc, argv, [&] {
    invocation.run = commands.chosen();
    understand(words, invocation);
  });
  if (exit) {
    invocation.run = nullptr;
    invocation.exit_status = exit->status;
    invocation.message = exit->message;
  }
  return invocation;
}

}  // namespace sluice::ctl
