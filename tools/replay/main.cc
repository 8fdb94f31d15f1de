#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "iolib/base/shortage.h"
#include "iolib/base/standard_streams.h"
#include "iolib/base/text.h"
#include "iolib/capture/format.h"
#include "iolib/reactor/asio_reactor.h"
#include "iolib/reactor/uring_reactor.h"
#include "tools/common/interrupt.h"
#include "tools/common/system.h"
#include "tools/replay/options.h"
#include "tools/replay/report.h"

namespace sluice::replay {
namespace {

int fail(const std::string& reason) {
  std::fprintf(stderr, "sluice-replay: %s\n", one_line(reason).c_str());
  return kFailed;
}

Result<std::unique_ptr<Reactor>> make_reactor() {
  Result<std::unique_ptr<UringReactor>> uring = UringReactor::create();
  if (uring) return std::unique_ptr<Reactor>(*std::move(uring));
  Result<std::unique_ptr<AsioReactor>> asio = AsioReactor::create();
  if (!asio) return asio.error();
  return std::unique_ptr<Reactor>(*std::move(asio));
}

// Limits the connections to the available descriptors, minus those for segments and other files.
void bound_connections(Pace& pace) {
  constexpr std::size_t kOthers = SegmentFiles::kMostOpen + 64;
  const std::size_t files = allow_many_descriptors();
  const std::size_t most = files > kOthers + 1 ? files - kOthers : 1;
  pace.most_connections = pace.most_connections == 0 ? most : std::min(most, pace.most_connections);
}

// The recorded time that --max-gap is at this speed.
std::uint64_t longest_gap_ns(const Pace& pace) {
  if (!pace.max_gap || pace.speed == 0) return kNone;
  constexpr double kMostNs = 1e18;  // 30 years
  const double ns = static_cast<double>(pace.max_gap->count()) * pace.speed;
  return static_cast<std::uint64_t>(std::min(ns, kMostNs));
}

// Prints and writes the report; returns the exit status.
int report(const Outcome& outcome) {
  int status = status_of(outcome);
  const Invocation& asked = outcome.invocation;
  const auto failed = [&](const std::string& reason) {
    const int failure = fail(reason);
    // A more specific status takes precedence.
    if (status == 0 || status == kGaps) status = failure;
  };
  const auto print = [&](const std::string& text, std::FILE* to) {
    const bool printed = std::fputs(text.c_str(), to) >= 0 && std::fflush(to) == 0;
    if (!printed) failed("the report cannot be printed");
  };
  // If a report goes to stdout, for another program, nothing else does.
  print(to_text(outcome), asked.json == kStdout || asked.html == kStdout ? stderr : stdout);
  const auto write = [&](const std::string& path, const std::string& text) {
    if (path == kStdout) return print(text, stdout);
    if (const Result<> written = write_file(path, text); !written) {
      failed(written.error().to_string());
    }
  };
  if (!asked.json.empty()) write(asked.json, json::serialize(to_json(outcome)) + '\n');
  if (!asked.html.empty()) write(asked.html, to_html(outcome));
  return status;
}

int run(Invocation& invocation) {
  std::signal(SIGPIPE, SIG_IGN);
  // Makes timers precise: by default they may fire up to 50 µs late.
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  bound_connections(invocation.pace);
  Result<std::vector<Endpoint>> to = resolve_target(invocation.to);
  if (!to) return fail(to.error().to_string());
  invocation.settings.to = *std::move(to);
  // Check before sending that the reports can be written.
  for (const std::string& path : {invocation.json, invocation.html}) {
    if (path.empty() || path == kStdout) continue;
    // Never overwrite a segment: only files with such names can be one.
    if (capture::parse_segment_name(path.substr(path.rfind('/') + 1))) {
      return fail(path + " has the name of a capture's segment, expected another name");
    }
    if (const Result<> writable = check_writable(path); !writable) {
      return fail(writable.error().to_string());
    }
  }
  catch_interrupts();
  Plan plan;
  const Purpose purpose{invocation.settings.compare, longest_gap_ns(invocation.pace)};
  const Result<> planned = make_plan(invocation.paths, invocation.filter, purpose, plan);
  if (!planned) return fail(planned.error().to_string());
  Tally tally;
  const std::string began = utc_now();
  if (!plan.interrupted && plan.connections.size() > 0) {
    Result<std::unique_ptr<Reactor>> reactor = make_reactor();
    if (!reactor) return fail(reactor.error().to_string());
    Replayer(**reactor, plan, invocation.settings, invocation.pace, tally).run();
  } else if (!plan.interrupted && plan.without_beginning == 0 && plan.without_client == 0) {
    return fail("there is no connection to replay");
  }
  return report({invocation, plan, tally, began, interrupted()});
}

}  // namespace
}  // namespace sluice::replay

int main(int argc, char** argv) {
  sluice::occupy_closed_streams();
  sluice::end_without_memory("sluice-replay");
  try {
    sluice::replay::Invocation invocation = sluice::replay::parse_command_line(argc, argv);
    if (!invocation.exits) return sluice::replay::run(invocation);
    std::FILE* const to = invocation.exit_status == 0 ? stdout : stderr;
    const bool printed = std::fputs(invocation.message.c_str(), to) >= 0 && std::fflush(to) == 0;
    if (!printed && to == stdout) return sluice::replay::fail("stdout cannot be written");
    return invocation.exit_status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluice-replay: %s\n", error.what());
    return 1;
  }
}
