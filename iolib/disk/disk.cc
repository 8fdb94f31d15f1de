#include "iolib/disk/disk.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <chrono>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "iolib/base/clock.h"
#include "iolib/reactor/file_ring.h"

namespace sluice {
namespace {

// Enough concurrent writes to keep a disk busy.
constexpr std::size_t kWriteThreads = 4;

// How often a write that fails with a shortage is tried, and the pause between two tries.
constexpr int kMostTries = 100;
constexpr Duration kTryPause = std::chrono::milliseconds(10);

struct FileCall {
  enum class Kind : std::uint8_t { write, durable_write, sync };
  Kind kind = Kind::sync;
  int file = -1;
  std::span<const std::byte> bytes;
  std::uint64_t offset = 0;
};

FileCall write_call(int file, std::span<const std::byte> bytes, std::uint64_t offset,
                    Disk::Durable durable) {
  const bool flushed = durable == Disk::Durable::yes;
  return {flushed ? FileCall::Kind::durable_write : FileCall::Kind::write, file, bytes, offset};
}

// Whether `result` is a lack of threads or memory, not an error of the disk, so that a retry can
// succeed. ECANCELED: io_uring has no thread for the call. ENOMEM of a sync is excluded: the kernel
// may have dropped dirty pages, and the next sync would not report them.
bool is_shortage(const FileCall& call, int result) {
  return result == -ECANCELED || result == -EAGAIN ||
         (result == -ENOMEM && call.kind != FileCall::Kind::sync);
}

int carry_out_once(const FileCall& call) {
  if (call.kind == FileCall::Kind::sync) return ::fdatasync(call.file) < 0 ? -errno : 0;
  const iovec part{const_cast<std::byte*>(call.bytes.data()), call.bytes.size()};
  const int flags = call.kind == FileCall::Kind::durable_write ? RWF_DSYNC : 0;
  const ssize_t written = ::pwritev2(call.file, &part, 1, static_cast<off_t>(call.offset), flags);
  return written < 0 ? -errno : static_cast<int>(written);
}

// Runs pwritev2(2) or fdatasync(2) on the calling thread, which may block and sleep.
int carry_out(const FileCall& call) {
  for (int tries = 1;; ++tries) {
    const int result = carry_out_once(call);
    const bool again = call.kind != FileCall::Kind::sync && is_shortage(call, result);
    if (!again || tries == kMostTries) return result;
    std::this_thread::sleep_for(kTryPause);
  }
}

class UringDisk final : public RealDisk {
 public:
  UringDisk(Reactor& reactor, FileRing& ring, BackgroundThreads& background)
      : RealDisk(reactor, background), ring_(ring) {}
  void write(int file, std::span<const std::byte> bytes, std::uint64_t offset, Durable durable,
             Operation& operation) override {
    Request& request = new_request(write_call(file, bytes, offset, durable), operation);
    ring_.write_file(file, bytes, offset, durable == Durable::yes, request);
  }
  void sync(int file, Operation& operation) override {
    Request& request = new_request({FileCall::Kind::sync, file, {}, 0}, operation);
    ring_.sync_file(file, request);
  }
  void prepare_buffer(std::span<std::byte> buffer) override { ring_.register_buffer(buffer); }
  void release_buffer(std::span<std::byte> buffer) override { ring_.unregister_buffer(buffer); }

 private:
  // One request in the ring. It stands in for the caller's Operation.
  class Request final : public Operation {
   public:
    explicit Request(UringDisk& disk) : disk_(disk) {}
    FileCall call;
    Operation* owner = nullptr;

   private:
    void complete(const Completion& completion) override {
      disk_.completed(*this, completion.result);
    }
    UringDisk& disk_;
  };

  Request& new_request(const FileCall& call, Operation& operation) {
    begin(operation);
    if (free_.empty()) free_.push_back(&requests_.emplace_back(*this));
    Request& request = *free_.back();
    free_.pop_back();
    request.call = call;
    request.owner = &operation;
    return request;
  }
  void completed(Request& request, int result) {
    const FileCall call = request.call;
    Operation& owner = *request.owner;
    free_.push_back(&request);
    if (!is_shortage(call, result)) return finish(owner, result);
    count_detour(-result);
    run_on(
        detour_, [call] { return carry_out(call); }, owner);
  }

  FileRing& ring_;
  std::deque<Request> requests_;
  std::vector<Request*> free_;
  // A thread of its own: the one that run() uses can be busy for long while it fills a segment.
  BackgroundThreads detour_{1};
};

class ThreadDisk final : public RealDisk {
 public:
  ThreadDisk(Reactor& reactor, BackgroundThreads& background) : RealDisk(reactor, background) {}
  void write(int file, std::span<const std::byte> bytes, std::uint64_t offset, Durable durable,
             Operation& operation) override {
    start(write_call(file, bytes, offset, durable), operation);
  }
  void sync(int file, Operation& operation) override {
    start({FileCall::Kind::sync, file, {}, 0}, operation);
  }

 private:
  void start(const FileCall& call, Operation& operation) {
    begin(operation);
    run_on(
        threads_, [call] { return carry_out(call); }, operation);
  }

  BackgroundThreads threads_{kWriteThreads};
};

}  // namespace

void Disk::begin(Operation& operation) {
  assert(!operation.in_flight_);
  operation.in_flight_ = true;
}

void Disk::finish(Operation& operation, int result) {
  assert(operation.in_flight_);
  operation.in_flight_ = false;
  operation.complete({result, false, {}});
}

std::unique_ptr<RealDisk> RealDisk::create(Reactor& reactor, FileRing* ring,
                                           BackgroundThreads& background) {
  if (ring != nullptr) return std::make_unique<UringDisk>(reactor, *ring, background);
  return std::make_unique<ThreadDisk>(reactor, background);
}

void RealDisk::run(std::function<int()> work, Operation& operation) {
  begin(operation);
  run_on(background_, std::move(work), operation);
}

void RealDisk::count_detour(int error) {
  const bool first = detours_.fetch_add(1, std::memory_order_relaxed) == 0;
  if (first && on_detour_) on_detour_(Error{error, "io_uring"});
}

void RealDisk::run_on(BackgroundThreads& threads, std::function<int()> call, Operation& operation) {
  threads.submit([&reactor = reactor_, &operation, call = std::move(call)] {
    const int result = call();
    reactor.post([&operation, result] { finish(operation, result); });
  });
}

}  // namespace sluice
