#pragma once

#include <cerrno>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/base/error.h"
#include "proxy/run/control.h"
#include "proxy/run/gather.h"
#include "proxy/run/worker_thread.h"
#include "proxy/takeover/link.h"

namespace sluice {

/// An answer that says only that it has come.
struct Said {};

/// Asks the control thread and the workers, and blocks until they have answered, for 5 s at most.
/// Any thread but these. Errors: ECANCELED once the daemon ends. A question whose answer nobody
/// awaits any more is still asked.
class Asker {
 public:
  /// Borrows all. `stop`: the daemon ends.
  Asker(Control& control, const Workers& workers, const takeover::StopSignal& stop)
      : control_(control), workers_(workers), stop_(stop) {}

  /// Calls `question` on the control thread. It must call what it is given once, on any thread.
  template <class Answer>
  [[nodiscard]] Result<Answer> control(
      std::function<void(std::function<void(Answer)>)> question) const {
    const auto promise = std::make_shared<std::promise<Answer>>();
    std::future<Answer> answer = promise->get_future();
    control_.post([question = std::move(question), promise] {
      question([promise](Answer given) { promise->set_value(std::move(given)); });
    });
    const TimePoint deadline = Clock::now() + kAnswerTime;
    while (answer.wait_for(kLook) != std::future_status::ready) {
      if (stop_.stopped()) return Error{ECANCELED, "takeover"};
      if (Clock::now() >= deadline) return Error{0, "a thread of the daemon does not answer"};
    }
    return answer.get();
  }

  /// The same with each worker: see ask_each().
  template <class Answer>
  [[nodiscard]] Result<std::vector<Answer>> workers(
      std::function<void(WorkerThread&, std::function<void(Answer)>)> question) const {
    return control<std::vector<Answer>>(
        [this, question = std::move(question)](std::function<void(std::vector<Answer>)> done) {
          ask_each<Answer>(workers_, question, std::move(done));
        });
  }

 private:
  static constexpr Duration kAnswerTime = std::chrono::seconds(5);
  /// How often a wait looks whether the daemon ends.
  static constexpr Duration kLook = std::chrono::milliseconds(20);

  Control& control_;
  const Workers& workers_;
  const takeover::StopSignal& stop_;
};

}  // namespace sluice
