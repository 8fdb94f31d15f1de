#include "tests/iolib/relay/relay_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>

#include "iolib/reactor/asio_reactor.h"
#include "iolib/reactor/uring_reactor.h"

namespace sluice {
namespace {

template <class Kind>
std::string create(std::unique_ptr<Reactor>& reactor) {
  auto created = Kind::create();
  if (created.has_error()) return created.error().to_string();
  reactor = std::move(*created);
  return {};
}

}  // namespace

// A sanitizer has no time for all six: it takes each engine and each splice mode once or twice.
std::vector<RelayMode> every_relay_mode() {
  if (test::scale() == test::Scale::quick) {
    return {{Engine::uring, SpliceMode::automatic},
            {Engine::uring, SpliceMode::always},
            {Engine::asio, SpliceMode::automatic},
            {Engine::asio, SpliceMode::never}};
  }
  std::vector<RelayMode> modes;
  for (const Engine engine : {Engine::uring, Engine::asio}) {
    for (const SpliceMode splice : {SpliceMode::automatic, SpliceMode::always, SpliceMode::never}) {
      modes.push_back({engine, splice});
    }
  }
  return modes;
}

std::string name_of_relay_mode(const testing::TestParamInfo<RelayMode>& info) {
  const std::string engine = info.param.engine == Engine::uring ? "uring" : "asio";
  switch (info.param.splice) {
    case SpliceMode::automatic:
      return engine + "_automatic";
    case SpliceMode::always:
      return engine + "_always";
    default:
      return engine + "_never";
  }
}

std::string name_of_engine(const testing::TestParamInfo<Engine>& info) {
  return info.param == Engine::uring ? "uring" : "asio";
}

// --- LoopThread

LoopThread::LoopThread(Engine engine) {
  std::promise<void> ready;
  thread_ = std::thread([this, engine, &ready] {
    refusal_ =
        engine == Engine::uring ? create<UringReactor>(reactor_) : create<AsioReactor>(reactor_);
    ready.set_value();
    if (refusal_.empty()) reactor_->run();
  });
  ready.get_future().wait();
}

LoopThread::~LoopThread() {
  if (refusal_.empty()) reactor_->stop();
  thread_.join();
}

void LoopThread::give_up() {
  std::fputs("the loop does not answer\n", stderr);
  std::abort();
}

Duration LoopThread::cpu_time() {
  return call([] {
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return Duration(std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec));
  });
}

bool LoopThread::sleeps() {
  constexpr auto kWindow = std::chrono::milliseconds(100);
  const Duration before = cpu_time();
  std::this_thread::sleep_for(kWindow);
  return cpu_time() - before < kWindow / 5;
}

// --- RelaySession

SessionOptions small_buffers() {
  return {.client = test::kSmallBuffers, .upstream = test::kSmallBuffers};
}

RelaySession::RelaySession(LoopThread& loop, RelayContext& context, SpliceMode splice,
                           SessionOptions options)
    : loop_(loop),
      relay_options_{.splice = splice,
                     .idle_timeout = options.idle_timeout,
                     .half_close_timeout = options.half_close_timeout,
                     .traffic = &traffic_},
      held_(std::move(options.held)) {
  const auto kind = options.unix_sockets ? Leg::Kind::unix_stream : Leg::Kind::tcp;
  test::SocketPair client_pair =
      options.unix_sockets ? test::unix_pair() : test::tcp_pair(options.client);
  test::SocketPair upstream_pair;
  auto upstream_kind = kind;
  if (options.to_device) {
    upstream_kind = Leg::Kind::device;
    upstream_pair.near.reset(::open("/dev/null", O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  } else if (!options.echo) {
    upstream_pair = options.unix_sockets ? test::unix_pair() : test::tcp_pair(options.upstream);
  }
  if (options.urgent_inline) {
    const int on = 1;
    for (const int fd : {client_pair.near.get(), upstream_pair.near.get()}) {
      ::setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    }
  }
  client = std::move(client_pair.far);
  upstream = std::move(upstream_pair.far);
  if (options.connected) options.connected(*this, upstream_pair.near.get());
  loop_.call([&] {
    relay_ = std::make_unique<Relay>(context, relay_options_, std::move(client_pair.near), kind,
                                     std::move(upstream_pair.near), upstream_kind);
    if (options.before) options.before(*relay_);
    task_ = serve();
    task_.start();
  });
}

RelaySession::~RelaySession() {
  with([](Relay& relay) { relay.stop(EndReason::drain_timeout); });
  static_cast<void>(end());
  // The coroutine's frame belongs to the loop's thread.
  loop_.call([this] { task_ = {}; });
}

Task<> RelaySession::serve() {
  const EndReason how = co_await relay_->run(std::as_bytes(std::span(held_)));
  report_ = {
      .end = how,
      .to_upstream_end = relay_->to_upstream().end(),
      .to_client_end = relay_->to_client().end(),
      .to_upstream_bytes = relay_->to_upstream().forwarded_bytes(),
      .to_client_bytes = relay_->to_client().forwarded_bytes(),
      .spliced_bytes = relay_->to_upstream().spliced_bytes() + relay_->to_client().spliced_bytes(),
      .unacknowledged_bytes = relay_->unacknowledged_bytes()};
  // What was counted while the bytes moved is what the directions moved.
  EXPECT_EQ(traffic_.to_upstream.forwarded_bytes, report_.to_upstream_bytes);
  EXPECT_EQ(traffic_.to_client.forwarded_bytes, report_.to_client_bytes);
  EXPECT_EQ(traffic_.to_upstream.spliced_bytes + traffic_.to_client.spliced_bytes,
            report_.spliced_bytes);
  relay_.reset();
  ended_ = true;
}

EndReason RelaySession::end() {
  if (!test::wait_until([this] { return ended(); })) {
    std::fputs("the relay does not end\n", stderr);
    std::abort();
  }
  return report_.end;
}

std::uint64_t RelaySession::forwarded_to_upstream() {
  const auto bytes = look([](Relay& relay) { return relay.to_upstream().forwarded_bytes(); });
  return bytes.value_or(report_.to_upstream_bytes);
}

// --- RelayTestBase

void RelayTestBase::start_loop(Engine engine, SpliceMode splice) {
  std::signal(SIGPIPE, SIG_IGN);
  descriptors_before_ = test::open_descriptors();
  splice_ = splice;
  loop_ = std::make_unique<LoopThread>(engine);
  if (!loop_->refusal().empty()) GTEST_SKIP() << "refused here: " << loop_->refusal();
}

void RelayTestBase::use_pool(const PipePool::Options& options) { pool_options_ = options; }

RelaySession& RelayTestBase::start(SessionOptions options) {
  if (!pool_) {
    pool_ = std::make_unique<PipePool>(pool_options_);
    loop_->call([this] {
      context_ = std::make_unique<RelayContext>(loop_->reactor(), *pool_);
      context_->on_shortage = [this](PipeShortage shortage) { shortages_.push_back(shortage); };
    });
  }
  sessions_.push_back(
      std::make_unique<RelaySession>(*loop_, *context_, splice_, std::move(options)));
  return *sessions_.back();
}

std::vector<PipeShortage> RelayTestBase::shortages() {
  return loop_->call([this] { return shortages_; });
}

std::size_t RelayTestBase::lent_pipes() {
  return loop_->call([this] {
    const std::size_t slots = pool_options_.pipe_bytes / Pipe::kSlotBytes;
    return pool_->slots_in_use() / slots - pool_->cached_pipes() - pool_->shared_pipes();
  });
}

void RelayTestBase::TearDown() {
  if (!loop_ || !loop_->refusal().empty()) return;
  sessions_.clear();
  if (pool_) {
    loop_->call([this] { context_.reset(); });
    EXPECT_EQ(lent_pipes(), 0U);
  }
  loop_.reset();
  pool_.reset();
  EXPECT_EQ(test::open_descriptors(), descriptors_before_);
}

// --- The test's ends

bool send_in_pieces(int fd, test::Pattern pattern, std::uint64_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (std::uint64_t offset = 0; offset < size;) {
    // Mostly small pieces, which a direction copies, and some large ones, which it splices.
    const std::uint64_t most = random() % 4 == 0 ? 300'000 : 3000;
    const std::uint64_t piece = std::min(1 + random() % most, size - offset);
    if (!test::send_pattern(fd, pattern, offset, piece)) return false;
    offset += piece;
    if (random() % 8 == 0) std::this_thread::yield();
  }
  test::finish_sending(fd);
  return true;
}

std::uint64_t send_until_held(RelaySession& session, std::uint64_t limit_bytes) {
  std::uint64_t sent = 0;
  EXPECT_TRUE(test::wait_until([&] {
    sent += test::send_until_full(session.client.get(), kToUpstream, limit_bytes - sent,
                                  std::chrono::milliseconds(50), sent);
    return session.look([](Relay& relay) { return relay.to_upstream().held_bytes(); }) > 0U;
  })) << "the relay holds nothing";
  return sent;
}

std::string read_whole(int fd, test::Pattern pattern, std::uint64_t size, test::Ending ending) {
  test::PatternChecker checker(pattern);
  const test::Ending ended = test::read_pattern(fd, checker);
  if (checker.mismatch()) return "wrong byte at " + std::to_string(*checker.mismatch());
  if (ended != ending) {
    return "ended as " + testing::PrintToString(ended) + " after " +
           std::to_string(checker.received_bytes()) + " bytes";
  }
  if (checker.received_bytes() != size) {
    return std::to_string(checker.received_bytes()) + " bytes instead of " + std::to_string(size);
  }
  return {};
}

std::uint64_t read_until(int fd, test::Pattern pattern, test::Ending ending) {
  test::PatternChecker checker(pattern);
  const test::Ending ended = test::read_pattern(fd, checker);
  EXPECT_EQ(checker.mismatch(), std::nullopt);
  EXPECT_EQ(ended, ending) << "after " << checker.received_bytes() << " bytes";
  return checker.received_bytes();
}

bool broken(int fd) {
  pollfd polled{.fd = fd, .events = 0, .revents = 0};
  return ::poll(&polled, 1, 0) == 1 && (polled.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace sluice
