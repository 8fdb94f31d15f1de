#include "proxy/serve/worker.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/serve/file_thread.h"
#include "proxy/serve/shared.h"
#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/socket_pair.h"
#include "tests/support/sockets.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

constexpr const char* kMirror = "127.0.0.1:9";

constexpr std::size_t kToFile = 0;
constexpr std::size_t kToBusy = 1;

/// Two workers whose loops run one after the other, on the test's thread. One route sends a file,
/// the other's upstream never accepts. Their connections stay with the worker that they begin with.
template <class Engine>
class WorkerTest : public ReactorTest<Engine> {
 protected:
  void SetUp() override {
    ReactorTest<Engine>::SetUp();
    if (this->IsSkipped()) return;
    auto second = Engine::create();
    ASSERT_TRUE(second.has_value());
    second_reactor_ = std::move(*second);
    ASSERT_EQ(::listen(listener_.get(), 0), 0);  // of one place, which is taken
    queued_ = test::connect_unix(busy_.path);
    shared_.on_upstream_failed = [](std::size_t, std::size_t) {};
    shared_.on_drained = [this] {
      drained_ = true;
      second_reactor_->stop();
    };
    first_.emplace(shared_, this->reactor(), 0, routes());
    second_.emplace(shared_, *second_reactor_, 1, routes());
    shared_.workers = {&*first_, &*second_};
    for (Worker* worker : shared_.workers) shared_.placement.add(worker->relay_context());
    shared_.placement.arrived(0);  // so that the next one goes to the second
  }

  [[nodiscard]] std::vector<Route> routes() const {
    std::vector<Route> routes;
    for (const TargetAddress& to : {TargetAddress(FileEndpoint{file_}), TargetAddress(busy_)}) {
      RouteConfig config;
      config.to = {{to}};
      config.connect_timeout = std::chrono::hours(1);
      routes.push_back(make_route(routes.size(), config, 2));
      routes.back().mirrors.push_back({kMirror, {}});
    }
    routes[kToFile].files = files_;
    return routes;
  }
  /// The first worker has accepted a client, whose session is on its way to the second; returns the
  /// client's end.
  [[nodiscard]] OwnedFd send_over(std::size_t route) {
    test::SocketPair pair = test::tcp_pair();
    first_->admission().accepted({std::move(pair.near), route, Leg::Kind::tcp});
    EXPECT_EQ(counts(*first_, route).accepted, 0U);
    return std::move(pair.far);
  }
  static const RouteCounts& counts(Worker& worker, std::size_t route) {
    return worker.counts(*worker.routes().at(route));
  }
  void drain() {
    for (Worker* worker : shared_.workers) worker->admission().drain();
  }
  /// Both workers are told to stop while a client of `route` is on its way: it ends at once.
  void stop_on_the_way(std::size_t route) {
    const OwnedFd client = send_over(route);
    drain();
    for (Worker* worker : shared_.workers) worker->stop_sessions(EndReason::drain_timeout);
    EXPECT_FALSE(drained_) << "one that is on its way counts";
    run_until_drained();
    std::array<std::byte, 1> into{};
    EXPECT_EQ(test::receive_some(client.get(), into).ending, test::Ending::reset);
    const RouteCounts& seen = counts(*second_, route);
    EXPECT_EQ(seen.accepted, 1U);
    EXPECT_EQ(seen.active, 0U);
    EXPECT_EQ(second_->stats().active, 0U);
    EXPECT_EQ(seen.ended[ending_index(EndReason::drain_timeout)], 1U);
  }
  /// Runs the second worker until nothing is left of what both were to do.
  void run_until_drained() {
    Alarm stop(*second_reactor_);
    second_reactor_->set_timer(stop, Clock::now() + test::kPatience);
    second_reactor_->run();
    second_reactor_->cancel_timer(stop);
    EXPECT_TRUE(drained_);
  }

  test::TempDir folder_;
  std::string file_ = folder_.write("file", "content");
  UnixEndpoint busy_{folder_.file("busy")};
  OwnedFd listener_ = test::listen_unix(busy_.path);
  OwnedFd queued_;
  std::shared_ptr<FileThread> files_ = std::make_shared<FileThread>();
  PipePool pool_{{}};
  ServerChanges server_changes_;
  Shared shared_{pool_, server_changes_, 10, false};
  std::unique_ptr<Reactor> second_reactor_;
  std::optional<Worker> first_;
  std::optional<Worker> second_;
  bool drained_ = false;
};

TYPED_TEST_SUITE(WorkerTest, Reactors, ReactorNames);

TYPED_TEST(WorkerTest, ASessionThatGoesToAnotherWorkerIsServedThereAlsoWhileBothDrain) {
  const OwnedFd client = this->send_over(kToFile);
  this->drain();
  EXPECT_FALSE(this->drained_);
  test::finish_sending(client.get());
  this->run_until_drained();
  EXPECT_EQ(test::receive_text(client.get(), 8), "content");
  EXPECT_EQ(this->counts(*this->second_, kToFile).ended[ending_index(EndReason::closed)], 1U);
}

TYPED_TEST(WorkerTest, AFileSessionStoppedOnItsWayToAnotherWorkerWaitsForNoMount) {
  std::promise<void> hung;
  FileThread::Errand errand(*this->files_);
  errand.begin([hang = hung.get_future().share()] { hang.wait(); },
               FileThread::Errand::Place::first);
  this->stop_on_the_way(kToFile);
  hung.set_value();
}

TYPED_TEST(WorkerTest, ASessionStoppedOnItsWayToAnotherWorkerConnectsToNobody) {
  this->stop_on_the_way(kToBusy);
}

}  // namespace
}  // namespace sluice
