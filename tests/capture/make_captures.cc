// Makes captures to test readers on:
//   make-captures golden DIR          those of tests/capture/golden/, each in its own folder
//   make-captures random SEED DIR     one, intact or damaged, that depends only on the seed
#include <charconv>
#include <cstdint>
#include <exception>
#include <iostream>
#include <span>
#include <string_view>

#include "tests/capture/golden_captures.h"
#include "tests/capture/random_capture.h"

namespace {

constexpr int kUsage = 2;

int usage() {
  std::cerr << "usage: make-captures golden DIR | random SEED DIR\n";
  return kUsage;
}

int run(std::span<char*> arguments) {
  const std::string_view command = arguments.empty() ? "" : arguments[0];
  if (command == "golden" && arguments.size() == 2) {
    sluice::capture::write_golden_captures(arguments[1]);
    return 0;
  }
  if (command != "random" || arguments.size() != 3) return usage();
  const std::string_view text = arguments[1];
  std::uint64_t seed = 0;
  const auto [after, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || after != text.data() + text.size()) return usage();
  sluice::capture::write_random_capture(seed, arguments[2]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  } catch (const std::exception& error) {
    std::cerr << "make-captures: " << error.what() << '\n';
    return 1;
  }
}
