#include "iolib/reactor/task.h"

#include <gtest/gtest.h>

#include <coroutine>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sluice {
namespace {

// An awaitable that the test completes.
class Gate {
 public:
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) { waiter_ = waiter; }
  void await_resume() const noexcept {}
  void open() { std::exchange(waiter_, {}).resume(); }
  [[nodiscard]] bool waited_for() const { return static_cast<bool>(waiter_); }

 private:
  std::coroutine_handle<> waiter_;
};

// Counts the frame's locals that are alive.
class Witness {
 public:
  explicit Witness(int& alive) : alive_(alive) { ++alive_; }
  ~Witness() { --alive_; }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

 private:
  int& alive_;
};

Task<> note(std::vector<std::string>& notes, std::string text) {
  notes.push_back(std::move(text));
  co_return;
}

Task<int> wait_and_return(Gate& gate, int value) {
  co_await gate;
  co_return value;
}

Task<> store(Task<int> child, int& into) {
  const int value = co_await child;
  into = value;
}

Task<std::unique_ptr<int>> make_movable() { co_return std::make_unique<int>(3); }

Task<> take_movable(int& into) {
  const std::unique_ptr<int> made = co_await make_movable();
  into = *made;
}

Task<> hold(Gate& gate, int& alive) {
  const Witness witness(alive);
  co_await gate;
}

Task<> hold_child(Gate& gate, int& alive) {
  const Witness witness(alive);
  co_await hold(gate, alive);
}

Task<int> depth(int left) {
  if (left == 0) co_return 0;
  const int below = co_await depth(left - 1);
  co_return below + 1;
}

TEST(TaskTest, NothingRunsBeforeItIsStarted) {
  std::vector<std::string> notes;
  const Task<> task = note(notes, "ran");
  EXPECT_TRUE(notes.empty());
  EXPECT_FALSE(task.done());
  task.start();
  EXPECT_EQ(notes, (std::vector<std::string>{"ran"}));
  EXPECT_TRUE(task.done());
}

TEST(TaskTest, AnEmptyTaskIsNeverDone) { EXPECT_FALSE(Task<>().done()); }

TEST(TaskTest, TheAwaitingTaskGoesOnWithTheChildsValue) {
  Gate gate;
  int value = 0;
  const Task<> parent = store(wait_and_return(gate, 42), value);
  parent.start();
  EXPECT_TRUE(gate.waited_for());
  EXPECT_FALSE(parent.done());
  EXPECT_EQ(value, 0);
  gate.open();
  EXPECT_TRUE(parent.done());
  EXPECT_EQ(value, 42);
}

TEST(TaskTest, AValueThatCanOnlyBeMovedIsHandedOver) {
  int value = 0;
  const Task<> task = take_movable(value);
  task.start();
  EXPECT_EQ(value, 3);
}

TEST(TaskTest, ChildrenMayNest) {
  int value = 0;
  const Task<> task = store(depth(200), value);
  task.start();
  EXPECT_EQ(value, 200);
}

TEST(TaskTest, AFrameGoesWithItsTaskEvenWhileItWaits) {
  Gate gate;
  int alive = 0;
  {
    const Task<> task = hold_child(gate, alive);
    EXPECT_EQ(alive, 0);
    task.start();
    EXPECT_EQ(alive, 2) << "the parent's frame and the child's";
  }
  EXPECT_EQ(alive, 0);
}

TEST(TaskTest, ATaskThatNeverRanGoesWithoutRunning) {
  std::vector<std::string> notes;
  { const Task<> task = note(notes, "ran"); }
  EXPECT_TRUE(notes.empty());
}

TEST(TaskTest, MovingHandsTheFrameOver) {
  Gate gate;
  int alive = 0;
  Task<> first = hold(gate, alive);
  first.start();
  Task<> second(std::move(first));
  EXPECT_EQ(alive, 1);
  EXPECT_FALSE(first.done());  // NOLINT(bugprone-use-after-move): checks the moved-from state
  gate.open();
  EXPECT_TRUE(second.done());
  EXPECT_EQ(alive, 0);
}

TEST(TaskTest, AssigningDestroysTheFrameHeldBefore) {
  Gate old_gate;
  Gate new_gate;
  int old_alive = 0;
  int new_alive = 0;
  Task<> task = hold(old_gate, old_alive);
  task.start();
  Task<> other = hold(new_gate, new_alive);
  other.start();
  task = std::move(other);
  EXPECT_EQ(old_alive, 0);
  EXPECT_EQ(new_alive, 1);
  new_gate.open();
  EXPECT_TRUE(task.done());
}

}  // namespace
}  // namespace sluice
