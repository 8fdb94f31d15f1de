#include "tests/system/keeper.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tests/support/daemon.h"
#include "tests/support/wait.h"

namespace sluice::test {
namespace {

constexpr std::chrono::milliseconds kLook{20};

}  // namespace

Keeper::Keeper(Answer answer, const std::string& unix_path) : answer_(std::move(answer)) {
  if (unix_path.empty()) {
    listener_ = listen_tcp();
  } else {
    listener_.fd = listen_unix(unix_path);
  }
  acceptor_ = std::thread([this] { accept(); });
}

Keeper::~Keeper() {
  stopping_ = true;
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
}

std::string Keeper::address() const { return loopback_address(port()); }

void Keeper::accept() {
  while (!stopping_) {
    if (!readable_within(listener_.fd.get(), kLook)) continue;
    OwnedFd fd = accept_from(listener_.fd.get());
    const std::lock_guard guard(mutex_);
    Kept& kept = kept_.emplace_back();
    kept.began = ++clock_;
    most_ = std::max(most_, ++open_);
    threads_.emplace_back(
        [this, &kept, owned = std::move(fd)]() mutable { serve(std::move(owned), kept); });
  }
}

void Keeper::serve(OwnedFd fd, Kept& kept) {
  std::vector<std::byte> buffer(1 << 16);
  std::string so_far;
  Ending ending = Ending::open;
  while (!stopping_ && ending == Ending::open) {
    const Received got = receive_some(fd.get(), buffer, kLook);
    if (got.ending == Ending::timed_out) continue;
    so_far.append(reinterpret_cast<const char*>(buffer.data()), got.bytes);
    ending = got.ending;
    if (ending == Ending::reset || !answer_) continue;
    const std::string answer = answer_(so_far, ending == Ending::eof);
    if (!answer.empty()) static_cast<void>(send_all(fd.get(), answer));
  }
  const std::lock_guard guard(mutex_);
  kept.bytes = std::move(so_far);
  kept.ended = ++clock_;
  kept.ending = ending;
  --open_;
}

std::vector<Keeper::Kept> Keeper::wait_for(std::size_t count) {
  const auto ended = [&] {
    const std::lock_guard guard(mutex_);
    return static_cast<std::size_t>(std::ranges::count_if(
               kept_, [](const Kept& each) { return each.ended != 0; })) >= count;
  };
  static_cast<void>(wait_until(ended));
  const std::lock_guard guard(mutex_);
  return {kept_.begin(), kept_.end()};
}

std::size_t Keeper::most_at_once() const {
  const std::lock_guard guard(mutex_);
  return most_;
}

}  // namespace sluice::test
