#include "iolib/disk/disk.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "iolib/reactor/uring_reactor.h"

namespace sluice {
namespace {

// As many writes as a disk needs in flight to be busy (CAPTURE.md asks for four).
constexpr std::size_t kWriteThreads = 4;

class UringDisk final : public RealDisk {
 public:
  UringDisk(UringReactor& reactor, BackgroundThreads& background)
      : RealDisk(reactor, background), reactor_(reactor) {}
  void write(int file, std::span<const std::byte> bytes, std::uint64_t offset, Durable durable,
             Operation& operation) override {
    reactor_.write_file(file, bytes, offset, durable == Durable::yes, operation);
  }
  void sync(int file, Operation& operation) override { reactor_.sync_file(file, operation); }
  void prepare_buffer(std::span<std::byte> buffer) override { reactor_.register_buffer(buffer); }

 private:
  UringReactor& reactor_;
};

// pwritev2(2) and fdatasync(2) on threads.
class ThreadDisk final : public RealDisk {
 public:
  ThreadDisk(Reactor& reactor, BackgroundThreads& background) : RealDisk(reactor, background) {}
  void write(int file, std::span<const std::byte> bytes, std::uint64_t offset, Durable durable,
             Operation& operation) override {
    run_on(
        threads_,
        [=] {
          const iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
          const int flags = durable == Durable::yes ? RWF_DSYNC : 0;
          const ssize_t written = ::pwritev2(file, &part, 1, static_cast<off_t>(offset), flags);
          return written < 0 ? -errno : static_cast<int>(written);
        },
        operation);
  }
  void sync(int file, Operation& operation) override {
    run_on(
        threads_, [file] { return ::fdatasync(file) < 0 ? -errno : 0; }, operation);
  }

 private:
  BackgroundThreads threads_{kWriteThreads};
};

}  // namespace

void Disk::begin(Operation& operation) { operation.in_flight_ = true; }

void Disk::finish(Operation& operation, int result) {
  operation.in_flight_ = false;
  operation.complete({result, false, {}});
}

std::unique_ptr<Disk> RealDisk::create(Reactor& reactor, UringReactor* uring,
                                       BackgroundThreads& background) {
  if (uring != nullptr) return std::make_unique<UringDisk>(*uring, background);
  return std::make_unique<ThreadDisk>(reactor, background);
}

void RealDisk::run(std::function<int()> work, Operation& operation) {
  run_on(background_, std::move(work), operation);
}

void RealDisk::run_on(BackgroundThreads& threads, std::function<int()> call, Operation& operation) {
  begin(operation);
  threads.submit([&reactor = reactor_, &operation, call = std::move(call)] {
    const int result = call();
    reactor.post([&operation, result] { finish(operation, result); });
  });
}

}  // namespace sluice
