#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "iolib/base/file_identity.h"
#include "iolib/base/shortage.h"
#include "iolib/base/standard_streams.h"
#include "tools/bench/baseline.h"
#include "tools/bench/compare.h"
#include "tools/bench/document.h"
#include "tools/bench/html.h"
#include "tools/bench/interrupt.h"
#include "tools/bench/load.h"
#include "tools/bench/net.h"
#include "tools/bench/options.h"
#include "tools/bench/server.h"
#include "tools/bench/table.h"
#include "tools/common/system.h"

namespace sluice::bench {
namespace {

constexpr int kFailed = 1;
constexpr int kInterrupted = 130;

int fail(const std::string& reason) {
  std::fprintf(stderr, "sluice-bench: %s\n", reason.c_str());
  return kFailed;
}

bool all_valid(const json::object& document) {
  for (const json::value& workload : document.at("workloads").as_array()) {
    for (const json::value& run : workload.at("runs").as_array()) {
      if (!run.at("valid").as_bool()) return false;
    }
  }
  return true;
}

// Prints and writes the results; returns the exit status.
int finish(const json::object& document, const Output& output, const json::object* baseline) {
  int status = all_valid(document) ? 0 : kFailed;
  const auto print = [&](const std::string& text, std::FILE* to) {
    const bool printed = std::fputs(text.c_str(), to) >= 0 && std::fflush(to) == 0;
    if (!printed) status = fail("the results cannot be printed");
  };
  // If a result goes to stdout, for another program, nothing else does.
  const bool taken = output.json == kStdout || output.html == kStdout || output.markdown == kStdout;
  std::FILE* const out = taken ? stderr : stdout;
  const TableStyle style = ::isatty(::fileno(out)) == 1 ? TableStyle::terminal : TableStyle::plain;
  print(describe_machine(document) + to_table(document, style), out);
  if (baseline != nullptr) print("\n" + compare_documents(*baseline, document), out);
  const auto write = [&](const std::string& path, const std::string& text) {
    if (path.empty()) return;
    if (path == kStdout) return print(text, stdout);
    if (const Result<> written = write_file(path, text); written.has_error()) {
      status = fail(written.error().to_string());
    }
  };
  write(output.json, to_text(document));
  write(output.html, to_html(document));
  write(output.markdown, describe_conditions(document) + to_table(document, TableStyle::markdown));
  return interrupted() ? kInterrupted : status;
}

int serve(const std::string& address) {
  const Result<Endpoint> at = resolve_listen(address);
  if (at.has_error()) return fail(at.error().to_string());
  catch_interrupts();
  Result<OwnedFd> listener = listen_at(*at);
  if (listener.has_error()) return fail(listener.error().to_string());
  std::vector<OwnedFd> listeners;
  listeners.push_back(std::move(*listener));
  std::printf("listening on %s\n", local_address(listeners[0].get()).c_str());
  std::fflush(stdout);
  // Only a socket with a path leaves a file behind.
  const std::string path = address.starts_with("unix:/") ? address.substr(5) : "";
  const std::optional<FileIdentity> socket = identity_at(AT_FDCWD, path);
  const Server server(std::move(listeners));
  constexpr std::chrono::milliseconds kTick{100};
  while (!interrupted() && server.failure().empty()) std::this_thread::sleep_for(kTick);
  unlink_if_same(AT_FDCWD, path, socket);
  return server.failure().empty() ? 0 : fail(server.failure());
}

// Runs a load. Its document has one contender: the path.
json::object load_document(const LoadCommand& command, const std::string& typed,
                           const Endpoint& to) {
  const std::string path = command.to;
  LoadOptions options;
  options.to = to;
  options.seconds = command.seconds;
  options.warmup_seconds = command.warmup_seconds;
  options.threads = command.threads;
  options.verify_bytes = command.verify_bytes;
  options.verify_all = command.verify_all;
  options.path = command.path;
  json::object document = new_document(typed);
  document["settings"] = {{"rounds", command.rounds},
                          {"seconds", command.seconds},
                          {"warmup_seconds", command.warmup_seconds},
                          {"verify_bytes", command.verify_bytes},
                          {"verify_all", command.verify_all},
                          {"threads", command.threads},
                          {"network", "shared"}};
  document["baseline"] = path;
  document["contenders"] =
      json::array{json::object{{"name", path}, {"version", ""}, {"command", ""}, {"config", ""}}};
  document["interrupted"] = false;
  for (const Workload& workload : command.workloads) {
    json::object entry = new_workload(workload, command.path != 0);
    for (std::size_t round = 1; round <= command.rounds && !interrupted(); ++round) {
      std::fprintf(stderr, "%s, round %zu of %zu\n", workload.name.c_str(), round, command.rounds);
      json::object run;
      try {
        run = run_load(options, workload);
      } catch (const Interrupted&) {
        break;
      } catch (const std::exception& failure) {
        if (interrupted()) break;
        run = {{"valid", false}, {"reason", failure.what()}};
      }
      run["contender"] = path;
      run["round"] = round;
      entry["runs"].as_array().push_back(std::move(run));
    }
    summarize(entry, {path}, path);
    if (!entry["runs"].as_array().empty()) {
      document["workloads"].as_array().push_back(std::move(entry));
    }
  }
  document["interrupted"] = interrupted();
  return document;
}

// The first of a name's addresses that accepts a connection. All connections of a load go there.
Endpoint first_that_connects(const std::vector<Endpoint>& addresses) {
  for (const Endpoint& each : std::span(addresses).first(addresses.size() - 1)) {
    try {
      const OwnedFd tried = connect_to(each);
      return each;
    } catch (const Failure&) {
      continue;
    }
  }
  return addresses.back();
}

void choose_call_tool(CompareOptions& options) {
  if (const Result<CallTool> tool = find_call_tool(); tool.has_value()) {
    options.call_tool = *tool;
  } else {
    options.no_calls = tool.error().to_string();
    std::cerr << "sluice-bench: system calls are not counted: " << options.no_calls << '\n';
  }
}

void announce(const CompareOptions& options) {
  constexpr double kMinute = 60;
  const double seconds = estimated_seconds(options);
  const bool minutes = seconds >= 3 * kMinute;
  std::fprintf(stderr, "%zu workloads, %zu contenders, %zu rounds: about %.0f %s\n",
               options.workloads.size(), options.contenders.size(), options.rounds,
               minutes ? seconds / kMinute : seconds, minutes ? "minutes" : "seconds");
}

int run(int argc, char** argv) {
  Invocation invocation = parse_command_line(argc, argv);
  if (invocation.action == Invocation::Action::exit) {
    std::FILE* const to = invocation.exit_status == 0 ? stdout : stderr;
    const bool printed = std::fputs(invocation.message.c_str(), to) >= 0 && std::fflush(to) == 0;
    return printed || to == stderr ? invocation.exit_status : fail("stdout cannot be written");
  }
  std::signal(SIGPIPE, SIG_IGN);
  allow_many_descriptors();
  if (invocation.action == Invocation::Action::serve) return serve(invocation.listen);
  // Check before measuring that the results can be written.
  for (const std::string& path :
       {invocation.output.json, invocation.output.html, invocation.output.markdown}) {
    if (path.empty() || path == kStdout) continue;
    if (const Result<> written = check_writable(path); written.has_error()) {
      return fail(written.error().to_string());
    }
  }
  // Check before measuring that the baseline can be read.
  json::object baseline;
  if (!invocation.output.baseline.empty()) {
    Result<json::object> read = read_document(invocation.output.baseline);
    if (read.has_error()) return fail(read.error().to_string());
    baseline = std::move(*read);
  }
  const json::object* compared = invocation.output.baseline.empty() ? nullptr : &baseline;
  if (invocation.action == Invocation::Action::report) {
    const Result<json::object> document = read_document(invocation.from);
    if (document.has_error()) return fail(document.error().to_string());
    const int status = finish(*document, invocation.output, compared);
    // A void run in the report is shown, but is no failure of this program.
    return all_valid(*document) ? status : 0;
  }
  if (invocation.action == Invocation::Action::load) {
    const Result<std::vector<Endpoint>> to = resolve_target(invocation.load.to);
    if (to.has_error()) return fail(to.error().to_string());
    catch_interrupts();
    return finish(
        load_document(invocation.load, invocation.compare.command, first_that_connects(*to)),
        invocation.output, compared);
  }
  if (const Result<> space = check_space(invocation.compare); space.has_error()) {
    if (!invocation.compare.all_contenders) return fail(space.error().to_string());
    std::cerr << "sluice-bench: contenders that record are left out: " << space.error().to_string()
              << '\n';
    std::erase_if(invocation.compare.contenders,
                  [](const Contender& each) { return each.records; });
  }
  catch_interrupts();
  if (invocation.syscalls) choose_call_tool(invocation.compare);
  announce(invocation.compare);
  return finish(compare(invocation.compare), invocation.output, compared);
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::occupy_closed_streams();
  sluice::end_without_memory("sluice-bench");
  try {
    return sluice::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluice-bench: %s\n", error.what());
    return 1;
  }
}
