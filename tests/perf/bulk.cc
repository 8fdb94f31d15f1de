// Bulk: N streams one way. The source sends pages of a memory file by sendfile, the sink lets the
// kernel drop the bytes unread (tcp(7), MSG_TRUNC), so neither end copies: what is measured is the
// forwarder and the kernel's TCP.

#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "tests/perf/net.h"
#include "tests/perf/workloads.h"

namespace sluice::perf {
namespace {

// One turn of a source or sink. A MiB is a quarter of the largest send buffer: large enough that
// calls do not count, small enough that 64 connections take fair turns.
constexpr std::size_t kTurnBytes = std::size_t{1} << 20U;
// With one thread at an end its epoll loop, not the forwarder, decides which connection moves: two
// sources and one sink gave shares of 0.65 to 6 among 64 connections, eight of each 0.94 to 1.06.
constexpr std::size_t kUsualThreads = 8;
constexpr double kGiB = 1024.0 * 1024 * 1024;

/// The bytes that are sent, over and over: a memory file for sendfile, and the same in memory.
struct Content {
  explicit Content(std::size_t size)
      : bytes(random_bytes(size)), file(::memfd_create("content", MFD_CLOEXEC)) {
    if (!file) fail_errno("memfd_create");
    for (std::size_t at = 0; at < size;) {
      const ssize_t n = ::write(file.get(), bytes.data() + at, size - at);
      if (n <= 0) fail_errno("write content");
      at += static_cast<std::size_t>(n);
    }
  }
  std::vector<char> bytes;
  OwnedFd file;
};

struct Source {
  OwnedFd fd;
  std::uint64_t sent = 0;
  std::uint64_t limit = UINT64_MAX;
  bool ended = false;
  std::uint64_t answer = 0;
  std::size_t answered = 0;
};

struct Sink {
  OwnedFd fd;
  // Written by the sink's thread, read at both ends of the measured time.
  std::atomic<std::uint64_t> received{0};
};

/// Sends on all its sources by turns; when stopped half-closes them and compares the sink's counts.
class Sender {
 public:
  Sender(Control& control, const Content& content) : control_(control), content_(content) {}

  void add(OwnedFd fd, std::uint64_t limit = UINT64_MAX) {
    sources_.push_back({std::move(fd), 0, limit});
  }

  void run() {
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      epoll_.add(sources_[i].fd.get(), EPOLLOUT, i);
    }
    std::size_t open = sources_.size();
    bool stopped = false;
    while (open > 0 && !control_.failed()) {
      for (const auto& event : epoll_.wait(kTickMs)) {
        Source& source = sources_[event.data.u64];
        if (!source.ended) {
          send_turn(source, event.data.u64);
        } else if (read_answer(source)) {
          source.fd.reset();
          --open;
        }
      }
      if (!stopped && control_.phase() == Phase::stop) {
        stopped = true;
        for (std::size_t i = 0; i < sources_.size(); ++i) end(sources_[i], i);
      }
    }
  }

 private:
  void send_turn(Source& source, std::uint64_t index) {
    const std::size_t size = content_.bytes.size();
    auto offset = static_cast<off_t>(source.sent % size);
    const std::uint64_t wanted = std::min<std::uint64_t>(
        {kTurnBytes, size - static_cast<std::size_t>(offset), source.limit - source.sent});
    const ssize_t n = ::sendfile(source.fd.get(), content_.file.get(), &offset, wanted);
    if (n < 0 && errno != EAGAIN && errno != EINTR) fail_errno("source: sendfile");
    if (n > 0) source.sent += static_cast<std::uint64_t>(n);
    if (source.sent == source.limit) end(source, index);
  }

  void end(Source& source, std::uint64_t index) {
    if (source.ended) return;
    source.ended = true;
    if (::shutdown(source.fd.get(), SHUT_WR) != 0) fail_errno("source: shutdown");
    epoll_.modify(source.fd.get(), EPOLLIN, index);
  }

  // True when the sink has answered and closed.
  static bool read_answer(Source& source) {
    char bytes[sizeof source.answer + 1];
    const ssize_t n = ::recv(source.fd.get(), bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n < 0) fail_errno("source: recv of the count");
    const auto got = static_cast<std::size_t>(n);
    if (source.answered + got > sizeof source.answer) throw Failure("source: stray bytes");
    if (n > 0) {
      std::memcpy(reinterpret_cast<char*>(&source.answer) + source.answered, bytes, got);
      source.answered += got;
      return false;
    }
    if (source.answered != sizeof source.answer) throw Failure("source: the count was cut off");
    if (source.answer != source.sent) {
      throw Failure("sent " + std::to_string(source.sent) + " bytes, arrived " +
                    std::to_string(source.answer));
    }
    return true;
  }

  Control& control_;
  const Content& content_;
  Epoll epoll_;
  std::vector<Source> sources_;
};

/// Receives on all its sinks and answers each end of stream with the number of bytes that came.
class Receiver {
 public:
  /// With `expected` the bytes are read and compared, else dropped unread.
  explicit Receiver(Control& control, const std::vector<char>* expected = nullptr)
      : control_(control), expected_(expected), buffer_(kTurnBytes) {}

  void add(Sink& sink) { sinks_.push_back(&sink); }

  void run() {
    for (std::size_t i = 0; i < sinks_.size(); ++i) epoll_.add(sinks_[i]->fd.get(), EPOLLIN, i);
    std::size_t open = sinks_.size();
    while (open > 0 && !control_.failed()) {
      for (const auto& event : epoll_.wait(kTickMs)) {
        Sink& sink = *sinks_[event.data.u64];
        if (receive_turn(sink)) continue;
        answer(sink);
        --open;
      }
    }
  }

 private:
  // False at the end of the stream.
  bool receive_turn(Sink& sink) {
    const int flags = expected_ != nullptr ? 0 : MSG_TRUNC;
    const ssize_t n = ::recv(sink.fd.get(), buffer_.data(), buffer_.size(), flags);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n < 0) fail_errno("sink: recv");
    const std::uint64_t before = sink.received.load(std::memory_order_relaxed);
    const auto got = static_cast<std::size_t>(n);
    if (expected_ != nullptr) compare(before, got);
    sink.received.store(before + got, std::memory_order_relaxed);
    return n > 0;
  }

  void compare(std::uint64_t at, std::size_t length) {
    if (at + length > expected_->size()) throw Failure("sink: more bytes than were sent");
    if (std::memcmp(buffer_.data(), expected_->data() + at, length) == 0) return;
    const auto* wrong =
        std::mismatch(buffer_.data(), buffer_.data() + length, expected_->data() + at).first;
    throw Failure("sink: wrong byte at " +
                  std::to_string(at + static_cast<std::size_t>(wrong - buffer_.data())));
  }

  static void answer(Sink& sink) {
    const std::uint64_t count = sink.received.load(std::memory_order_relaxed);
    if (::send(sink.fd.get(), &count, sizeof count, MSG_NOSIGNAL) != sizeof count) {
      fail_errno("sink: send of the count");
    }
    sink.fd.reset();
  }

  Control& control_;
  const std::vector<char>* expected_;
  Epoll epoll_;
  std::vector<char> buffer_;
  std::vector<Sink*> sinks_;
};

// One stream whose every byte is compared, since MSG_TRUNC sees none.
void verify(const Options& options, const Content& content, int listener, std::uint16_t port) {
  Control control;
  Pairs pair = connect_pairs(listener, port, 1);
  Sender sender(control, content);
  Receiver receiver(control, &content.bytes);
  Sink sink;
  sink.fd = std::move(options.down ? pair.clients[0] : pair.backends[0]);
  receiver.add(sink);
  sender.add(std::move(options.down ? pair.backends[0] : pair.clients[0]), content.bytes.size());
  Crew crew(control);
  crew.start([&] { sender.run(); });
  crew.start([&] { receiver.run(); });
  crew.join();
  control.check();
}

}  // namespace

void run_bulk(const Options& options, Json& json) {
  const Content content(options.verify_bytes);
  const OwnedFd listener = listen_on(options.serve);
  const std::uint16_t port = options.to != 0 ? options.to : local_port(listener.get());
  verify(options, content, listener.get(), port);

  Control control;
  Pairs pairs = connect_pairs(listener.get(), port, options.connections);
  auto& from = options.down ? pairs.backends : pairs.clients;
  auto& into = options.down ? pairs.clients : pairs.backends;
  const std::size_t client_threads = thread_count(options, options.threads, kUsualThreads);
  const std::size_t backend_threads = thread_count(options, options.backend_threads, kUsualThreads);
  const std::size_t source_threads = options.down ? backend_threads : client_threads;
  const std::size_t sink_threads = options.down ? client_threads : backend_threads;
  std::vector<Sink> sinks(options.connections);
  std::vector<std::unique_ptr<Sender>> senders;
  std::vector<std::unique_ptr<Receiver>> receivers;
  for (std::size_t i = 0; i < source_threads; ++i) {
    senders.push_back(std::make_unique<Sender>(control, content));
  }
  for (std::size_t i = 0; i < sink_threads; ++i) {
    receivers.push_back(std::make_unique<Receiver>(control));
  }
  for (std::size_t i = 0; i < options.connections; ++i) {
    sinks[i].fd = std::move(into[i]);
    receivers[i % receivers.size()]->add(sinks[i]);
    senders[i % senders.size()]->add(std::move(from[i]));
  }

  std::vector<std::uint64_t> first;
  std::vector<std::uint64_t> last;
  Crew crew(control);
  for (auto& receiver : receivers) crew.start([&receiver] { receiver->run(); });
  for (auto& sender : senders) crew.start([&sender] { sender->run(); });
  const auto [before, after] = measure(control, options, [&] {
    first = std::exchange(last, {});
    for (const Sink& sink : sinks) last.push_back(sink.received.load(std::memory_order_relaxed));
  });
  const PipeSample pipes = sample_pipes(options.watched);
  crew.join();
  control.check();

  std::uint64_t total = 0;
  for (std::size_t i = 0; i < last.size(); ++i) total += last[i] -= first[i];
  const auto [least, most] = std::minmax_element(last.begin(), last.end());
  const double fair = static_cast<double>(total) / static_cast<double>(options.connections);
  if (total == 0) throw Failure("not a byte arrived in the measured time");
  const double seconds = static_cast<double>(after.wall - before.wall) / 1e9;
  add_cpu(json, before, after);
  json.add("direction", options.down ? "down" : "up")
      .add("verified_bytes", std::uint64_t{options.verify_bytes})
      .add("bytes", total)
      .add("pipes", pipes.pipes)
      .add("pipe_bytes", pipes.largest_bytes)
      .add("gib_per_s", static_cast<double>(total) / kGiB / seconds)
      .add("least_bytes", *least)
      .add("most_bytes", *most)
      .add("least_share", static_cast<double>(*least) / fair)
      .add("most_share", static_cast<double>(*most) / fair)
      .add("proxy_cpu_s_per_gib", static_cast<double>(after.watched - before.watched) / 1e9 /
                                      (static_cast<double>(total) / kGiB));
}

}  // namespace sluice::perf
