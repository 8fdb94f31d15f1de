#include "proxy/takeover/predecessors.h"

#include <fcntl.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <utility>

#include "iolib/base/shortage.h"
#include "proxy/log/log.h"

namespace sluice::takeover {
namespace {

// How long the rest of a report may take.
constexpr Duration kRestTime = std::chrono::seconds(5);

Result<OwnedFd> copy_of(const OwnedFd& fd) {
  if (!fd) return OwnedFd();
  OwnedFd copied(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copied) return errno_error("copy a takeover link");
  return copied;
}

}  // namespace

std::size_t Predecessors::count() const {
  const std::lock_guard lock(mutex_);
  return ancestors_.living.size();
}

std::vector<std::pair<std::int64_t, std::uint64_t>> Predecessors::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::int64_t, std::uint64_t>> result;
  for (const Living& each : ancestors_.living) result.emplace_back(each.pid, each.connections);
  return result;
}

void Predecessors::signal(int number) const {
  const std::lock_guard lock(mutex_);
  for (const Living& each : ancestors_.living) send_signal(each.process, number);
}

Totals Predecessors::totals() const {
  const std::lock_guard lock(mutex_);
  Totals sums = ancestors_.ended;
  for (const Living& each : ancestors_.living) takeover::add(sums, each.totals);
  return sums;
}

Totals Predecessors::held() const {
  const std::lock_guard lock(mutex_);
  Totals sums;
  for (const Living& each : ancestors_.living) takeover::add(sums, each.held);
  return sums;
}

void Predecessors::add(Ancestors ancestors) {
  const std::lock_guard lock(mutex_);
  ancestors_ = std::move(ancestors);
}

void Predecessors::add_newest(Living predecessor) {
  const std::lock_guard lock(mutex_);
  ancestors_.living.insert(ancestors_.living.begin(), std::move(predecessor));
}

void Predecessors::start() {
  if (thread_.joinable() || ancestors_.living.empty()) return;
  stop_.clear();
  const Result<> started = or_shortage([this]() -> Result<> {
    thread_ = start_thread([this] {
      pthread_setname_np(pthread_self(), "predecessors");
      run();
    });
    return {};
  });
  if (started.has_error()) {
    log::error("predecessors_unread", {{"reason", started.error().to_string()}});
  }
}

void Predecessors::stop() {
  if (!thread_.joinable()) return;
  stop_.stop();
  thread_.join();
}

Result<Ancestors> Predecessors::hand_over() const {
  const std::lock_guard lock(mutex_);
  Ancestors copies;
  copies.ended = ancestors_.ended;
  for (const Living& each : ancestors_.living) {
    Result<OwnedFd> link = copy_of(each.link);
    if (link.has_error()) return link.error();
    Result<OwnedFd> process = copy_of(each.process);
    if (process.has_error()) return process.error();
    copies.living.push_back({each.pid, each.connections, each.totals, each.held, each.runs,
                             *std::move(link), *std::move(process)});
  }
  return copies;
}

// --- On the thread, which alone changes who lives while it runs ---

void Predecessors::run() {
  while (!ancestors_.living.empty()) {
    std::vector<pollfd> fds = awaited();
    wait_for(fds, Clock::now() + std::chrono::hours(1));
    if (fds.front().revents != 0) return;
    for (std::size_t i = 0; i < ancestors_.living.size(); ++i) {
      if (fds[1 + 2 * i].revents != 0) take_report(ancestors_.living[i]);
    }
    end_those_that_ended();
    hooks_.reported();
  }
}

// The stop, and for each predecessor its link and its process.
std::vector<pollfd> Predecessors::awaited() const {
  std::vector<pollfd> fds = {{stop_.fd(), POLLIN, 0}};
  for (const Living& each : ancestors_.living) {
    fds.push_back({each.link.get(), POLLIN, 0});
    // Its last report comes before its end.
    fds.push_back({each.link ? -1 : each.process.get(), POLLIN, 0});
  }
  return fds;
}

void Predecessors::take_report(Living& from) {
  // A stop does not cut a report in two.
  Link link(std::move(from.link), wait_in_any_case);
  const Result<Link::Received> received = link.receive(kLongestState, Clock::now() + kRestTime);
  const std::lock_guard lock(mutex_);
  const bool is_report = received.has_value() && received->message.type == MessageType::report;
  if (!is_report) {
    from.connections = 0;
    from.held.clear();
    return;  // the link closes
  }
  from.link = link.release();
  from.connections = number_of(received->message.body, "connections");
  replace(from.totals, totals_from_json(object_of(received->message.body, "totals")));
  from.held = totals_from_json(object_of(received->message.body, "held"));
}

// A process that has closed its link may still write to a capture.
void Predecessors::end_those_that_ended() {
  for (std::size_t i = 0; i < ancestors_.living.size();) {
    Living& each = ancestors_.living[i];
    if (each.link || !has_ended(each.process, Clock::now())) {
      ++i;
      continue;
    }
    log::info("predecessor_ended", {{"pid", static_cast<std::uint64_t>(each.pid)}});
    const std::vector<std::string> runs = each.runs;
    {
      const std::lock_guard lock(mutex_);
      takeover::add(ancestors_.ended, each.totals);
      ancestors_.living.erase(ancestors_.living.begin() + static_cast<std::ptrdiff_t>(i));
    }
    hooks_.ended(runs);
  }
}

}  // namespace sluice::takeover
