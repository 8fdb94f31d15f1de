#include "tests/tools/bench/meddling_path.h"

#include <sys/socket.h>

#include <memory>
#include <utility>

#include "tests/support/sockets.h"

namespace sluice::test {
namespace {

constexpr std::size_t kChunkBytes = 64 << 10;

bool within(std::uint64_t offset, std::uint64_t begin, std::size_t size) {
  return offset != 0 && offset >= begin && offset < begin + size;
}

}  // namespace

MeddlingPath::MeddlingPath(std::uint16_t upstream_port, const Meddling& meddling)
    : meddling_(meddling), upstream_port_(upstream_port) {
  Listener listener = listen_tcp();
  listener_ = std::move(listener.fd);
  port_ = listener.port;
  acceptor_ = std::thread([this] { accept_all(); });
}

MeddlingPath::~MeddlingPath() {
  stopping_ = true;
  stopping_.notify_all();
  acceptor_.join();
  for (const auto& pair : pairs_) {
    ::shutdown(pair->client.get(), SHUT_RDWR);
    ::shutdown(pair->upstream.get(), SHUT_RDWR);
  }
  for (std::thread& copier : copiers_) copier.join();
}

void MeddlingPath::accept_all() {
  while (!stopping_) {
    if (!readable_within(listener_.get(), std::chrono::milliseconds(20))) continue;
    auto pair = std::make_unique<Pair>();
    pair->client = accept_from(listener_.get());
    pair->upstream = connect_tcp(upstream_port_);
    const int client = pair->client.get();
    const int upstream = pair->upstream.get();
    const std::lock_guard guard(lock_);
    pairs_.push_back(std::move(pair));
    const bool stalled = meddling_.stall_after != 0 && pairs_.size() > meddling_.stall_after;
    copiers_.emplace_back([=, this] { copy(client, upstream, !meddling_.downward, stalled); });
    copiers_.emplace_back([=, this] { copy(upstream, client, meddling_.downward, stalled); });
  }
}

void MeddlingPath::copy(int from, int to, bool meddle, bool stalled) {
  std::uint64_t copied = 0;
  if (stalled) stall();
  for (;;) {
    std::vector<char> chunk(kChunkBytes);
    const ssize_t got = ::recv(from, chunk.data(), chunk.size(), 0);
    if (got <= 0) break;
    chunk.resize(static_cast<std::size_t>(got));
    if (meddling_.delay.count() > 0) std::this_thread::sleep_for(meddling_.delay);
    if (meddle && !meddle_with(chunk, copied)) {
      ::shutdown(from, SHUT_RDWR);
      break;
    }
    copied += static_cast<std::uint64_t>(got);
    if (!send_all(to, std::as_bytes(std::span(chunk)))) break;
  }
  if (meddle && meddling_.hold_end) {
    meddled_ = true;
  } else {
    ::shutdown(to, SHUT_WR);
  }
}

void MeddlingPath::stall() {
  meddled_ = true;
  stopping_.wait(false);
}

// False if the connection has to be cut.
bool MeddlingPath::meddle_with(std::vector<char>& chunk, std::uint64_t before) {
  const auto once = [&] { return !meddled_.exchange(true); };
  if (within(meddling_.corrupt_at, before, chunk.size()) && once()) {
    chunk[meddling_.corrupt_at - before] ^= 1;
  }
  if (within(meddling_.drop_at, before, chunk.size()) && once()) {
    chunk.erase(chunk.begin() + static_cast<std::ptrdiff_t>(meddling_.drop_at - before));
  }
  if (within(meddling_.stall_at, before, chunk.size()) && once()) stall();
  return !(within(meddling_.cut_at, before, chunk.size()) && once());
}

}  // namespace sluice::test
