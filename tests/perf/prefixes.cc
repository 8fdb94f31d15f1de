// What a look-up among 1,000,000 blocks costs, and what their memory and building do. Prints a line
// for each family and kind of block.
//
// usage: prefixes [SECONDS]

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "iolib/balance/prefix_set.h"

namespace {

using sluice::Prefix;
using sluice::SocketAddress;
using std::chrono::steady_clock;

constexpr int kBlocks = 1'000'000;
constexpr int kAddresses = 100'000;
constexpr int kBatch = 1'000;

std::mt19937_64 random_bits(1);

std::string random_v4() {
  std::array<char, 32> text{};
  const std::uint64_t bits = random_bits();
  std::snprintf(text.data(), text.size(), "%u.%u.%u.%u", unsigned(1 + bits % 223),
                unsigned(bits >> 8 & 0xff), unsigned(bits >> 16 & 0xff),
                unsigned(bits >> 24 & 0xff));
  return text.data();
}

// Below 2000::/3.
std::string random_v6(bool with_host) {
  std::array<char, 64> text{};
  const std::uint64_t bits = random_bits();
  const std::uint64_t host = with_host ? random_bits() : 0;
  std::snprintf(text.data(), text.size(), "%x:%x:%x:%x:%x:%x:%x:%x",
                unsigned(0x2000 | (bits & 0x1fff)), unsigned(bits >> 16 & 0xffff),
                unsigned(bits >> 32 & 0xffff), unsigned(bits >> 48), unsigned(host & 0xffff),
                unsigned(host >> 16 & 0xffff), unsigned(host >> 32 & 0xffff), unsigned(host >> 48));
  return text.data();
}

double since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

// Of this thread: other programs may run meanwhile.
double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// The quickest tenth and the median of batches of look-ups.
void measure(const char* name, const std::vector<Prefix>& blocks,
             const std::vector<SocketAddress>& addresses, double seconds) {
  const double begin = cpu_seconds();
  const sluice::balance::PrefixSet set({}, blocks);
  const double building = cpu_seconds() - begin;
  std::vector<double> times;
  std::size_t denied = 0;
  const auto start = steady_clock::now();
  for (std::size_t from = 0; since(start) < seconds; from += kBatch) {
    const double batch = cpu_seconds();
    for (std::size_t i = 0; i < kBatch; ++i) {
      denied += set.allows(addresses[(from + i) % addresses.size()]) ? 0 : 1;
    }
    times.push_back((cpu_seconds() - batch) / kBatch * 1e9);
  }
  std::ranges::sort(times);
  std::printf("%-22s %5.0f ns (quickest tenth), %5.0f ns (median), %5.1f MiB, built in %.2f s%s\n",
              name, times[times.size() / 10], times[times.size() / 2],
              static_cast<double>(set.size_bytes()) / (1 << 20), building,
              denied > 0 ? "" : ", none denied");
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 3;
  const struct {
    const char* name;
    std::string (*make)();
    const char* bits;
  } kinds[] = {{"IPv4 hosts", [] { return random_v4(); }, "/32"},
               {"IPv6 /64", [] { return random_v6(false); }, "/64"},
               {"IPv6 hosts", [] { return random_v6(true); }, "/128"}};
  for (const auto& kind : kinds) {
    std::vector<Prefix> blocks;
    std::vector<SocketAddress> addresses;
    for (int i = 0; i < kBlocks; ++i) {
      const std::string text = kind.make();
      blocks.push_back(Prefix::parse(text + kind.bits).value());
      if (i >= kAddresses) continue;
      // Every fourth is in a block.
      const std::string host = i % 4 == 0 ? text : kind.make();
      addresses.push_back(sluice::numeric_address({host, 1}).value());
    }
    std::ranges::shuffle(addresses, random_bits);
    measure(kind.name, blocks, addresses, seconds);
  }
}
