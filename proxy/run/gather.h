#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "proxy/run/worker_thread.h"

namespace sluice {

/// To be called `count` times, by any threads: the last of them calls `then`.
[[nodiscard]] inline std::function<void()> last_of(std::size_t count, std::function<void()> then) {
  return [then = std::move(then), left = std::make_shared<std::atomic<std::size_t>>(count)] {
    if (left->fetch_sub(1) == 1) then();
  };
}

/// Asks each worker: `question(worker, answer)` must see to it that `answer` is called once, on any
/// thread. `done` gets all answers, in the order of the workers, on the thread of the last.
template <class Answer, class Question>
void ask_each(const Workers& workers, const Question& question,
              std::function<void(std::vector<Answer>)> done) {
  const auto answers = std::make_shared<std::vector<std::optional<Answer>>>(workers.size());
  const std::function<void()> answered = last_of(workers.size(), [answers, done = std::move(done)] {
    std::vector<Answer> all;
    for (std::optional<Answer>& each : *answers) all.push_back(*std::move(each));
    done(std::move(all));
  });
  for (std::size_t index = 0; index < workers.size(); ++index) {
    question(*workers[index], [answers, answered, index](Answer answer) {
      (*answers)[index] = std::move(answer);
      answered();
    });
  }
}

}  // namespace sluice
