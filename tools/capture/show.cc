// The commands show and follow.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "tools/capture/commands.h"
#include "tools/capture/findings.h"
#include "tools/capture/printer.h"
#include "tools/common/interrupt.h"
#include "tools/common/walk.h"

namespace sluice::capture {
namespace {

using boost::system::in_place_value;
using Clock = std::chrono::steady_clock;

// Whether stdout has failed. Without this check, only the program's end would notice, which
// `follow` never reaches.
bool stdout_is_gone() { return std::ferror(stdout) != 0; }

/// Follows all chains of a capture, each as far as it has been written.
class Follower {
 public:
  explicit Follower(const Invocation& invocation) : invocation_(invocation) {}

  // Returns whether there was anything new.
  Result<bool> turn() {
    Result<std::vector<Chain>> listed = list_capture(invocation_.paths);
    // A directory that existed before may be missing for a while: it can be removed and created
    // again, even while its daemon runs.
    if (!listed && listed.error().code == ENOENT && !chains_.empty()) return go_on(false);
    if (!listed) return listed.error();
    bool any = false;
    for (Chain& chain : *listed) {
      Followed& followed = find_or_add(chain);
      followed.reader->update(chain);
      followed.chain = std::move(chain);
      const Result<bool> read = read_on(followed);
      if (!read) return read.error();
      any = any || *read;
    }
    return go_on(any);
  }

 private:
  struct Followed {
    Chain chain;
    std::unique_ptr<ChainReader> reader;
    // Connection numbers are unique only within a chain.
    std::unique_ptr<Printer> printer;
  };

  Followed& find_or_add(const Chain& chain) {
    for (Followed& each : chains_) {
      if (each.chain.run == chain.run && each.chain.worker == chain.worker) return each;
    }
    ChainReader::Options options;
    options.live = true;
    return chains_.emplace_back(Followed{chain, std::make_unique<ChainReader>(chain, options),
                                         std::make_unique<Printer>(invocation_)});
  }

  static Result<bool> read_on(Followed& followed) {
    bool any = false;
    while (!interrupted() && !stdout_is_gone()) {
      const Result<Event> event = followed.reader->next();
      if (!event) return event.error();
      if (event->type == Event::Type::wait || event->type == Event::Type::end) break;
      any = any || event->type == Event::Type::record;
      const Result<> printed =
          followed.printer->take(*event, {0, followed.chain, *followed.reader});
      if (!printed) return printed.error();
    }
    return go_on(any);
  }

  const Invocation& invocation_;
  std::vector<Followed> chains_;
};

}  // namespace

Result<int> run_show(const Invocation& invocation) {
  Printer printer(invocation);
  int status = 0;
  const auto visit = [&](const Event& event, const At& at) {
    status = std::max(status, status_of(event));
    const Result<> printed = printer.take(event, at);
    return printed ? go_on(!stdout_is_gone()) : Result<bool>(printed.error());
  };
  const Result<> walked = walk(invocation.paths, visit, Stdout::streams);
  if (!walked) return walked.error();
  if (stdout_is_gone()) return {in_place_value, status};
  if (const Result<> found = printer.check(); !found) return found.error();
  return {in_place_value, status};
}

Result<int> run_follow(const Invocation& invocation) {
  constexpr timespec kPause{0, 50'000'000};
  catch_interrupts();
  Follower follower(invocation);
  Clock::time_point last = Clock::now();
  while (!interrupted()) {
    const Result<bool> any = follower.turn();
    if (!any) return any.error();
    // main() reports the error. A flush that a signal has interrupted is not repeated, because its
    // reader has stopped.
    if (stdout_is_gone() || std::fflush(stdout) != 0) break;
    if (*any) last = Clock::now();
    if (invocation.until_idle && Clock::now() - last >= *invocation.until_idle) break;
    // A signal ends the pause.
    ::nanosleep(&kPause, nullptr);
  }
  return {in_place_value, 0};
}

}  // namespace sluice::capture
