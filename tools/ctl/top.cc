// The command top.

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>

#include "tools/ctl/api.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/fields.h"
#include "tools/ctl/screen.h"
#include "tools/ctl/table.h"
#include "tools/ctl/top_model.h"

namespace sluice::ctl {
namespace {

constexpr Duration kInterval = std::chrono::seconds(1);
// How many connections a table has that no screen bounds, and the most that any has.
constexpr std::uint64_t kListed = 20;
constexpr std::uint64_t kMostListed = 1000;
constexpr std::size_t kSorts = std::size(kSortKeys);

std::size_t sort_index(std::string_view key) {
  const auto* const found = std::ranges::find(kSortKeys, key);
  return found == std::end(kSortKeys) ? 0 : static_cast<std::size_t>(found - kSortKeys);
}

Sample sample(const Api& api, std::size_t sort, std::uint64_t connections) {
  const auto items = [](json::object page) { return std::move(page["items"].as_array()); };
  Sample result;
  result.status = api.get("/v1/status");
  result.routes = items(api.list("/v1/routes"));
  result.at = Clock::now();
  result.connections =
      items(api.list("/v1/connections", std::string("sort=") + kSortKeys[sort], connections));
  return result;
}

// --- Signals, which interrupt waits and writes to the terminal ---

volatile sig_atomic_t ending = 0;  // the signal that has asked for the end
volatile sig_atomic_t stopping = 0;
volatile sig_atomic_t resized = 0;

void note_signal(int signal) {
  if (signal == SIGWINCH) {
    resized = 1;
  } else if (signal == SIGTSTP) {
    stopping = 1;
  } else {
    ending = signal;
  }
}

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};

// Catches the signals that concern the screen. They are blocked except while something waits, so
// that none comes between a look at the variables and a wait.
class Signals {
 public:
  Signals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      ::sigaction(kSignals[i], nullptr, &before_.at(i));
      // A program that nohup(1) started keeps ignoring SIGHUP.
      if (before_.at(i).sa_handler == SIG_IGN) continue;
      struct sigaction action {};
      action.sa_handler = note_signal;  // without SA_RESTART
      ::sigaction(kSignals[i], &action, nullptr);
      sigaddset(&blocked, kSignals[i]);
    }
    ::sigprocmask(SIG_BLOCK, &blocked, &outside_);
  }
  ~Signals() {
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      ::sigaction(kSignals[i], &before_.at(i), nullptr);
    }
    ::sigprocmask(SIG_SETMASK, &outside_, nullptr);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// The mask while something waits.
  [[nodiscard]] const sigset_t& outside() const { return outside_; }

 private:
  std::array<struct sigaction, std::size(kSignals)> before_{};
  sigset_t outside_{};
};

// Thrown through a wait to end the program.
struct Quit {
  int signal = 0;  // 0: by a key
};

// --- On a terminal ---

class LiveTop {
 public:
  LiveTop(const Invocation& invocation, Client& client)
      : client_(client),
        api_(client),
        count_(invocation.count),
        sort_(sort_index(invocation.sort)) {
    client_.set_wait(
        [this](int fd, short events, TimePoint deadline) { return wait(fd, events, deadline); });
  }
  ~LiveTop() { client_.set_wait(wait_for); }
  LiveTop(const LiveTop&) = delete;
  LiveTop& operator=(const LiveTop&) = delete;

  /// Returns when the user quits, or after the count; the signal that asked for it, or 0.
  [[nodiscard]] int run();

 private:
  void refresh();
  bool wait(int fd, short events, TimePoint deadline);
  void handle_signals();
  void handle_keys(bool hung_up);
  void handle(Key key);
  void draw();
  [[nodiscard]] Line second_line() const;

  Client& client_;
  const Api api_;
  const std::uint64_t count_;
  std::size_t sort_;
  bool sort_changed_ = false;
  std::string trouble_;  // why there is no newer sample
  TopModel model_;
  KeyReader reader_;
  Signals signals_;  // outlives the screen, so that no signal ends the program before that is left
  Screen screen_;
};

int LiveTop::run() {
  try {
    for (std::uint64_t shown = 0;;) {
      const TimePoint next = Clock::now() + kInterval;
      refresh();
      draw();
      if (++shown == count_) return 0;
      while (!sort_changed_ && Clock::now() < next) static_cast<void>(wait(-1, 0, next));
    }
  } catch (const Quit& quit) {
    return quit.signal;
  }
}

// Without any sample there is nothing to show, so the failure ends the program.
void LiveTop::refresh() {
  sort_changed_ = false;
  try {
    const std::uint64_t rows = std::max<std::uint64_t>(Screen::size().rows, kListed);
    model_.take(sample(api_, sort_, std::min(rows, kMostListed)));
    trouble_.clear();
    screen_.enter();
  } catch (const Failure& failure) {
    if (!model_.has_sample()) throw;
    trouble_ = failure.message;
  }
}

void LiveTop::handle_signals() {
  if (ending != 0) throw Quit{ending};
  if (stopping != 0) {
    stopping = 0;
    screen_.leave();
    ::raise(SIGSTOP);
    if (model_.has_sample()) {
      screen_.enter();
      draw();
    }
  }
  if (resized != 0) {
    resized = 0;
    draw();
  }
}

// Handles keys and signals while it waits. Returns early when the keys change the order.
bool LiveTop::wait(int fd, short events, TimePoint deadline) {
  for (;;) {
    handle_signals();
    if (fd < 0 && sort_changed_) return false;
    const Duration left = std::max(deadline - Clock::now(), Duration::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    const timespec timeout{seconds.count(), (left - seconds).count()};
    std::array<pollfd, 2> polled{
        {{screen_.has_keyboard() ? STDIN_FILENO : -1, POLLIN, 0}, {fd, events, 0}}};
    const int ready = ::ppoll(polled.data(), polled.size(), &timeout, &signals_.outside());
    if (ready < 0) continue;
    if (polled[0].revents != 0)
      handle_keys((polled[0].revents & POLLIN) == 0 || (polled[0].revents & POLLHUP) != 0);
    if (polled[1].revents != 0) return true;
    if (Clock::now() >= deadline) return false;
  }
}

void LiveTop::handle_keys(bool hung_up) {
  std::array<char, 64> bytes{};
  const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
  // The terminal is gone.
  if ((count == 0 && hung_up) || (count < 0 && errno != EINTR && errno != EAGAIN)) throw Quit{};
  for (ssize_t i = 0; i < count; ++i) {
    if (const std::optional<Key> key = reader_.take(bytes.at(static_cast<std::size_t>(i)))) {
      handle(*key);
    }
  }
}

void LiveTop::handle(Key key) {
  const std::size_t before = sort_;
  switch (key) {
    case Key::quit:
      throw Quit{};
    case Key::next:
      sort_ = (sort_ + 1) % kSorts;
      break;
    case Key::previous:
      sort_ = (sort_ + kSorts - 1) % kSorts;
      break;
    case Key::bytes:
      sort_ = sort_index("bytes");
      break;
    case Key::age:
      sort_ = sort_index("age");
      break;
    case Key::idle:
      sort_ = sort_index("idle");
      break;
    case Key::id:
      sort_ = sort_index("id");
      break;
  }
  if (sort_ == before) return;
  sort_changed_ = true;
  draw();
}

Line LiveTop::second_line() const {
  if (!trouble_.empty()) {
    const double age = std::chrono::duration<double>(Clock::now() - model_.sampled()).count();
    return {"as of " + as_seconds(age) + " ago: " + cell(trouble_), Line::Style::alarm};
  }
  std::string text = "sorted by";
  for (std::size_t i = 0; i < kSorts; ++i) {
    text += i == sort_ ? std::string(" [") + kSortKeys[i] + "]"
                       : std::string("  ") + kSortKeys[i] + ' ';
  }
  return {text + "   keys: b a l i or arrows, q quits", Line::Style::plain};
}

void LiveTop::draw() {
  if (!model_.has_sample()) return;
  const ScreenSize size = Screen::size();
  const std::vector<Line> lines = model_.screen(size, second_line());
  // The terminal may take nothing any more; then a signal must still be able to end the program.
  sigset_t blocked;
  ::sigprocmask(SIG_SETMASK, &signals_.outside(), &blocked);
  const bool shown = Screen::show(lines, size);
  ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
  if (!shown) throw Quit{};
}

// --- Elsewhere: a table each second ---

int print_tables(const Invocation& invocation, const Api& api) {
  TopModel model;
  for (std::uint64_t shown = 0;;) {
    const TimePoint next = Clock::now() + kInterval;
    model.take(sample(api, sort_index(invocation.sort), kListed));
    if (shown > 0) std::fputs("\n", stdout);
    std::fputs(model.text().c_str(), stdout);
    // main() reports the error.
    if (std::fflush(stdout) != 0 || ++shown == invocation.count) return 0;
    static_cast<void>(wait_for(-1, 0, next));
  }
}

}  // namespace

int run_top(const Invocation& invocation, Client& client) {
  if (::isatty(STDOUT_FILENO) != 1) return print_tables(invocation, Api(client));
  const int signal = LiveTop(invocation, client).run();
  if (signal == 0) return 0;
  // The terminal is restored, and the shell sees why this ended.
  ::signal(signal, SIG_DFL);
  ::raise(signal);
  return kRefused;
}

}  // namespace sluice::ctl
