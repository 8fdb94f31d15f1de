#include "iolib/pipe/pipe_pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <latch>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/settings.h"
#include "tests/support/socket_pair.h"

namespace sluice {
namespace {

constexpr std::size_t kSlots = 16;
constexpr PipePool::Options kSmallPipes{.pipe_bytes = kSlots * Pipe::kSlotBytes};

PipePool::Options pipes_within(std::size_t pipes) {
  PipePool::Options options = kSmallPipes;
  options.budget_slots = pipes * kSlots;
  return options;
}

std::vector<PipeLease> acquire_many(PipePool& pool, std::size_t count) {
  std::vector<PipeLease> leases;
  for (std::size_t i = 0; i < count; ++i) leases.push_back(pool.acquire());
  return leases;
}

void put_bytes_in(Pipe& pipe, std::size_t bytes) {
  const std::string text(bytes, 'x');
  ASSERT_EQ(::write(pipe.write_end(), text.data(), bytes), static_cast<ssize_t>(bytes));
  pipe.filled(bytes);
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(PipePoolTest, LendsEmptyPipesThatNeitherBlockNorOutliveAnExec) {
  PipePool pool(kSmallPipes);
  const PipeLease lease = pool.acquire();
  ASSERT_TRUE(lease);
  EXPECT_TRUE(lease->empty());
  for (const int end : {lease->read_end(), lease->write_end()}) {
    EXPECT_NE(::fcntl(end, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(end, F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST(PipePoolTest, OneThreadGetsThePipeBackThatItReturnedLast) {
  PipePool pool(kSmallPipes);
  PipeLease first = pool.acquire();
  PipeLease second = pool.acquire();
  const int first_end = first->read_end();
  const int second_end = second->read_end();
  ASSERT_NE(first_end, second_end);
  first.release();
  second.release();
  first = pool.acquire();
  second = pool.acquire();
  EXPECT_EQ(first->read_end(), second_end);
  EXPECT_EQ(second->read_end(), first_end);
}

TEST(PipePoolTest, TakesFromTheThreadsListFirstThenFromTheGlobalOneThenCreates) {
  PipePool pool(kSmallPipes);
  int global_end = -1;
  std::thread([&] {
    const PipeLease lease = pool.acquire();
    global_end = lease->read_end();
  }).join();
  ASSERT_EQ(pool.shared_pipes(), 1U);
  int own_end = -1;
  {
    // While the global pipe is lent, the thread makes its own. Both are released here.
    const PipeLease global = pool.acquire();
    ASSERT_EQ(global->read_end(), global_end);
    const PipeLease own = pool.acquire();
    own_end = own->read_end();
  }
  ASSERT_EQ(pool.cached_pipes(), 2U);
  std::thread([&] { const PipeLease lease = pool.acquire(); }).join();
  ASSERT_EQ(pool.shared_pipes(), 1U);

  const std::size_t slots = pool.slots_in_use();
  std::set<int> own_ends;
  std::vector<PipeLease> leases = acquire_many(pool, 2);
  for (const PipeLease& lease : leases) own_ends.insert(lease->read_end());
  EXPECT_EQ(own_ends, (std::set{global_end, own_end}));
  EXPECT_EQ(pool.shared_pipes(), 1U);
  leases.push_back(pool.acquire());
  EXPECT_EQ(pool.shared_pipes(), 0U);
  EXPECT_EQ(pool.slots_in_use(), slots);
  leases.push_back(pool.acquire());
  EXPECT_EQ(pool.slots_in_use(), slots + kSlots);
}

TEST(PipePoolTest, AThreadKeepsNoMoreThanItsShareAndTheRestIsForAll) {
  PipePool::Options options = kSmallPipes;
  options.thread_pipes = 3;
  PipePool pool(options);
  acquire_many(pool, 5).clear();
  EXPECT_EQ(pool.cached_pipes(), 3U);
  EXPECT_EQ(pool.shared_pipes(), 2U);
}

TEST(PipePoolTest, APipeWithBytesInItIsDestroyed) {
  PipePool pool(kSmallPipes);
  PipeLease lease = pool.acquire();
  const int end = lease->read_end();
  put_bytes_in(*lease, 1);
  lease.release();
  EXPECT_FALSE(is_open(end));
  EXPECT_EQ(pool.cached_pipes() + pool.shared_pipes(), 0U);
  EXPECT_EQ(pool.slots_in_use(), 0U);
}

TEST(PipePoolTest, AMovedLeaseGivesBackOnce) {
  PipePool pool(kSmallPipes);
  PipeLease first = pool.acquire();
  PipeLease second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): the test checks the moved-from state
  EXPECT_TRUE(second);
  PipeLease third = pool.acquire();
  third = std::move(second);
  EXPECT_EQ(pool.cached_pipes(), 1U);
  third.release();
  third.release();
  EXPECT_EQ(pool.cached_pipes(), 2U);
}

TEST(PipePoolTest, ThreadsThatEndHandTheirPipesToAll) {
  PipePool pool(kSmallPipes);
  std::thread([&] { acquire_many(pool, 3).clear(); }).join();
  EXPECT_EQ(pool.shared_pipes(), 3U);
  EXPECT_EQ(pool.cached_pipes(), 0U);
}

TEST(PipePoolTest, AThreadMayEndAfterThePool) {
  const std::size_t descriptors = test::open_descriptors();
  auto pool = std::make_optional<PipePool>(kSmallPipes);
  std::latch used(1);
  std::latch gone(1);
  std::thread thread([&] {
    acquire_many(*pool, 2).clear();
    used.count_down();
    gone.wait();
  });
  used.wait();
  pool.reset();
  gone.count_down();
  thread.join();
  EXPECT_EQ(test::open_descriptors(), descriptors);
}

TEST(PipePoolTest, TwoPoolsOfOneThreadDoNotMix) {
  PipePool small(kSmallPipes);
  PipePool::Options larger = kSmallPipes;
  larger.pipe_bytes *= 2;
  PipePool large(larger);
  small.acquire().release();
  large.acquire().release();
  EXPECT_EQ(small.acquire()->slots(), kSlots);
  EXPECT_EQ(large.acquire()->slots(), 2 * kSlots);
}

TEST(PipePoolTest, TrimClosesStepByStepWhatNobodyNeeds) {
  PipePool pool(kSmallPipes);
  acquire_many(pool, 8).clear();
  pool.trim();
  EXPECT_EQ(pool.cached_pipes(), 8U) << "all were in use since the last trim";
  pool.trim();
  EXPECT_EQ(pool.cached_pipes(), 4U);
  EXPECT_EQ(pool.slots_in_use(), 4 * kSlots);
  for (int i = 0; i < 4; ++i) pool.trim();
  EXPECT_EQ(pool.cached_pipes(), 0U);
  EXPECT_EQ(pool.slots_in_use(), 0U);
}

TEST(PipePoolTest, TrimSparesWhatWasNeededMeanwhile) {
  PipePool pool(kSmallPipes);
  acquire_many(pool, 8).clear();
  pool.trim();
  for (int i = 0; i < 5; ++i) {
    acquire_many(pool, 8).clear();
    pool.trim();
  }
  EXPECT_EQ(pool.cached_pipes(), 8U);
  acquire_many(pool, 6).clear();
  pool.trim();
  EXPECT_EQ(pool.cached_pipes(), 7U) << "half of the two that lay unused";
}

TEST(PipePoolTest, TrimAlsoClosesWhatNobodyNeedsInTheGlobalList) {
  PipePool pool(kSmallPipes);
  std::thread([&] { acquire_many(pool, 4).clear(); }).join();
  for (int i = 0; i < 5; ++i) pool.trim();
  EXPECT_EQ(pool.shared_pipes(), 0U);
  EXPECT_EQ(pool.slots_in_use(), 0U);
}

TEST(PipePoolTest, TheSizeGrantedIsReadBack) {
  PipePool::Options options;
  options.pipe_bytes = 100'000;  // the kernel grants whole pages, a power of two of them
  PipePool pool(options);
  const PipeLease lease = pool.acquire();
  const int granted = ::fcntl(lease->write_end(), F_GETPIPE_SZ);
  EXPECT_NE(static_cast<std::size_t>(granted), options.pipe_bytes);
  EXPECT_EQ(lease->capacity_bytes(), static_cast<std::size_t>(granted));
  EXPECT_EQ(lease->slots(), static_cast<std::size_t>(granted) / Pipe::kSlotBytes);
  EXPECT_EQ(pool.slots_in_use(), lease->slots());
}

TEST(PipePoolTest, TheBudgetEndsTheLendingAndIsFreeAgainAfterwards) {
  PipePool pool(pipes_within(2));
  std::vector<PipeLease> leases = acquire_many(pool, 2);
  PipeShortage shortage = PipeShortage::none;
  EXPECT_FALSE(pool.acquire(&shortage));
  EXPECT_EQ(shortage, PipeShortage::budget);
  EXPECT_EQ(pool.slots_in_use(), 2 * kSlots);
  leases.pop_back();
  EXPECT_TRUE(pool.acquire(&shortage));
  EXPECT_EQ(shortage, PipeShortage::none);
}

TEST(PipePoolTest, ADestroyedPipeFreesItsPartOfTheBudget) {
  PipePool pool(pipes_within(1));
  PipeLease lease = pool.acquire();
  put_bytes_in(*lease, 100);
  lease.release();
  EXPECT_TRUE(pool.acquire());
}

TEST(PipePoolTest, TheBudgetHoldsForSizesThatTheKernelRoundsUp) {
  PipePool::Options options;
  options.pipe_bytes = 17 * Pipe::kSlotBytes;  // granted: 32 slots
  options.budget_slots = 32 + 17;
  PipePool pool(options);
  const std::vector<PipeLease> leases = acquire_many(pool, 3);
  EXPECT_LE(pool.slots_in_use(), options.budget_slots);
}

TEST(PipePoolTest, TheBudgetHoldsForSizesBelowAPage) {
  PipePool::Options options;
  options.pipe_bytes = 100;
  options.budget_slots = 2;
  PipePool pool(options);
  const std::vector<PipeLease> leases = acquire_many(pool, 5);
  EXPECT_LE(pool.slots_in_use(), options.budget_slots);
}

TEST(PipePoolTest, ManyThreadsAtTheLimitNeverPassTheBudgetTogether) {
  constexpr int kThreads = 4;
  constexpr std::size_t kPipes = 6;
  const int rounds = test::by_scale(500, 3000, 20'000);
  PipePool::Options options = pipes_within(kPipes);
  options.thread_pipes = 1;  // so that pipes also go through the global list
  PipePool pool(options);
  std::atomic<std::size_t> lent{0};
  std::atomic<std::size_t> most{0};
  std::atomic<int> refused{0};
  std::latch start(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int round = 0; round < rounds; ++round) {
        std::vector<PipeLease> leases;
        for (int j = 0; j < 3; ++j) {
          PipeLease lease = pool.acquire();
          if (!lease) {
            ++refused;
            continue;
          }
          const std::size_t now = ++lent;
          for (std::size_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          // Some are released with a byte in them, and the pool replaces them.
          if (round % 7 == 0) put_bytes_in(*lease, 1);
          leases.push_back(std::move(lease));
        }
        std::this_thread::yield();
        lent -= leases.size();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, kPipes);
  EXPECT_GT(refused, 0) << "the limit was never reached";
  EXPECT_LE(pool.slots_in_use(), options.budget_slots);
  EXPECT_EQ(pool.slots_in_use(), pool.shared_pipes() * kSlots) << "a slot was counted wrong";
}

TEST(PipePoolTest, WithoutDescriptorsThereIsNoPipeAndNothingIsLost) {
  PipePool pool(kSmallPipes);
  pool.acquire().release();  // creates this thread's list
  PipeLease cached = pool.acquire();
  PipeShortage shortage = PipeShortage::none;
  {
    const test::NoMoreDescriptors none;
    EXPECT_FALSE(pool.acquire(&shortage));
  }
  EXPECT_EQ(shortage, PipeShortage::descriptors);
  EXPECT_EQ(pool.slots_in_use(), kSlots);
  EXPECT_TRUE(pool.acquire(&shortage));
  EXPECT_EQ(shortage, PipeShortage::none);
}

// For an ordinary user: acquires pipes until the quota is used up. Returns the problem, or nothing.
std::string use_up_quota() {
  PipePool pool({.pipe_bytes = 1 << 20, .budget_slots = 1 << 20, .thread_pipes = 16});
  std::vector<PipeLease> leases;
  for (int i = 0; i < 400; ++i) {
    PipeShortage shortage = PipeShortage::none;
    PipeLease lease = pool.acquire(&shortage);
    if (lease) {
      if (lease->capacity_bytes() < PipePool::kMinPipeBytes) return "lent a tiny pipe";
      leases.push_back(std::move(lease));
      continue;
    }
    if (shortage != PipeShortage::quota) return "not refused for the quota";
    std::size_t slots = 0;
    for (const PipeLease& held : leases) slots += held->slots();
    if (pool.slots_in_use() != slots) return "a slot was counted wrong";
    if (leases.empty()) return {};  // other programs have used it up
    leases.pop_back();
    return pool.acquire() ? "" : "what was given back is not lent again";
  }
  return "no quota";
}

// For an ordinary user: asks for more than pipe-max-size. Returns the problem, or nothing.
std::string ask_beyond_largest_pipe() {
  std::size_t largest_bytes = 0;
  std::ifstream("/proc/sys/fs/pipe-max-size") >> largest_bytes;
  const std::size_t wanted_bytes = 16 * largest_bytes;
  PipePool pool({.pipe_bytes = wanted_bytes, .budget_slots = wanted_bytes / Pipe::kSlotBytes});
  PipeShortage shortage = PipeShortage::none;
  const PipeLease lease = pool.acquire(&shortage);
  if (shortage == PipeShortage::quota) return "no room";
  if (!lease) return "no pipe";
  if (pool.slots_in_use() != lease->slots()) return "a slot was counted wrong";
  const std::size_t bytes = lease->capacity_bytes();
  return bytes == largest_bytes ? "" : "granted " + std::to_string(bytes);
}

// Runs `work` in a child as an ordinary user and returns its exit status: 0 success, 1 failure, 77
// if it cannot be tested here (`work` returned `untold`).
int run_as_nobody(std::string (*work)(), const std::string& untold) {
  constexpr uid_t kNobody = 65534;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(77);
    const std::string problem = work();
    std::fprintf(stderr, "%s", problem.c_str());
    ::_exit(problem.empty() ? 0 : problem == untold ? 77 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST(PipePoolTest, BeyondTheUsersQuotaTinyPipesAreNotLent) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  const int status = run_as_nobody(use_up_quota, "no quota");
  if (status == 77) GTEST_SKIP() << "fs.pipe-user-pages-soft is off or very large";
  EXPECT_EQ(status, 0);
}

TEST(PipePoolTest, BeyondTheLargestPipeAnOrdinaryUserHasTheLargest) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  const int status = run_as_nobody(ask_beyond_largest_pipe, "no room");
  if (status == 77) GTEST_SKIP() << "nobody's pipe quota has no room";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace sluice
