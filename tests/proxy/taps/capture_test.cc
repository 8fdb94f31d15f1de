#include "proxy/taps/capture.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/iolib/reactor/reactor_fixture.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

Config recording_to(const std::vector<std::string>& paths) {
  Config config;
  config.capture_buffers_bytes = 2 << 20;
  for (const std::string& path : paths) {
    RouteConfig& route = config.routes.emplace_back();
    route.capture = path;
    route.segment_size_bytes = 4 << 20;
  }
  return config;
}

/// A worker's recorders, over directories that come and go.
template <class Engine>
class WorkerCaptureTest : public ReactorTest<Engine> {
 protected:
  void SetUp() override {
    ReactorTest<Engine>::SetUp();
    if (!this->IsSkipped()) capture_.emplace(this->reactor(), 0);
  }
  void TearDown() override {
    if (capture_) close();
  }

  [[nodiscard]] FileRing* ring() {
    if constexpr (std::is_same_v<Engine, UringReactor>) {
      return static_cast<UringReactor*>(this->reactor_.get());
    }
    return nullptr;
  }
  [[nodiscard]] CapturePlan prepare(const Config& config) {
    Result<CapturePlan> plan = directories_.prepare(config, "run" + std::to_string(++runs_));
    EXPECT_TRUE(plan.has_value());
    const Result<> prepared = capture_->prepare(ring(), *plan);
    EXPECT_TRUE(prepared.has_value());
    return std::move(*plan);
  }
  void apply(const std::vector<std::string>& paths) {
    const CapturePlan plan = prepare(recording_to(paths));
    directories_.commit(plan);
    capture_->commit(plan);
  }
  void close() {
    bool closed = false;
    capture_->close([&] { closed = true; });
    EXPECT_TRUE(reach([&] { return closed; }));
    capture_.reset();
  }
  [[nodiscard]] capture::Recording& begin(const std::string& path) {
    capture::OpenInfo info;
    info.id = "c" + std::to_string(++connections_);
    return capture_->recorder(path)->open(connections_, std::move(info), {});
  }
  static void end(capture::Recording& recording) {
    const std::string bytes(100, 'x');
    recording.tap(capture::Side::client).append(0, std::as_bytes(std::span(bytes)));
    recording.tap(capture::Side::client).closed({100, 100, 100});
    recording.tap(capture::Side::upstream).closed({});
    recording.close("closed");
  }
  /// Runs the loop until the condition holds.
  template <class Condition>
  [[nodiscard]] bool reach(const Condition& condition) {
    const TimePoint deadline = Clock::now() + test::kPatience;
    while (!condition() && Clock::now() < deadline) this->run_for(5ms);
    return condition();
  }
  [[nodiscard]] bool is_closed(const std::string& path) {
    return reach([&] { return !Directory::is_locked(path); });
  }
  /// The suffixes of the segments in a directory, sorted.
  static std::vector<std::string> segments(const std::string& path) {
    std::vector<std::string> found;
    for (const auto& each : std::filesystem::directory_iterator(path)) {
      if (each.path().filename() != "lock") found.push_back(each.path().extension());
    }
    std::ranges::sort(found);
    return found;
  }
  [[nodiscard]] std::uint64_t recorded_ever() const {
    std::uint64_t sum = 0;
    capture_->for_each_ever([&](const std::string&, const capture::RecorderCounters& each) {
      sum += each.recorded_bytes;
    });
    return sum;
  }

  test::TempDir folder_;
  const std::string a_ = folder_.file("a");
  const std::string b_ = folder_.file("b");
  CaptureDirectories directories_;
  std::optional<WorkerCapture> capture_;
  int runs_ = 0;
  std::uint64_t connections_ = 0;
};

TYPED_TEST_SUITE(WorkerCaptureTest, Reactors, ReactorNames);

TYPED_TEST(WorkerCaptureTest, ARetiredOneIsSealedAndClosedOnceItsLastRecordingHasEnded) {
  this->apply({this->a_});
  capture::Recording& before = this->begin(this->a_);
  this->apply({this->b_});
  capture::Recording& late = this->begin(this->a_);  // its session began with the old routes
  TestFixture::end(this->begin(this->b_));
  TestFixture::end(before);
  this->run_for(3s);  // longer than any retired one without recordings stays
  EXPECT_TRUE(Directory::is_locked(this->a_));
  EXPECT_EQ(this->directories_.all().size(), 2U);
  TestFixture::end(late);
  EXPECT_TRUE(this->is_closed(this->a_));
  EXPECT_EQ(this->capture_->recorder(this->a_), nullptr);
  EXPECT_EQ(TestFixture::segments(this->a_), std::vector<std::string>{".sluice"});
  EXPECT_TRUE(Directory::is_locked(this->b_));
  EXPECT_EQ(this->directories_.all().size(), 1U);
  EXPECT_EQ(this->recorded_ever(), 300U) << "the sums do not fall";
}

TYPED_TEST(WorkerCaptureTest, OnlyTheRunsOfOpenDirectoriesAreHandedOver) {
  using Texts = std::vector<std::string>;
  this->apply({this->a_});
  EXPECT_EQ(this->directories_.runs(), Texts{"run1"});
  for (int reload = 0; reload < 3; ++reload) {
    const CapturePlan refused = this->prepare(recording_to({this->a_, this->b_}));
    this->capture_->undo();
  }
  ASSERT_TRUE(this->is_closed(this->b_));
  EXPECT_EQ(this->directories_.runs(), Texts{"run1"}) << "nothing was recorded under the others";
  this->apply({this->a_});
  this->apply({this->a_, this->b_});
  EXPECT_EQ(this->directories_.runs(), (Texts{"run1", "run6"})) << "what stays goes on as it began";
  this->apply({this->b_});
  ASSERT_TRUE(this->is_closed(this->a_));
  EXPECT_EQ(this->directories_.runs(), Texts{"run6"});
  EXPECT_EQ(this->directories_.hand_over()->living, Texts{"run6"});
}

TYPED_TEST(WorkerCaptureTest, ARetiredOneStaysWhileASessionMayYetRecordThere) {
  bool may = true;
  std::vector<std::string> asked;
  this->capture_->ask_sessions = [&](const std::string& path,
                                     const std::function<void(bool)>& answer) {
    asked.push_back(path);
    this->reactor().post([&may, answer] { answer(may); });
  };
  this->apply({this->a_});
  this->apply({});
  ASSERT_TRUE(this->reach([&] { return asked.size() >= 2; }));
  EXPECT_EQ(asked.front(), this->a_);
  ASSERT_NE(this->capture_->recorder(this->a_), nullptr);
  TestFixture::end(this->begin(this->a_));
  may = false;
  EXPECT_TRUE(this->is_closed(this->a_));
}

TYPED_TEST(WorkerCaptureTest, ARetiredOneThatIsNamedAgainGoesOn) {
  this->apply({this->a_});
  capture::Recorder* const recorder = this->capture_->recorder(this->a_);
  TestFixture::end(this->begin(this->a_));
  this->apply({});
  this->apply({this->a_, this->b_});
  EXPECT_EQ(this->capture_->recorder(this->a_), recorder);
  this->run_for(3s);
  EXPECT_EQ(this->capture_->recorder(this->a_), recorder);
  EXPECT_TRUE(Directory::is_locked(this->a_));
  // What prepares to take it back, and is then refused, changes nothing.
  this->apply({this->b_});
  {
    const CapturePlan refused = this->prepare(recording_to({this->a_, this->b_}));
    this->capture_->undo();
  }
  EXPECT_TRUE(this->is_closed(this->a_));
}

TYPED_TEST(WorkerCaptureTest, OneThatIsNamedAgainAtAnyMomentRecordsInAnotherChain) {
  this->apply({this->a_});
  for (const Duration pause : {Duration(0ms), Duration(1500ms), Duration(3200ms)}) {
    TestFixture::end(this->begin(this->a_));
    this->apply({});
    this->run_for(pause);
    this->apply({this->a_});
    ASSERT_NE(this->capture_->recorder(this->a_), nullptr);
  }
  TestFixture::end(this->begin(this->a_));
  EXPECT_EQ(this->directories_.all().size(), 1U);
  this->close();
  for (const std::string& suffix : TestFixture::segments(this->a_)) EXPECT_EQ(suffix, ".sluice");
}

TYPED_TEST(WorkerCaptureTest, WhatIsRefusedLeavesNothingBehind) {
  this->apply({this->a_});
  {
    const CapturePlan refused = this->prepare(recording_to({this->a_, this->b_}));
    EXPECT_EQ(this->directories_.all().size(), 1U);
    this->capture_->undo();
  }
  EXPECT_TRUE(this->reach([&] { return !std::filesystem::exists(this->b_); }));
  TestFixture::end(this->begin(this->a_));
  // At once again, perhaps while the recorder of the first try still goes.
  {
    const CapturePlan refused = this->prepare(recording_to({this->b_}));
    this->capture_->undo();
  }
  this->apply({this->b_});
  TestFixture::end(this->begin(this->b_));
}

TYPED_TEST(WorkerCaptureTest, TheSettingsOfAnOpenDirectoryCannotChange) {
  this->apply({this->a_});
  Config config = recording_to({this->a_, this->b_});
  EXPECT_TRUE(this->directories_.changed_settings(config).empty());
  for (RouteConfig& route : config.routes) route.retain_size_bytes = 1;
  EXPECT_EQ(this->directories_.changed_settings(config), std::vector{this->a_});
  capture::Recording& recording = this->begin(this->a_);
  this->apply({});
  EXPECT_EQ(this->directories_.changed_settings(config), std::vector{this->a_});
  TestFixture::end(recording);
  ASSERT_TRUE(this->is_closed(this->a_));
  EXPECT_TRUE(this->directories_.changed_settings(config).empty());
}

TYPED_TEST(WorkerCaptureTest, FiguresCanBeReadWhileRecordersComeAndGo) {
  std::atomic<bool> ends = false;
  std::thread reader([&] {
    while (!ends) {
      static_cast<void>(this->recorded_ever());
      static_cast<void>(capture_sums(this->directories_, {&*this->capture_}));
      std::this_thread::sleep_for(1ms);
    }
  });
  for (int i = 0; i < 3; ++i) {
    this->apply({this->a_});
    TestFixture::end(this->begin(this->a_));
    this->apply({});
    EXPECT_TRUE(this->is_closed(this->a_));
  }
  EXPECT_EQ(this->recorded_ever(), 300U);
  ends = true;
  reader.join();
}

/// A second process, as far as captures go: it takes over from the one of the fixture.
template <class Engine>
class CaptureTakeoverTest : public WorkerCaptureTest<Engine> {
 protected:
  void TearDown() override {
    if (successor_) close_successor();
    WorkerCaptureTest<Engine>::TearDown();
  }
  /// The successor has this configuration, and `unseen` is another run that may still write.
  void take_over(const std::vector<std::string>& paths, const std::string& unseen = "") {
    Result<HandedCaptures> handed = this->directories_.hand_over();
    ASSERT_TRUE(handed.has_value());
    if (!unseen.empty()) handed->living.push_back(unseen);
    const json::value body = to_json(*handed);
    std::vector<OwnedFd> locks;
    for (HandedCaptures::Lock& each : handed->locks) locks.push_back(std::move(each.lock));
    locks.emplace_back(::dup(0));  // somebody else's
    Result<HandedCaptures> received = captures_from_json(body, locks);
    ASSERT_TRUE(received.has_value());
    EXPECT_EQ(locks.size(), 1U);
    inherited_.inherit(std::move(*received));
    successor_.emplace(this->reactor(), 0);
    const Result<CapturePlan> plan = inherited_.prepare(recording_to(paths), "successor");
    ASSERT_TRUE(plan.has_value());
    ASSERT_TRUE(successor_->prepare(this->ring(), *plan).has_value());
    inherited_.commit(*plan);
    successor_->commit(*plan);
  }
  void close_successor() {
    bool closed = false;
    successor_->close([&] { closed = true; });
    EXPECT_TRUE(this->reach([&] { return closed; }));
    successor_.reset();
  }
  void record_with_successor(const std::string& path) {
    capture::OpenInfo info;
    info.id = "s" + std::to_string(++this->connections_);
    this->end(successor_->recorder(path)->open(this->connections_, std::move(info), {}));
  }
  /// A segment of `run` as a process leaves it that is killed.
  std::string leave_open(const std::string& path, const std::string& run) {
    std::string left = path + '/' + run + "-w000-0000000000.open";
    for (const auto& each : std::filesystem::directory_iterator(path)) {
      const bool is_open = each.path().extension() == ".open";
      if (is_open) std::filesystem::copy_file(each.path(), left);
      if (is_open) break;
    }
    EXPECT_TRUE(std::filesystem::exists(left));
    return left;
  }

  CaptureDirectories inherited_;
  std::optional<WorkerCapture> successor_;
};

TYPED_TEST_SUITE(CaptureTakeoverTest, Reactors, ReactorNames);

TYPED_TEST(CaptureTakeoverTest, BothRecordUntilTheFirstHasEnded) {
  this->apply({this->a_});
  capture::Recording& recording = this->begin(this->a_);
  this->take_over({this->a_ + "/."});  // another name of the same directory
  this->record_with_successor(this->a_ + "/.");
  this->directories_.let_go();
  this->inherited_.take_charge();
  this->end(recording);
  const std::vector<std::string> runs = this->directories_.runs();
  this->close();
  this->directories_.commit({});
  EXPECT_TRUE(Directory::is_locked(this->a_));
  this->inherited_.ended(runs);
  this->record_with_successor(this->a_ + "/.");
  this->close_successor();
  const std::vector<std::string> sealed = this->segments(this->a_);
  EXPECT_EQ(sealed, (std::vector<std::string>{".sluice", ".sluice"}));
}

TYPED_TEST(CaptureTakeoverTest, WhatAProcessLeftIsSealedOnlyOnceItHasEnded) {
  this->apply({this->a_});
  this->end(this->begin(this->a_));
  const auto is_being_written = [&] {
    const std::vector<std::string> found = this->segments(this->a_);
    return !found.empty() && found.front() == ".open";
  };
  ASSERT_TRUE(this->reach(is_being_written));
  const std::string left = this->leave_open(this->a_, "killed");
  this->take_over({this->a_}, "killed");
  this->run_for(1500ms);
  EXPECT_TRUE(std::filesystem::exists(left));
  this->inherited_.ended({"killed"});
  EXPECT_TRUE(this->reach([&] {
    // Never begun, or sealed.
    return !std::filesystem::exists(left);
  }));
  EXPECT_EQ(this->inherited_.hand_over()->living, (std::vector<std::string>{"successor", "run1"}));
}

TYPED_TEST(CaptureTakeoverTest, ADirectoryThatTheSuccessorDoesNotNameIsLookedAfterAllTheSame) {
  this->apply({this->a_});
  capture::Recording& recording = this->begin(this->a_);
  this->take_over({this->b_});
  this->record_with_successor(this->b_);
  EXPECT_EQ(this->inherited_.all().size(), 2U);
  this->end(recording);
  this->close();
  this->directories_.commit({});
  this->run_for(1500ms);
  EXPECT_TRUE(Directory::is_locked(this->a_));
  this->inherited_.ended({"run1"});
  EXPECT_TRUE(this->is_closed(this->a_));
  EXPECT_EQ(this->inherited_.all().size(), 1U);
}

TYPED_TEST(CaptureTakeoverTest, ASuccessorThatDiesLeavesNothingOpen) {
  this->apply({this->a_});
  EXPECT_TRUE(this->directories_.hand_over().has_value());
  const std::string left = this->a_ + "/successor-w000-0000000000.open";
  std::ofstream(left).put('\0');
  this->directories_.ended({"successor"});
  EXPECT_TRUE(this->reach([&] { return !std::filesystem::exists(left); }));
  this->end(this->begin(this->a_));
}

// Or two processes would seal the same segments at a time.
TYPED_TEST(CaptureTakeoverTest, WhatOneLeftThatHasEndedIsSealedBeforeAnotherTakesOver) {
  this->apply({this->a_});
  const std::string left = this->a_ + "/successor-w000-0000000000.open";
  std::ofstream(left).put('\0');
  this->directories_.ended({"successor"});
  EXPECT_TRUE(this->directories_.hand_over().has_value());
  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST(HandedCaptures, AMessageWithoutThemHasNone) {
  std::vector<OwnedFd> descriptors;
  for (const char* text : {"null", "[]", "{}", R"({"directories":1,"living":[1]})"}) {
    const Result<HandedCaptures> captures = captures_from_json(json::parse(text), descriptors);
    ASSERT_TRUE(captures.has_value());
    EXPECT_TRUE(captures->locks.empty());
    EXPECT_TRUE(captures->living.empty());
  }
  EXPECT_TRUE(
      captures_from_json(json::parse(R"({"directories":["/a"]})"), descriptors).has_error());
}

}  // namespace
}  // namespace sluice
