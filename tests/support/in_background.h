#pragma once

#include <functional>
#include <future>
#include <type_traits>
#include <utility>

namespace sluice::test {

/// Does `work` on its own thread; the future's destructor waits for it. Compiled once for each type
/// of result, whereas std::async is compiled for each lambda.
template <class Work>
[[nodiscard]] auto in_background(Work work) {
  using Value = std::invoke_result_t<Work>;
  return std::async(std::launch::async, std::function<Value()>(std::move(work)));
}

}  // namespace sluice::test
